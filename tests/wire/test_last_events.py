"""The last events of a stream say what the general reader makes of them, or are left to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmeter.wire.events import iter_events
from tokenmeter.wire.extract import reader_for
from tokenmeter.wire.last_events import last_events
from tokenmeter.wire.stream_reader import StreamReader

RESPONSES = Path(__file__).parent.parent / "data" / "responses"
USAGE = {"prompt_tokens": 20, "completion_tokens": 12, "total_tokens": 32}
DONE = "[DONE]"


def chat(choices: list[Any], **more: Any) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "gpt-4o", "choices": choices, **more}


def text(word: str = "a", **more: Any) -> dict[str, Any]:
    return chat([{"index": 0, "delta": {"content": word}, "finish_reason": None}], **more)


def finish(reason: str = "stop", **more: Any) -> dict[str, Any]:
    return chat([{"index": 0, "delta": {}, "finish_reason": reason}], **more)


def stream(*events: Any) -> bytes:
    lines = [one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in events]
    return b"".join(f"data: {line}\n\n".encode() for line in lines)


def check(provider: str | None, data: bytes) -> bool:
    """Whether the events were read; if they were, as the general reader reads them."""
    format_ = reader_for(provider, "openai.chat")
    assert format_ is not None
    plain = last_events(format_)
    assert plain is not None
    said = plain.read(data)
    if said is None:
        return False
    general = StreamReader(provider=provider, api="openai.chat")
    for name, event in iter_events(data, "text/event-stream"):
        general.feed(event, name)
    assert general.terminal
    assert general.error is None
    assert said == general.result()
    return True


@pytest.mark.parametrize("provider", ["openai", "deepseek", "moonshot", "groq", None])
@pytest.mark.parametrize(
    ("events", "read"),
    [
        pytest.param([finish(), chat([], usage=USAGE), DONE], True, id="OpenAI"),
        pytest.param([text(), finish(usage=USAGE), DONE], True, id="usage in the last choice's event"),
        pytest.param([text(usage=None), finish(usage=None), chat([], usage=USAGE), DONE], True, id="null usages"),
        pytest.param([finish(service_tier="flex"), chat([], usage=USAGE), DONE], True, id="tier"),
        pytest.param([finish(model="gpt-4o-search-preview"), chat([], usage=USAGE), DONE], True, id="two models"),
        pytest.param([finish(), chat([], usage={**USAGE, "total_tokens": 90}), DONE], True, id="a total too many"),
        pytest.param([finish(), chat([], usage={**USAGE, "new": 1}), DONE], True, id="unknown field"),
        pytest.param([finish(), chat([], usage=USAGE)], False, id="no terminator"),
        pytest.param([finish(), DONE], False, id="no usage"),
        pytest.param([finish(usage=USAGE), chat([], usage=USAGE), DONE], False, id="two usages"),
        pytest.param([finish(id="chatcmpl-2"), chat([], usage=USAGE), DONE], False, id="two answers"),
        pytest.param([finish("null"), chat([], usage=USAGE), DONE], False, id="not finished"),
        pytest.param([finish(), chat([], usage=USAGE, error={"code": "busy"}), DONE], False, id="an error"),
        pytest.param([{"code": "busy", "message": "no"}, chat([], usage=USAGE), DONE], False, id="a refusal"),
        pytest.param(["not JSON", chat([], usage=USAGE), DONE], False, id="not JSON"),
        pytest.param([f"\ndata: {json.dumps(finish())}", chat([], usage=USAGE), DONE], False, id="two lines"),
        pytest.param([finish(), {"event": "x", "data": chat([], usage=USAGE)}, DONE], False, id="in an envelope"),
    ],
)
def test_what_is_plain_is_read(provider: str | None, events: list[Any], read: bool) -> None:
    assert check(provider, stream(*events)) is read


def test_the_usage_of_a_choice_is_left_to_the_general_reader() -> None:
    event = chat([{"index": 0, "delta": {}, "finish_reason": "stop", "usage": USAGE}])
    assert not check("moonshot", stream(text(), event, DONE))


RECORDED = [
    pytest.param(recorded["provider"], recorded["stream_events"], id=f"{path.parent.name}-{path.stem}")
    for path in sorted(RESPONSES.glob("*/*.json"))
    if "stream_events" in (recorded := json.loads(path.read_text())) and recorded.get("api") == "openai.chat"
]


@pytest.mark.parametrize(("provider", "events"), RECORDED)
def test_recorded_streams_are_read_alike(provider: str, events: list[Any]) -> None:
    check(provider, stream(*[event for event in events if event != DONE][-2:], DONE))


COUNTS = st.one_of(st.none(), st.integers(-1, 50), st.sampled_from(["7", 1.5, True, {}, [1]]))
FIELDS = st.dictionaries(
    st.sampled_from([*USAGE, "prompt_tokens_details", "cost", "server_tool_use", "new"]), COUNTS, max_size=5
)
BESIDE = st.dictionaries(
    st.sampled_from(["error", "code", "type", "service_tier", "usage", "x_groq", "event", "model", "id"]),
    st.one_of(COUNTS, st.sampled_from(["", "error", "flex", {"usage": USAGE}]), FIELDS),
    max_size=2,
)


@given(usage=FIELDS, first=BESIDE, second=BESIDE, at_once=st.booleans(), provider=st.sampled_from(["openai", "groq"]))
def test_whatever_stands_where(
    usage: dict[str, Any], first: dict[str, Any], second: dict[str, Any], at_once: bool, provider: str
) -> None:
    if at_once:
        events = [text(**first), finish(**{**second, "usage": {**USAGE, **usage}})]
    else:
        events = [finish(**first), {**chat([], usage={**USAGE, **usage}), **second}]
    check(provider, stream(*events, DONE))
