"""The case of a recorded call: who answered, what was billed, what a counter cannot see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tokenmeter.cli.recordings.cases import Case, case_of
from tokenmeter.cli.recordings.exchanges import Exchange, read_file

DATA = Path(__file__).parents[2] / "data" / "recordings"
URL = "https://api.openai.com/v1/chat/completions"
SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}


def cases(name: str) -> list[Case]:
    pytest.importorskip("yaml")
    return [case for one in read_file(DATA / name) if (case := case_of(one)) is not None]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("ruby.yml", ("openai", "openai.chat", "gpt-4o", "2025-06-12", 8, 2), id="Ruby's VCR"),
        pytest.param(
            "parsed.yaml", ("anthropic", "anthropic.messages", "claude-sonnet-4-5", None, 14, 40), id="caches"
        ),
        pytest.param(
            "page.har", ("google", "gemini.generate", "gemini-2.5-flash", "2026-02-03", 2, 9), id="model in path"
        ),
        pytest.param("nock.json", ("alibaba", "openai.chat", "qwen-plus", None, 9, 1), id="nock"),
        pytest.param("fixtures.json", ("deepseek", "openai.chat", "deepseek-chat", None, 9, 1), id="fixture"),
        pytest.param("trace.json", ("openai", "openai.chat", "gpt-4o", "2026-02-01", 8, 2), id="trace"),
    ],
)
def test_who_answered_and_what_was_billed(name: str, expected: tuple[Any, ...]) -> None:
    case = cases(name)[0]
    reported = case["reported"]
    found = (case["vendor"], case["api"], case["model_requested"], case["date"])
    assert (*found, reported["input"], reported["output"]) == expected


def test_streams_and_whole_answers_say_the_same() -> None:
    whole, streamed, called, responses = cases("vcrpy.yaml")
    assert [case["stream"] for case in (whole, streamed, called, responses)] == [False, True, False, False]
    assert whole["output"]["text"] == streamed["output"]["text"] == responses["output"]["text"]
    assert whole["usage"] == streamed["usage"]
    assert streamed["request"]["messages"][0]["content"] == "你好，世界"
    assert called["has_tools"]
    assert called["output"]["tool_calls"][0]["name"] == "get_weather"
    assert len({case["id"] for case in (whole, streamed, called, responses)}) == 4
    assert [case["id"] for case in cases("vcrpy.json")] == [case["id"] for case in cases("vcrpy.yaml")]


def test_other_requests_and_refusals_are_no_cases() -> None:
    assert len(cases("page.har")) == 1
    assert [case["kind"] for case in cases("fixtures.json")] == ["recording", "fixture"]


@pytest.mark.parametrize(
    ("more", "usage", "flag"),
    [
        pytest.param({"n": 2}, {}, "multi_choice", id="several answers"),
        pytest.param({"previous_response_id": "r"}, {}, "server_context", id="stored"),
        pytest.param({"tools": [{"type": "web_search"}]}, {}, "builtin_tools", id="a tool of the vendor's"),
        pytest.param({"response_format": SCHEMA}, {}, "json_schema", id="schema"),
        pytest.param({}, {"completion_tokens_details": {"reasoning_tokens": 5}}, "hidden_reasoning", id="thoughts"),
    ],
)
def test_what_a_counter_cannot_see_is_flagged(more: dict[str, Any], usage: dict[str, Any], flag: str) -> None:
    request = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], **more}
    answer = {
        "choices": [{"message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 8, "completion_tokens": 9, "total_tokens": 17, **usage},
    }
    case = case_of(Exchange("x", URL, request, 200, answer))
    assert case is not None
    assert flag in case["flags"]
