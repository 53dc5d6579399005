"""Rows of a file as columns of ClickHouse, and what those cannot hold."""

from __future__ import annotations

from typing import Any

import pytest

from tokenmeter.ledger.fleet.clickhouse.columns import COLUMNS, columns_of
from tokenmeter.ledger.fleet.engine import RefusedError
from tokenmeter.ledger.fleet.source_file import SHIPPED
from tokenmeter.ledger.tables import DIMS
from tokenmeter.record import FROM_SPAN_TEXT


def call(**given: Any) -> list[Any]:
    """A call as it is shipped: its sequence and its columns, keys replaced by what they stand for."""
    plain = dict.fromkeys(SHIPPED) | {
        "id": "a", "ended_us": 1_793_534_400_000_001, "span_us": 5, "duration_ns": 5000, "day": 20758,
        "dims": tuple(f"{name}!" for name in DIMS), "tagset": {"team": "ads"}, "amount_whole": -1, "amount_pico": -2,
    }  # fmt: skip
    assert given.keys() <= plain.keys()
    return [7, *(plain | given).values()]


def shown(*calls: list[Any]) -> list[dict[str, Any]]:
    columns = columns_of(calls)
    made = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return [dict.fromkeys(COLUMNS) | one for one in made]


def test_what_calls_have_in_common_becomes_columns() -> None:
    one, other = shown(call(), call(id="b", tags='{"user":"u1","team":"web"}', dims=(None,) * len(DIMS)))
    assert {one[name] for name in DIMS if name != "known"} == {f"{name}!" for name in DIMS if name != "known"}
    assert {other[name] for name in DIMS if name != "known"} == {None}
    assert (one["tags"], other["tags"]) == ({"team": "ads"}, {"team": "web", "user": "u1"})
    assert (one["ended_at"], one["day"]) == (1_793_534_400_000_001, 20758)
    assert (one["amount_whole"], one["amount_pico"], one["amount_text"]) == (-1, -2, None)


def test_a_call_with_its_cost_counts_before_one_without_and_the_first_before_a_later() -> None:
    (without,) = shown(call(provisional=1))
    (first,) = shown(call())
    (later,) = shown(call())
    (still_without,) = shown(call(provisional=1))
    assert first["precedence"] >= later["precedence"] > without["precedence"] >= still_without["precedence"]
    (of_span,) = shown(call(flags=f"[{FROM_SPAN_TEXT}]"))
    (of_span_without,) = shown(call(flags=f"[{FROM_SPAN_TEXT}]", provisional=1))
    assert later["precedence"] > of_span["precedence"] > without["precedence"] > of_span_without["precedence"]


@pytest.mark.parametrize("text", ["0.00000000000123456789", "-1." + "1" * 38, "9" * 37, "12345678901234567890.5"])
def test_an_amount_of_many_digits_stays_as_it_is(text: str) -> None:
    (made,) = shown(call(amount_whole=None, amount_pico=None, amount_text=text))
    assert made["amount_text"] == text


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"amount_text": "0." + "1" * 39}, "amount_text 0.111"),
        ({"vendor_text": "1" * 38}, "vendor_text 111"),
        ({"list_amount": "1E-50"}, "list_amount 1E-50"),
        ({"ended_us": 10_413_792_000_000_000}, "after the year 2299"),
    ],
)
def test_what_its_types_do_not_hold_is_refused(given: dict[str, Any], why: str) -> None:
    with pytest.raises(RefusedError, match=why):
        columns_of([call(), call(**given)])
