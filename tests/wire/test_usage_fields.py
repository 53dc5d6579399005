"""The quick pass over plain token counts picks what the pass over everything does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmeter.wire.extract import reader_for
from tokenmeter.wire.usage_fields import Fields, Found

DECLARED = {
    "input": "input_tokens",
    "tokens.input": "input_tokens",
    "output": "output_tokens",
    "all": "total",
    "details.cached": "cache_read_input_tokens",
    "details.searches": "quantities.web_search_calls",
    "details.more.thought": "reasoning_output_tokens",
    "parts[].text": "audio_input_tokens",
    "tier": "tier",
}
FIELDS = Fields(DECLARED, ["details.free", "note"])
NAMES = (
    "input", "output", "all", "tokens", "details", "cached", "searches", "more", "thought", "parts", "tier", "free",
    "note", "new",
)  # fmt: skip
VALUES = st.one_of(st.integers(-2, 50), st.none(), st.booleans(), st.just("7"), st.floats(0, 9))
OBJECTS = st.recursive(
    st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=5),
    lambda inner: st.dictionaries(st.sampled_from(NAMES), st.one_of(VALUES, inner, st.lists(inner, max_size=2))),
    max_leaves=6,
)


def told(found: Found) -> tuple[Any, ...]:
    return found.values, found.ranks, found.unknown, found.odd, found.disagreements, found.plain


@given(OBJECTS)
def test_both_passes_pick_the_same(usage: dict[str, Any]) -> None:
    found = Found()
    FIELDS._read(usage, FIELDS._root, "", found)
    quick = FIELDS.pick(usage)
    # Which of its names gave a count matters where another contradicts it: then there is more than plain counts.
    found.ranks = {} if not quick.ranks else found.ranks
    assert told(quick) == told(found)


@pytest.mark.parametrize(
    ("usage", "plain"),
    [
        ({"input": 3, "output": 4, "details": {"cached": 2, "more": {"thought": 1}}}, True),
        ({"input": 3, "output": None, "details": None}, True),
        ({"input": 3, "details": {}, "note": [1, 2]}, True),
        ({"input": 3, "tokens": {"input": 3}}, False),
        ({"input": "3"}, False),
        ({"input": 3, "new": 1}, False),
        ({"details": {"searches": 1}}, False),
        ({"details": 3}, False),
        ({"input": True}, False),
    ],
)
def test_which_are_plain(usage: dict[str, Any], plain: bool) -> None:
    for _ in range(2):
        assert FIELDS._plain.read(usage, {}) is plain


def test_names_that_vendors_invent_do_not_pile_up() -> None:
    reader = reader_for("openai", "openai.chat")
    assert reader is not None
    for n in range(2000):
        reader._fields.pick({"prompt_tokens": 1, f"new{n}": 2})
    assert len(reader._fields._plain._plans) <= 256
