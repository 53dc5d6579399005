"""An event whose shape is known says what its JSON says, or is not known."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmeter.wire.event_shapes import EventShapes, Said
from tokenmeter.wire.extract import reader_for

READER = reader_for("openai", "openai.chat")


def said(body: dict[str, Any]) -> Said | None:
    assert READER is not None
    return READER.facts(body), READER.usage_object(body)


def event(name: str = "chatcmpl-1", given: object = 20, made: object = 12, **more: Any) -> bytes:
    usage = {"prompt_tokens": given, "completion_tokens": made, "prompt_tokens_details": {"cached_tokens": 0}}
    body = {"id": name, "model": "gpt-4o", "created": 1750000000, "choices": [], "usage": usage, **more}
    return json.dumps(body, ensure_ascii=False).encode()


def known_after(learnt: bytes, other: bytes) -> bool:
    """Whether an event is known after another was learnt; if it is, it says what its JSON says."""
    shapes = EventShapes(said)
    shapes.learn(learnt)
    found = shapes.find(other)
    if found is None:
        return False
    assert found == said(json.loads(other))
    usage, expected = found[1], json.loads(other).get("usage")
    assert usage is None or list(usage) == list(expected)
    return True


@pytest.mark.parametrize(
    ("learnt", "other", "known"),
    [
        pytest.param(event(), event("chatcmpl-2", 7, 0, created=1760000000), True, id="another id and other numbers"),
        pytest.param(event(), event("", 7, 10**17), True, id="an empty id, a large number"),
        pytest.param(event("chatcmpl-字"), event("会"), True, id="letters"),
        pytest.param(event(usage=None), event("x", usage=None), True, id="no usage"),
        pytest.param(event(), event().replace(b": ", b":"), False, id="written otherwise"),
        pytest.param(event(), event(model="gpt-4.1"), False, id="another model"),
        pytest.param(event(), event(made=None), False, id="null"),
        pytest.param(event(), event(made=-1), False, id="a negative number"),
        pytest.param(event(), event(made=1.5), False, id="a fraction"),
        pytest.param(event(made=1.5), event(made=2.5), False, id="fractions"),
        pytest.param(event(), event(made=10**18), False, id="a number of 19 digits"),
        pytest.param(event(), event(new=1), False, id="one number more"),
        pytest.param(event(note="at:7"), event(note="at:8"), False, id="a number in a text"),
        pytest.param(event(list=[1, 2]), event(list=[1, 3]), False, id="numbers in a list"),
        pytest.param(event('quo"te'), event('quo"te'), False, id="an id with a quotation mark"),
        pytest.param(event(), event("back\\slash"), False, id="an id with a backslash"),
        pytest.param(b'{"choices":[{"id":"a"}],"id":"b"}', b'{"choices":[{"id":"c"}],"id":"b"}', False, id="two ids"),
        pytest.param(b'{"model":"m"}', b'{"model":"m"}', False, id="no id"),
    ],
)
def test_an_event_is_known_by_all_but_its_id_and_numbers(learnt: bytes, other: bytes, known: bool) -> None:
    assert known_after(learnt, other) is known


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 10**19), st.floats(allow_nan=False, allow_infinity=False), st.text(),
    st.sampled_from(["x:1", ": 2", '"id":"a"', '"id": "b"', "\\", "1", {"id": "c"}, [1], {"n": 1}, [{"n": 2}]]),
)  # fmt: skip


@given(
    names=st.tuples(*[st.sampled_from(["a", "b:1", 'c"id":"d"', ""]) | st.text(max_size=4)] * 2),
    counts=st.tuples(*[VALUES] * 4),
    more=st.tuples(VALUES, VALUES, st.booleans()),
)
def test_what_is_known_is_what_the_json_says(names: Any, counts: Any, more: Any) -> None:
    first, second, same = more
    known_after(
        event(names[0], counts[0], counts[1], extra=first),
        event(names[1], counts[0] if same else counts[2], counts[3], extra=first if same else second),
    )


def test_only_so_many_shapes_are_kept() -> None:
    shapes = EventShapes(said)
    for number in range(1000):
        shapes.learn(event(model=f"model-{'x' * number}"))
    assert len(shapes._known) <= 64
    shapes.learn(event(note="x" * 3000))
    assert shapes.find(event(note="x" * 3000)) is None
