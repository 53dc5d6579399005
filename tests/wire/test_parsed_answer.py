"""An answer that an SDK has parsed is read as its body would be, or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anthropic.types
import openai.types.chat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmeter.wire.extract import extract
from tokenmeter.wire.extracted import raw_usage
from tokenmeter.wire.parsed_answer import parsed_answers

RESPONSES = Path(__file__).parent.parent / "data" / "responses"
CHAT = openai.types.chat.ChatCompletion
MESSAGE = anthropic.types.Message


def parsed(kind: Any, body: bytes) -> Any:
    """What the SDK makes of a body: it does not insist on any field."""
    return kind.construct(**json.loads(body))


def check(kind: Any, provider: str, api: str, body: bytes) -> bool:
    """Whether the parsed answer was read; if it was, as its body."""
    answers = parsed_answers(provider, api)
    assert answers is not None
    facts = answers.facts(parsed(kind, body))
    if facts is None:
        return False
    read = []
    for _ in range(3):  # the third may be read by the frame of those before
        said = answers.read(body, facts)
        read.append(said is not None)
        if said is not None:
            said = said._replace(raw=raw_usage(said.raw))
            assert said == extract(json.loads(body), provider=provider, api=api)
            assert list(said.raw) == list(json.loads(body)["usage"])  # type: ignore[call-overload]
    assert len(set(read)) == 1
    return read[0]


USAGE = {"prompt_tokens": 20, "completion_tokens": 12, "total_tokens": 32}
CHOICE = {"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}
ANSWER = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o", "choices": [CHOICE]}


@pytest.mark.parametrize(
    ("answer", "read"),
    [
        pytest.param({**ANSWER, "usage": USAGE}, True, id="plain"),
        pytest.param({"usage": USAGE, **ANSWER}, True, id="usage first"),
        pytest.param(
            {**ANSWER, "usage": USAGE, "service_tier": "default", "system_fingerprint": None}, True, id="last"
        ),
        pytest.param({**ANSWER, "usage": {**USAGE, "something_new": 3}}, True, id="a field nobody knows"),
        pytest.param({**ANSWER, "usage": {**USAGE, "total_tokens": 90}}, False, id="a total that does not fit"),
        pytest.param({**ANSWER, "usage": {**USAGE, "completion_tokens": 0, "total_tokens": 20}}, False, id="a zero"),
        pytest.param({**ANSWER, "usage": {"prompt_tokens": 20}}, False, id="half a usage"),
        pytest.param({**ANSWER, "usage": None}, False, id="null"),
        pytest.param(ANSWER, False, id="no usage"),
        pytest.param({**ANSWER, "x": {"usage": USAGE}}, False, id="inside something else"),
        pytest.param({**ANSWER, "usage": USAGE, "x": {"usage": {"prompt_tokens": 1}}}, False, id="another after it"),
        pytest.param({**ANSWER, "choices": [{**CHOICE, "usage": USAGE}]}, False, id="of a choice"),
        pytest.param({**ANSWER, "usage": USAGE, "error": {"code": "odd"}}, False, id="an error"),
        pytest.param({**ANSWER, "choices": [{**CHOICE, "finish_reason": None}], "usage": USAGE}, False, id="no end"),
        pytest.param({**ANSWER, "choices": [CHOICE, {**CHOICE, "index": 1}], "usage": USAGE}, True, id="two choices"),
        pytest.param({**ANSWER, "choices": [], "usage": USAGE}, False, id="none"),
        pytest.param({**ANSWER, "model": 4, "usage": USAGE}, False, id="a model that is a number"),
        pytest.param(
            {**ANSWER, "choices": [{**CHOICE, "message": {"content": '"usage":{"prompt_tokens":9}}'}}], "usage": USAGE},
            True,
            id="a text about usage",
        ),
        pytest.param(
            {**ANSWER, "model": "gpt-4o-search-preview", "usage": USAGE}, True, id="a model billed by the search, too"
        ),
    ],
)
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_what_is_plain_is_read(answer: dict[str, Any], read: bool, separators: tuple[str, str]) -> None:
    assert check(CHAT, "openai", "openai.chat", json.dumps(answer, separators=separators).encode()) is read


PLACES = [
    *((CHAT, "openai.chat", path) for path in sorted(RESPONSES.glob("*/*.json"))),
    *((MESSAGE, "anthropic.messages", path) for path in sorted(RESPONSES.glob("anthropic/*.json"))),
]


@pytest.mark.parametrize(("kind", "api", "path"), PLACES, ids=lambda value: getattr(value, "stem", None))
def test_recorded_answers_are_read_as_their_bodies(kind: Any, api: str, path: Path) -> None:
    recorded = json.loads(path.read_text("utf-8"))
    for body in recorded if isinstance(recorded, list) else [recorded]:
        answer = body.get("response") if isinstance(body, dict) else None
        if isinstance(answer, dict):
            check(kind, path.parent.name, api, json.dumps(answer, ensure_ascii=False).encode())


def test_anthropic_answers_are_read() -> None:
    answer = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5", "stop_sequence": None,
        "content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn",
        "usage": {"input_tokens": 9, "output_tokens": 4, "server_tool_use": None, "service_tier": "standard"},
    }  # fmt: skip
    assert check(MESSAGE, "anthropic", "anthropic.messages", json.dumps(answer).encode())
    searched = {**answer, "content": [{"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}]}
    assert not check(MESSAGE, "anthropic", "anthropic.messages", json.dumps(searched).encode())


@given(
    st.recursive(
        st.one_of(st.none(), st.integers(-3, 40), st.text(max_size=3), st.just(USAGE)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(st.sampled_from(["usage", "error", "prompt_tokens", "completion_tokens", "x"]), inner),
        ),
        max_leaves=8,
    ),
    st.sampled_from(["usage", "x", "service_tier", "error", "choices", "endpoint", "_hidden_params"]),
    st.booleans(),
)
def test_whatever_stands_where(odd: Any, place: str, first: bool) -> None:
    answer = {place: odd, **ANSWER, "usage": USAGE} if first else {**ANSWER, "usage": USAGE, place: odd}
    check(CHAT, "openai", "openai.chat", json.dumps(answer).encode())
