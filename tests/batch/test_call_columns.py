"""Which columns are read as calls, and what is said of those that cannot be."""

from __future__ import annotations

import re
from datetime import datetime
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
    ],
)
def test_columns_that_cannot_be_priced_are_refused_at_once(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        tokenmeter.batch.price(pa.table(columns))
