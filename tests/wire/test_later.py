"""Answers that come later, as data: which answer announces one, which request asks for it, when it is there."""

from __future__ import annotations

from typing import Any

import pytest

from tokenmeter.wire.later import batch_forms, is_batch_path, later_forms, later_forms_at

FORMS = {form.name: form for form in later_forms()}


@pytest.mark.parametrize(
    ("path", "provider", "answer", "expected"),
    [
        ("/v1/responses", "openai", {"id": "resp_1", "status": "queued"}, ("responses", "resp_1")),
        ("/v1/responses", "openai", {"id": "resp_1", "status": "completed"}, None),
        ("/v1/responses?api-version=preview", "azure-openai", {"id": "r", "status": "in_progress"}, ("responses", "r")),
        ("/v1beta/interactions", "google", {"id": "int1", "status": "in_progress"}, ("interactions", "int1")),
        ("/v1/chat/completions", "xai", {"request_id": "d1"}, ("deferred completions", "d1")),
        ("/v1/chat/completions", "xai", {"request_id": "d1", "choices": []}, None),
        ("/v1/chat/completions", "openai", {"request_id": "d1"}, None),
        (
            "/api/paas/v4/async/chat/completions",
            "zhipu",
            {"id": "t1", "task_status": "PROCESSING"},
            ("async results", "t1"),
        ),
        ("/async/chat/completions", "perplexity", {"id": "pp", "status": "CREATED"}, ("async completions", "pp")),
        ("/api/paas/v4/videos/generations", "zai", {"id": "v", "task_status": "PROCESSING"}, ("async results", "v")),
        ("/api/v3/contents/generations/tasks", "volcengine", {"id": "cgt-1"}, ("generation tasks", "cgt-1")),
        (
            "/api/v1/services/aigc/text2image/image-synthesis",
            "alibaba",
            {"output": {"task_id": "t", "task_status": "PENDING"}},
            ("dashscope tasks", "t"),
        ),
        ("/api/v1/services/aigc/text-generation/generation", "alibaba", {"output": {"text": "hi"}}, None),
        ("/v1/video_generation", "minimax", {"task_id": "7", "base_resp": {"status_code": 0}}, ("minimax videos", "7")),
        ("/v1/videos", "openai", {"id": "video_1", "status": "queued"}, ("videos", "video_1")),
        ("/v1/videos/video_1/remix", "openai", {"id": "video_2", "status": "queued"}, ("videos", "video_2")),
        ("/v1/videos/generations", "xai", {"request_id": "x1"}, ("xai videos", "x1")),
        (
            "/v1beta/models/veo-3.0-generate-001:predictLongRunning",
            "google",
            {"name": "models/veo-3.0-generate-001/operations/o1"},
            ("google operations", "models/veo-3.0-generate-001/operations/o1"),
        ),
        ("/v1/video_generation", "minimax", {"base_resp": {"status_code": 1008}}, None),
    ],
)
def test_an_answer_announces_another(
    path: str, provider: str, answer: dict[str, Any], expected: tuple[str, str] | None
) -> None:
    found = [(form.name, form.announced(answer)) for form in later_forms_at(path, provider)]
    assert next((pair for pair in found if pair[1] is not None), None) == expected


@pytest.mark.parametrize(
    ("form", "method", "target", "found"),
    [
        ("responses", "GET", "/v1/responses/resp_1", "resp_1"),
        ("responses", "GET", "/v1/responses/resp_1?stream=true&starting_after=5", "resp_1"),
        ("responses", "POST", "/v1/responses/resp_1/cancel", "resp_1"),
        ("responses", "GET", "/v1/responses/resp_1/input_items", None),
        ("responses", "DELETE", "/v1/responses/resp_1", None),
        ("dashscope tasks", "GET", "/api/v1/tasks/t-1/", "t-1"),
        ("deferred completions", "GET", "/v1/chat/deferred-completion/d1", "d1"),
        ("minimax videos", "GET", "/v1/query/video_generation?GroupId=1&task_id=7", "7"),
        ("videos", "GET", "/openai/v1/videos/video_1?api-version=preview", "video_1"),
        ("videos", "GET", "/v1/videos/video_1/content", None),
        ("google operations", "GET", "/v1beta/models/veo-3/operations/o1", "models/veo-3/operations/o1"),
        ("google operations", "POST", "/v1/models/veo-3:fetchPredictOperation", "projects/p/operations/o1"),
    ],
)
def test_a_request_asks_for_it(form: str, method: str, target: str, found: str | None) -> None:
    body = {"operationName": "projects/p/operations/o1"}
    assert FORMS[form].polled_id(method, target, lambda: body) == found


@pytest.mark.parametrize(
    ("form", "answer", "over"),
    [
        ("responses", {"id": "r", "status": "in_progress"}, None),
        ("responses", {"id": "r", "status": "completed"}, True),
        ("responses", {"id": "r", "status": "incomplete"}, True),
        ("responses", {"id": "r", "status": "cancelled"}, False),
        ("deferred completions", None, None),
        ("deferred completions", {"choices": []}, True),
        ("google operations", {"name": "o", "done": False}, None),
        ("google operations", {"name": "o", "done": True, "response": {}}, True),
        ("google operations", {"name": "o", "done": True, "error": {"code": 3}}, False),
        ("minimax videos", {"task_id": "7", "status": "Fail"}, False),
        ("dashscope tasks", {"output": {"task_id": "t", "task_status": "SUCCEEDED"}}, True),
    ],
)
def test_it_is_there_or_failed_or_still_to_come(form: str, answer: object, over: bool | None) -> None:
    assert FORMS[form].over(answer) is over


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("/v1/batches/batch_1", ("batch_1", False)),
        ("/v1/batches?limit=20", None),
        ("/v1/batch/jobs/j1", ("j1", False)),
        ("/v1beta/batches/abc", ("abc", False)),
        ("/v1/messages/batches/msgbatch_1", ("msgbatch_1", False)),
        ("/v1/messages/batches/msgbatch_1/results", ("msgbatch_1", True)),
        ("/v1/files/file-1/content", ("file-1", True)),
        ("/v1/files/file-1", None),
        ("/download/v1beta/files/xy:download?alt=media", ("files/xy", True)),
    ],
)
def test_requests_for_batches(target: str, found: tuple[str, bool] | None) -> None:
    assert batch_forms().watches("GET", target) == found
    assert batch_forms().watches("POST", target) is None


@pytest.mark.parametrize(
    ("path", "batch"),
    [("/api/v3/batch/chat/completions", True), ("/api/v3/chat/completions", False), ("/v1/batches", False)],
)
def test_a_path_can_say_batch(path: str, batch: bool) -> None:
    assert is_batch_path(path) is batch


def test_a_poll_that_names_the_id_in_its_body() -> None:
    assert FORMS["siliconflow videos"].polled_id("POST", "/v1/video/status", lambda: {"requestId": "r1"}) == "r1"
    assert FORMS["siliconflow videos"].polled_id("POST", "/v1/video/status", dict) is None
