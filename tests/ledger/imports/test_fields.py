"""Values of imports: paths, texts, instants, numbers."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmeter.ledger.imports.fields import (
    BadField,
    StatedFloat,
    find,
    instant_ns,
    items_of,
    number_of,
    text_of,
    words_of,
)

AT = 1795168800 * 10**9  # 2026-11-20T10:00:00Z


@pytest.mark.parametrize(
    ("value", "unit", "zone", "expected"),
    [
        ("2026-11-20T10:00:00Z", "s", None, AT),
        ("2026-11-20 10:00:00+00", "s", None, AT),
        ("2026-11-20 10:00:00 UTC", "s", None, AT),
        ("2026-11-20T18:00:00+08:00", "s", None, AT),
        ("2026-11-20T18:00:00.000000001+0800", "s", None, AT + 1),
        ("2026-11-20 10:00:00.5", "s", "UTC", AT + 500_000_000),
        ("2026-11-20 18:00:00", "s", "Asia/Shanghai", AT),
        (1795168800, "s", None, AT),
        (StatedFloat("1795168800.123456789"), "s", None, AT + 123_456_789),
        ("1795168800000", "ms", None, AT),
        ("1795168800000000001", "ns", None, AT + 1),
        ("", "s", None, None),
        (None, "s", None, None),
    ],
)
def test_instants_are_exact(value: Any, unit: str, zone: str | None, expected: int | None) -> None:
    assert instant_ns(value, "at", unit=unit, zone=zone) == expected


@pytest.mark.parametrize(
    ("value", "unit", "says"),
    [
        ("2026-11-20 10:00:00", "s", "has no offset"),
        ("2026-02-30T10:00:00Z", "s", "of the calendar"),
        ("2026-11-20", "s", "is not an instant such as"),
        ("noon", "s", "is not an instant such as"),
        (1795168800000, "s", "its unit is not s"),
        (-1, "s", "its unit is not s"),
        ([1], "s", "is a list"),
    ],
)
def test_what_is_no_instant_is_named(value: Any, unit: str, says: str) -> None:
    with pytest.raises(BadField, match=says) as found:
        instant_ns(value, "at", unit=unit, zone=None)
    assert found.value.field == "at"


@given(st.integers(0, 4_102_444_799_999_999_999), st.integers(-14 * 60, 14 * 60))
def test_every_written_instant_is_read_back(ns: int, minutes: int) -> None:
    at = datetime.fromtimestamp(ns // 10**9, timezone(timedelta(minutes=minutes))).isoformat()
    written = f"{at[:19]}.{ns % 10**9:09d}{at[19:]}"
    assert instant_ns(written, "at", unit="s", zone=None) == ns


def test_paths_go_through_keys_with_points() -> None:
    row = {"a": {"b.c": 1, "b": {"d": 2}}, "attributes.llm.model": "m", "none": None}
    assert [find(row, path) for path in ("a.b.c", "a.b.d", "attributes.llm.model", "a.x", "none.x", "none")] == [
        1, 2, "m", None, None, None,
    ]  # fmt: skip
    assert find(row, ".") is row


def test_rows_know_what_stands_around_them() -> None:
    document = {"resources": [{"name": "r", "scopes": [{"name": "s", "spans": [1, 2]}, {"spans": "no list"}]}]}
    found = list(items_of(document, "resources[].scopes[].spans[]"))
    assert [(place, row) for place, row, _ in found] == [
        ("resources[0].scopes[0].spans[0].", 1), ("resources[0].scopes[0].spans[1].", 2),
    ]  # fmt: skip
    assert [found[0][2][name]["name"] for name in ("resources", "scopes")] == ["r", "s"]
    assert list(items_of([], "data[]")) == []


def test_numbers_keep_their_digits() -> None:
    assert number_of(StatedFloat("0.10000000000000000001"), "x") == Decimal("0.10000000000000000001")
    assert number_of("2.8e-6", "x") == Decimal("0.0000028")
    assert number_of("", "x") is None
    for bad in ("1,000", "nan", "1e999", "x"):
        with pytest.raises(BadField, match="is not a number"):
            number_of(bad, "x")


def test_texts_are_short_and_plain() -> None:
    assert text_of(" a ", "x") == "a"
    assert len(text_of("x" * 10_000, "x") or "") == 256
    assert words_of('["a", "b"]', "x") == ("a", "b")
    assert words_of({}, "x") == words_of([], "x") == words_of(None, "x") == ()
    for bad in ({"a": 1}, "\ud800"):
        with pytest.raises(BadField):
            text_of(bad, "x")
    with pytest.raises(BadField, match="JSON list"):
        words_of("[a", "x")
