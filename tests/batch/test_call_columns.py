"""Which columns are read as calls, and what is said of those that cannot be."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

import tokenmeter
from tokenmeter.errors import ConfigurationError

pa = pytest.importorskip("pyarrow")


@pytest.mark.parametrize(
    ("column", "values", "reason"),
    [
        ("input_tokens", ["10", "ten", "30"], "row 1, column input_tokens: 'ten' is no whole number"),
        ("input_tokens", [10.0, 10.5, float("nan")], "row 1, column input_tokens: 10.5 is no whole number"),
        ("input_tokens", [Decimal("1"), Decimal("1.5"), None], r"row 1, column input_tokens: Decimal\('1.5'\)"),
        ("model", ["gpt-4o", None, "gpt-4o"], "row 1, column model: not known"),
        ("provider", ["openai", None, "openai"], "row 1, column provider: not known"),
        ("usage", [None, '{"input_tokens": 1.5}', None], "row 1, column usage: "),
        ("usage", [None, "[]", None], "row 1, column usage: "),
        ("params", ["{}", "{", None], "row 1, column params: "),
        ("params", ["{}", "[]", None], "row 1, column params: '\\[\\]' is no JSON object"),
        ("at", ["2026-11-01T00:00:00Z", "yesterday", "2026-11-01"], "'yesterday' is not a time"),
    ],
)
def test_a_bad_row_says_what_is_wrong_and_the_others_go_on(column: str, values: list[Any], reason: str) -> None:
    columns = {"provider": ["openai"] * 3, "model": ["gpt-4o"] * 3, "input_tokens": [1, 2, 3], "output_tokens": [1] * 3}
    found = tokenmeter.batch.price(pa.table(columns | {column: values})).read_all().to_pylist()
    assert [row["cost_status"] for row in found] == ["priced", "unpriced", "priced"]
    assert re.search(reason, found[1]["cost_reason"]), found[1]["cost_reason"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"model": ["m"], "input_tokens": [1]}, "no column provider"),
        ({"provider": ["p"], "input_tokens": [1]}, "no column model"),
        ({"provider": ["p"], "model": ["m"]}, "no column of tokens"),
        ({"provider": ["p"], "model": ["m"], "input_tokens": [[1]]}, "'input_tokens' is list.*must hold whole numbers"),
        ({"provider": ["p"], "model": [1], "input_tokens": [1]}, "'model' is int64: it must hold text"),
        ({"provider": ["p"], "model": ["m"], "input_tokens": [1], "at": [datetime(2026, 1, 1)]}, "a time zone"),  # noqa: DTZ001
        ({"provider": ["p"], "model": ["m"], "input_tokens": [1], "at": [1]}, "'at' is int64"),
        ({"provider": ["p"], "model": ["m"], "input_tokens": [1], "batch": [0.5]}, "'batch' is double"),
        ({"provider": ["p"], "model": ["m"], "input_tokens": [1], "cost": [1]}, "'cost' already"),
        ({"provider": ["p"], "model": ["m"], "usage": [{"input_tokens": 1}]}, "'usage' is struct.*must hold JSON text"),
        ({"provider": ["p"], "model": [b"m"], "input_tokens": [1]}, "'model' is binary: .*cast it to string"),
        ({"provider": ["p"], "model": ["m"], "prompt_tokens": [1]}, "no column of tokens .* rename yours"),
    ],
)
def test_columns_that_cannot_be_priced_are_refused_at_once(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        tokenmeter.batch.price(pa.table(columns))


def test_a_column_that_is_there_twice_is_refused_where_it_is_read() -> None:
    names = ["provider", "model", "note", "note"]
    one = [pa.array([value]) for value in ("openai", "gpt-4o", "a", "b")]
    with pytest.raises(ConfigurationError, match="two columns 'input_tokens': rename or drop one"):
        tokenmeter.batch.price(
            pa.Table.from_arrays([*one, pa.array([1]), pa.array([1])], [*names, *["input_tokens"] * 2])
        )
    found = tokenmeter.batch.price(pa.Table.from_arrays([*one, pa.array([1])], [*names, "input_tokens"])).read_all()
    assert found["cost_status"].to_pylist() == ["priced"]


_CALL = {
    "provider": "openai",
    "model": "gpt-4o",
    "at": datetime(2024, 6, 1, tzinfo=UTC),
    "input_tokens": 7,
    "batch": True,
}
_TEXTS = [
    pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string()),
    pa.dictionary(pa.int32(), pa.large_string()),
]  # fmt: skip
_NUMBERS = [
    pa.int8(), pa.uint64(), pa.float32(), pa.decimal128(20, 3), pa.decimal256(40, 0), pa.string(),
    pa.dictionary(pa.int8(), pa.int64()),
]  # fmt: skip
_INSTANTS = [
    *(pa.timestamp(unit, zone) for unit in ("s", "ms", "us", "ns") for zone in ("UTC", "Asia/Shanghai", "-07:00")),
    pa.dictionary(pa.int8(), pa.timestamp("ms", "UTC")),
]


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        *((name, type_) for name in ("provider", "model") for type_ in _TEXTS),
        *(("input_tokens", type_) for type_ in _NUMBERS),
        *(("at", type_) for type_ in _INSTANTS),
    ],
    ids=str,
)
def test_a_column_is_read_alike_in_every_type_and_a_null_in_it_is_one(name: str, type_: Any) -> None:
    """Rows with and without nulls, in one chunk and in several."""
    rows = [_CALL, _CALL | {name: None}, _CALL | {"input_tokens": 9}]
    plain = pa.Table.from_pylist(rows)
    column = plain[name].combine_chunks()
    typed = (
        column.cast(type_.value_type).dictionary_encode()
        if pa.types.is_dictionary(type_)
        else column.cast(pa.int32()).cast(type_)
        if pa.types.is_decimal(type_)
        else column.cast(type_)
    )
    table = plain.set_column(
        plain.schema.get_field_index(name), name, pa.chunked_array([typed.slice(0, 1), typed.slice(1)])
    )
    expected = tokenmeter.batch.price(plain, at="2024-06-01").read_all().select(_RESULTS).to_pylist()
    assert tokenmeter.batch.price(table, at="2024-06-01").read_all().select(_RESULTS).to_pylist() == expected
    assert expected[0]["cost_status"] == expected[2]["cost_status"] == "priced"


_RESULTS = ["cost", "cost_status", "cost_rate_id", "cost_reason"]


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
def test_an_instant_that_is_no_date_is_a_reason(unit: str) -> None:
    at = pa.array([2**62, -(2**62), 2**63 - 1, None], pa.int64()).cast(pa.timestamp(unit, "UTC"))
    table = pa.table({"provider": ["openai"] * 4, "model": ["gpt-4o"] * 4, "input_tokens": [1] * 4, "at": at})
    found = tokenmeter.batch.price(table).read_all()
    reason = "row {}, column at: no instant of the years 1 to 9999"
    assert found["cost_reason"].to_pylist() == [*map(reason.format, range(3)), None]


@pytest.mark.parametrize("at", ["yesterday", "2025-01-01T00:00:00", datetime(2025, 1, 1)])  # noqa: DTZ001
@pytest.mark.parametrize("ask", [tokenmeter.batch.price, tokenmeter.batch.reprice])
def test_an_argument_that_is_no_instant_is_refused_at_once(ask: Any, at: Any) -> None:
    with pytest.raises(ConfigurationError, match="at: "):
        ask(pa.Table.from_pylist([_CALL]), at=at)


def test_calls_of_a_ledger_without_an_instant_are_not_priced_as_of_now() -> None:
    call = {"provider": "openai", "request_model": "gpt-4o", "input_tokens": 1, "output_tokens": 1}
    with pytest.raises(ConfigurationError, match=r"no column priced_at or ended_at .* name the instant"):
        tokenmeter.batch.reprice(pa.Table.from_pylist([call]))
    rows = [call | {"ended_at": _CALL["at"]}, call | {"ended_at": None}]
    found = tokenmeter.batch.reprice(pa.Table.from_pylist(rows)).read_all()["repriced_reason"].to_pylist()
    assert found == [None, "row 1, column priced_at or ended_at: not known"]
    assert tokenmeter.batch.reprice(pa.Table.from_pylist(rows), at="2025-01-01").read_all()["repriced"].null_count == 0
