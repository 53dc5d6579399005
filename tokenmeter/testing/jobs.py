"""Jobs of the provider server: answers that come later, and batches, in the vendors' shapes.

A request that asks for it (background responses, async and deferred completions, tasks for images and videos) is
answered with an id; the first poll finds the job running, every later one the finished answer. A batch is over at the
first look: its file of results holds one answer for each line of the file, or request, that it was given.

Called by `testing/server.py`. The finished answers are those of the wire formats, so equal requests get equal ones.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from tokenmeter.testing.ask import CREATED, Ask
from tokenmeter.testing.reply import Reply, compact, json_reply

__all__ = ["Jobs"]

Answer = Callable[[Ask], Any]
"""The whole answer to a request, as its wire format gives it."""


class Shape(NamedTuple):
    """One vendor's jobs: `post` submits, `poll` returns; the functions take id, request and finished answer."""

    post: re.Pattern[str]
    asked: Callable[[Ask], bool]
    poll: re.Pattern[str]
    submitted: Callable[[str, Ask], dict[str, Any]]
    running: Callable[[str, Ask], dict[str, Any] | None]
    """None for a poll that is answered with 202 and no body."""
    finished: Callable[[str, Ask, Answer], dict[str, Any]]


@dataclass(slots=True)
class Job:
    """A submitted job."""

    shape: Shape
    ask: Ask
    polls: int = 0


def _any(ask: Ask) -> bool:
    return True


def _asks(field: str) -> Callable[[Ask], bool]:
    return lambda ask: ask.body.get(field) is True


def _response(status: str) -> Callable[[str, Ask], dict[str, Any]]:
    def shape(name: str, ask: Ask) -> dict[str, Any]:
        head = {"id": name, "object": "response", "created_at": CREATED, "status": status, "background": True}
        tools: dict[str, Any] = {"parallel_tool_calls": True, "tool_choice": "auto", "tools": []}
        return {**head, "model": ask.model, "error": None, "output": [], **tools, "usage": None}

    return shape


def _state(**fields: Any) -> Callable[[str, Ask], dict[str, Any]]:
    return lambda name, ask: {"id": name, "model": ask.model, **fields}


def _dashscope(status: str, **more: Any) -> Callable[..., dict[str, Any]]:
    def shape(name: str, ask: Ask, *_: Any) -> dict[str, Any]:
        body = {"request_id": f"req_{name}", "output": {"task_id": name, "task_status": status, **more}}
        if status == "SUCCEEDED":
            body["usage"] = {"image_count": (ask.body.get("parameters") or {}).get("n", 1)}
        return body

    return shape


def _video(status: str) -> Callable[..., dict[str, Any]]:
    def shape(name: str, ask: Ask, *_: Any) -> dict[str, Any]:
        size = {"seconds": str(ask.body.get("seconds") or "4"), "size": ask.body.get("size") or "720x1280"}
        return {"id": name, "object": "video", "created_at": CREATED, "model": ask.model, "status": status, **size}

    return shape


SHAPES: Final = (
    Shape(
        re.compile(r"/responses$"),
        _asks("background"),
        re.compile(r"/responses/(?P<id>[^/]+)$"),
        _response("queued"),
        _response("in_progress"),
        lambda name, ask, final: {**final(ask), "id": name, "background": True},
    ),
    Shape(
        re.compile(r"/paas/v4/async/chat/completions$"),
        _any,
        re.compile(r"/async-result/(?P<id>[^/]+)$"),
        _state(request_id="r", task_status="PROCESSING"),
        _state(request_id="r", task_status="PROCESSING"),
        lambda name, ask, final: {**final(ask), "id": name, "request_id": "r", "task_status": "SUCCESS"},
    ),
    Shape(
        re.compile(r"/async/chat/completions$"),
        _any,
        re.compile(r"/async/chat/completions/(?P<id>[^/]+)$"),
        _state(created_at=CREATED, status="CREATED", response=None),
        _state(created_at=CREATED, status="IN_PROGRESS", response=None),
        lambda name, ask, final: {"id": name, "model": ask.model, "status": "COMPLETED", "response": final(ask)},
    ),
    Shape(
        re.compile(r"/chat/completions$"),
        _asks("deferred"),
        re.compile(r"/chat/deferred-completion/(?P<id>[^/]+)$"),
        lambda name, ask: {"request_id": name},
        lambda name, ask: None,
        lambda name, ask, final: {**final(ask), "id": name},
    ),
    Shape(
        re.compile(r"/contents/generations/tasks$"),
        _any,
        re.compile(r"/contents/generations/tasks/(?P<id>[^/]+)$"),
        lambda name, ask: {"id": name},
        _state(status="running"),
        lambda name, ask, final: {
            **_state(status="succeeded", content={"video_url": "u"})(name, ask),
            "usage": {"completion_tokens": ask.numbers.output, "total_tokens": ask.numbers.output},
        },
    ),
    Shape(
        re.compile(r"/api/v1/services/"),
        lambda ask: ask.headers.get("x-dashscope-async") == "enable",
        re.compile(r"/api/v1/tasks/(?P<id>[^/]+)/?$"),
        _dashscope("PENDING"),
        _dashscope("RUNNING"),
        _dashscope("SUCCEEDED", results=[{"url": "u"}]),
    ),
    Shape(
        re.compile(r"/videos$"),
        _any,
        re.compile(r"/videos/(?P<id>[^/]+)$"),
        _video("queued"),
        _video("in_progress"),
        _video("completed"),
    ),
    Shape(
        re.compile(r"/v1/video_generation$"),
        _any,
        re.compile(r"/query/video_generation$"),
        lambda name, ask: {"task_id": name, "base_resp": {"status_code": 0, "status_msg": "success"}},
        lambda name, ask: {"task_id": name, "status": "Processing", "base_resp": {"status_code": 0}},
        lambda name, ask, final: {
            "task_id": name,
            "status": "Success",
            "file_id": "f1",
            "base_resp": {"status_code": 0, "status_msg": "success"},
        },
    ),
)
_FILES: Final = re.compile(r"/files(/(?P<id>[^/]+)/content)?$")
_BATCHES: Final = re.compile(r"/batches(/(?P<id>[^/]+?))?(?P<results>/results)?$")


class Jobs:
    """What one server was given to do. `final` answers a request at once, whatever its path."""

    def __init__(self, final: Answer) -> None:
        self._final = final
        self._lock = threading.Lock()
        self._jobs: dict[str, Job] = {}
        self._files: dict[str, list[dict[str, Any]]] = {}
        self._batches: dict[str, dict[str, Any]] = {}

    def reply(self, method: str, ask: Ask) -> Reply | None:
        """The answer to a request about a job or a batch; None for any other request."""
        with self._lock:
            if match := _FILES.search(ask.path):
                return self._file(method, ask, match["id"])
            if match := _BATCHES.search(ask.path):
                return self._batch(method, ask, match["id"], bool(match["results"]))
            if method == "POST":
                return self._submitted(ask)
            return self._polled(ask)

    def _submitted(self, ask: Ask) -> Reply | None:
        for shape in SHAPES:
            if shape.post.search(ask.path) and shape.asked(ask):
                name = f"job_{len(self._jobs) + 1}"
                self._jobs[name] = Job(shape, ask)
                return json_reply(shape.submitted(name, ask))
        return None

    def _polled(self, ask: Ask) -> Reply | None:
        for shape in SHAPES:
            if (match := shape.poll.search(ask.path)) is None:
                continue
            name = match.groupdict().get("id") or ask.query.get("task_id", "")
            job = self._jobs.get(name)
            if job is None or job.shape is not shape:
                continue
            job.polls += 1
            if job.polls > 1:
                return json_reply(shape.finished(name, job.ask, self._final))
            running = shape.running(name, job.ask)
            return json_reply(running) if running is not None else Reply(202, [])
        return None

    # Batches ----------------------------------------------------------------------------------------------------

    def _file(self, method: str, ask: Ask, name: str | None) -> Reply | None:
        if name is None:
            made = f"file-{len(self._files) + 1}"
            text = ask.body.get("file")
            lines = str(text).splitlines() if method == "POST" and text is not None else []
            self._files[made] = [json.loads(line) for line in lines if line.strip()]
            return json_reply({"id": made, "object": "file", "bytes": 1, "filename": "in.jsonl", "purpose": "batch"})
        lines_found = self._files.get(name)
        if lines_found is None:
            return None
        return Reply(200, [compact(line) + b"\n" for line in lines_found], "application/octet-stream")

    def _batch(self, method: str, ask: Ask, name: str | None, results: bool) -> Reply | None:
        if name is not None:
            batch = self._batches.get(name)
            if batch is None:
                return None
            if results:
                return Reply(200, [compact(line) + b"\n" for line in self._files[name]], "application/x-jsonl")
            return json_reply(batch)
        made = f"batch_{len(self._batches) + 1}"
        if "requests" in ask.body:
            return self._anthropic(ask, made)
        given = self._files.get(str(ask.body.get("input_file_id")), [])
        lines: list[dict[str, Any]] = [
            {"id": f"l{number}", "custom_id": line.get("custom_id"), "response": {"status_code": 200, "body": answer}}
            for number, line in enumerate(given)
            if (answer := self._answer(ask, line["body"], line["url"])) is not None
        ]
        self._files[f"file-of-{made}"] = lines
        head = {"id": made, "object": "batch", "endpoint": ask.body.get("endpoint"), "created_at": CREATED}
        given_of = {"input_file_id": ask.body.get("input_file_id"), "completion_window": "24h"}
        self._batches[made] = {
            **head,
            **given_of,
            "status": "completed",
            "output_file_id": f"file-of-{made}",
            "model": given[0]["body"].get("model") if given else None,
            "usage": _summed([line["response"]["body"].get("usage") or {} for line in lines]),
        }
        return json_reply({**head, **given_of, "status": "validating"})

    def _anthropic(self, ask: Ask, made: str) -> Reply:
        self._files[made] = [
            {
                "custom_id": entry["custom_id"],
                "result": {"type": "succeeded", "message": self._answer(ask, entry["params"], "/v1/messages")},
            }
            for entry in ask.body["requests"]
        ]
        counts = {"processing": 0, "succeeded": len(self._files[made]), "errored": 0, "canceled": 0, "expired": 0}
        times = {"created_at": "2025-10-09T08:53:20Z", "expires_at": "2025-10-10T08:53:20Z"}
        body = {"id": made, "type": "message_batch", "request_counts": counts, **times}
        url = f"http://{ask.headers.get('host')}/v/{ask.dialect.name}{ask.path}/{made}/results"
        done = {"processing_status": "ended", "results_url": url}
        self._batches[made] = {**body, **done}
        return json_reply({**body, "processing_status": "in_progress", "results_url": None})

    def _answer(self, ask: Ask, body: Mapping[str, Any], path: str) -> Any:
        named, faults = ask.faults.of_model(str(body.get("model") or ""))
        return self._final(replace(ask, path=path, body=body, model=named, faults=faults))


def _summed(usages: list[Mapping[str, Any]]) -> dict[str, Any]:
    read = sum(usage.get("prompt_tokens", usage.get("input_tokens", 0)) for usage in usages)
    written = sum(usage.get("completion_tokens", usage.get("output_tokens", 0)) for usage in usages)
    return {"input_tokens": read, "output_tokens": written, "total_tokens": read + written}
