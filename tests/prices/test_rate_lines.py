"""A compiled price file is JSON that can be divided into its rates, and says what the TOML says."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmeter._support.data_files import data_names, read_data, to_json
from tokenmeter.prices.rate_lines import RateLines, by_model, divided, written

HEAD = {"provider": "acme", "currency": "CNY", "note": "one\ntwo"}
RATE = st.fixed_dictionaries(
    {"input": st.decimals("0", "100", places=3), "model": st.text(min_size=1, max_size=6)},
    optional={"note": st.text(max_size=6), "case": st.lists(st.just({"when": {"batch": True}}), max_size=2)},
)


def plain(text: str) -> Any:
    return json.loads(text, parse_float=Decimal)


@given(st.lists(RATE, max_size=5))
def test_what_is_divided_is_what_was_written(rates: list[dict[str, Any]]) -> None:
    data = {**HEAD, "rate": rates, "alias": [{"model": "a", "of": "b"}]} if rates else HEAD
    text = written(data)
    found = divided(text)
    assert plain(text) == plain(to_json(data))
    assert {**found, "rate": list(found.get("rate", ()))} == {**plain(to_json(data)), "rate": rates}
    groups = {model: list(group) for model, group in by_model(found.get("rate", ())).items()}
    assert groups == {model: list(group) for model, group in by_model(rates).items()}


@pytest.mark.parametrize("provider", data_names("prices"))
def test_the_book_is_divided(provider: str) -> None:
    data = read_data(f"prices/{provider}")
    rates = divided(written(data)).get("rate", [])
    assert isinstance(rates, RateLines) or not data.get("rate")
    assert to_json(list(rates)) == to_json([{"model": rate["model"], **rate} for rate in data.get("rate", ())])


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(to_json({**HEAD, "rate": [{"model": "m", "input": Decimal("1.5")}]}), id="on one line"),
        pytest.param(json.dumps({**HEAD, "rate": [{"input": 1.5, "model": "m"}]}, indent=1), id="laid out"),
    ],
)
def test_a_file_without_a_line_for_each_rate_is_read_too(text: str) -> None:
    assert divided(text) == plain(text)


def test_what_is_no_json_is_an_error() -> None:
    with pytest.raises(ValueError, match="Expecting"):
        divided("{")
