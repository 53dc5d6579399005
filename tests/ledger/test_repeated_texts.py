"""Texts that calls repeat: the short way gives the shape and values that dividing the whole text gives."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.rigs.made_records import priced
from tokenmeter.ledger.free_form import bare, json_text
from tokenmeter.ledger.repeated_texts import RepeatedTexts
from tokenmeter.ledger.shapes import CHARGES, NUMBERS, divided, encode, restored
from tokenmeter.prices.book import load_book
from tokenmeter.record import Attempt
from tokenmeter.usage import Usage

AT = datetime(2026, 11, 1, tzinfo=UTC)
KEYS = st.sampled_from(["prompt_tokens", "completion_tokens", "details", "a:5]b", "my dear diary", "sk-secret", ""])
LEAVES = st.none() | st.booleans() | st.integers(-(10**17), 10**17) | st.floats(allow_nan=False) | st.text(max_size=9)
USAGES = st.dictionaries(KEYS, st.recursive(LEAVES, lambda one: st.dictionaries(KEYS, one) | st.lists(one, max_size=3)))


@given(st.lists(USAGES, min_size=1, max_size=4))
def test_a_usage_object_is_divided_as_its_text_is(usages: list[dict[str, Any]]) -> None:
    texts = RepeatedTexts()
    for usage in [*usages, *usages]:  # the second time from what is remembered
        text = json_text(bare(usage))
        expected = (None, None) if text is None else divided(text, NUMBERS)
        assert texts.raw(usage) == expected
        assert restored(*texts.raw(usage)) == text


def test_charges_are_divided_as_their_text_is() -> None:
    texts, book = RepeatedTexts(), load_book()
    for usage in (Usage(input_tokens=10, output_tokens=3), Usage(input_tokens=7, output_tokens=1)):
        for cost in (book.price(usage, provider="deepseek", model="deepseek-chat", at=AT), priced("0.1"), priced("0")):
            text = encode([charge.to_dict() for charge in cost.charges]) if cost.charges else None
            assert texts.charges(cost) == ((None, None) if text is None else divided(text, CHARGES))


def test_the_only_request_keeps_its_times_and_its_id_apart() -> None:
    texts = RepeatedTexts()
    attempt = Attempt(200, None, 5_000_000, 2_000_000_000, "req-1", usage=True)
    shape, before_us, took_ns, request_id = texts.sent((attempt,), 7_005_000)
    assert (before_us, took_ns, request_id) == (7_000_000, 2_000_000_000, "req-1")
    assert json.loads(shape or "")[3] == ',"usage":true,"reason":null}]'
    assert texts.sent((attempt, attempt), 0) == (None, None, None, None)


def test_parameters_that_look_alike_are_not_mixed_up() -> None:
    texts = RepeatedTexts()
    values: list[Any] = [1, True, 1.0, "1", [1], {"a": 1}, Decimal(1), None]
    for value in [*values, *values]:
        assert texts.params_text({"n": value}) == json_text(bare({"n": value}))


def test_names_are_kept_whole_or_chosen() -> None:
    texts = RepeatedTexts()
    assert texts.names(("a", "b")) == '["a","b"]'
    assert texts.names(("a", "b"), lambda names: [name for name in names if name == "a"]) == '["a"]'
    assert texts.names(()) is None
