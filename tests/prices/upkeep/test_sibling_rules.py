"""Names of one model held against each other: what is a slip, what is an old snapshot, and the written exception."""

from __future__ import annotations

import tomllib
from datetime import date
from decimal import Decimal

import pytest

from tokenmeter.prices.price_file import PriceFile
from tokenmeter.prices.upkeep.audit import audit
from tokenmeter.prices.upkeep.check import check_data

HEAD = 'provider = "acme"\ncurrency = "USD"\ntimezone = "UTC"\nread = 2026-11-30\n'


def rate(model: str, price: str, observed: str = "[2026-06-01, 2026-11-30]") -> str:
    return f'[[rate]]\nmodel = "{model}"\nobserved = {observed}\ninput = {price}\noutput = {price}\n'


def problems(text: str) -> list[str]:
    data = tomllib.loads(HEAD + text, parse_float=Decimal)
    assert check_data(data, "acme.toml") == []
    return [f.kind for f in audit(PriceFile(data), date(2026, 11, 30)) if f.severity == "problem"]


ALIAS = '[[alias]]\nmodel = "m-2026-05-01"\nof = "m"\nuntil = 2026-06-01\n'
OLD, GONE = "[2024-06-01, 2026-11-30]", "[2024-06-01, 2025-01-01]"


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        pytest.param(rate("m", "1") + rate("m-latest", "1"), [], id="equal"),
        pytest.param(rate("m-2026-05-01", "1") + rate("m-latest", "2"), ["alias-snapshot"], id="latest is apart"),
        pytest.param(rate("m-2026-05-01", "1") + rate("m", "2"), [], id="nothing calls the two the same"),
        pytest.param(ALIAS + rate("m-2026-05-01", "1") + rate("m", "2"), ["alias-snapshot"], id="an alias joins them"),
        pytest.param(rate("m-2026-05-01", "1") + rate("m-2026-06-01", "11"), ["sibling-by-ten"], id="a slip by ten"),
        pytest.param(rate("m-2026-05-01", "1") + rate("m-2026-06-01", "9"), [], id="less than ten times"),
        pytest.param(rate("m-0613", "30", OLD) + rate("m-2026-06-01", "1"), [], id="a snapshot of other days"),
        pytest.param(rate("m-latest", "2") + rate("m-0613", "1", GONE), [], id="a snapshot not seen for long"),
        pytest.param(rate("n-2026-05-01", "1") + rate("m-latest", "2"), [], id="two models"),
    ],
)
def test_names_of_one_model_agree(text: str, rules: list[str]) -> None:
    assert problems(text) == rules


def test_a_written_exception_lets_one_pass() -> None:
    text = rate("m-2026-05-01", "1") + rate("m-latest", "2")
    why = '[[exception]]\nmodels = ["m-latest"]\nrule = "alias-snapshot"\nreason = "it moved"\nsource = "a page"\n'
    assert problems(text + why) == []
