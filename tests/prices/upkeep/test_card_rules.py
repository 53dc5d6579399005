"""Prices of one card that contradict each other: each rule, what it lets pass, and the written exception."""

from __future__ import annotations

import tomllib
from datetime import date
from decimal import Decimal

import pytest

from tokenmeter.prices.price_file import PriceFile
from tokenmeter.prices.upkeep.audit import audit
from tokenmeter.prices.upkeep.check import check_data

CARD = (
    'provider = "acme"\ncurrency = "CNY"\ntimezone = "Asia/Shanghai"\n'
    '[[rate]]\nmodel = "m"\neffective = 2026-01-01\ninput = 2\noutput = 10\n'
)
EXCEPTION = '[[exception]]\nmodels = ["m"]\nrule = "discount-share"\nreason = "the list says so"\nsource = "a page"\n'


def case(when: str, prices: str) -> str:
    return f"[[rate.case]]\nwhen = {{ {when} }}\n{prices}\n"


def problems(text: str, below: PriceFile | None = None) -> list[str]:
    data = tomllib.loads(text, parse_float=Decimal)
    assert check_data(data, "acme.toml", below=below.head if below else None) == []
    found = audit(PriceFile(data, below), date(2026, 11, 30))
    return [finding.kind for finding in found if finding.severity == "problem"]


LONG = 'input_tokens = "> 200000"'
BATCH, FLEX, PRIORITY = "batch = true", 'service_tier = "flex"', 'service_tier = "priority"'
QUARTER = case(BATCH, "input = 0.5\noutput = 2.5")


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        pytest.param(case(LONG, "input = 1"), "longer-cheaper", id="a longer call is cheaper"),
        pytest.param(case(LONG, "input = 4\noutput = 15"), None, id="a longer call is dearer"),
        pytest.param(case(PRIORITY, "output = 9"), "priority-below-list", id="priority is cheaper"),
        pytest.param(case(PRIORITY, "output = 17.5"), None, id="priority is dearer"),
        pytest.param(QUARTER, "discount-share", id="batch at a quarter"),
        pytest.param(case(FLEX, "input = 1.9\noutput = 9.5"), "discount-share", id="flex at 95%"),
        pytest.param(case(BATCH, "input = 1\noutput = 7"), "discount-uneven", id="batch is uneven"),
        pytest.param(case(BATCH, "input = 1\noutput = 5"), None, id="batch at half"),
        pytest.param(case(f"{BATCH}, {LONG}", "input = 0.1"), None, id="two conditions are another base"),
        pytest.param("cache_read = 3", "cache-read-above-input", id="reading is dearer than input"),
        pytest.param("cache_write_5m = 1", "cache-write-share", id="writing is cheaper than input"),
        pytest.param("cache_write_5m = 2.5\ncache_write_1h = 4", None, id="writing at 1.25 and 2"),
    ],
)
def test_a_card_that_breaks_a_rule_is_a_problem(text: str, rule: str | None) -> None:
    assert problems(CARD + text) == ([rule] if rule else [])


def test_a_written_exception_lets_one_rule_pass_for_its_models() -> None:
    assert problems(CARD + QUARTER + EXCEPTION) == []
    assert problems(CARD + QUARTER + EXCEPTION.replace('"m"', '"other"')) == ["discount-share"]


def test_an_overlay_inherits_the_exceptions_of_the_file_below() -> None:
    below = PriceFile(tomllib.loads(CARD + EXCEPTION, parse_float=Decimal))
    own = EXCEPTION.replace('"m"', '"other"')
    assert problems(CARD + QUARTER + own, below) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"discount-share"', '"no-such"', "'no-such' is not a rule of a card"),
        ('reason = "the list says so"\n', "", "reason is missing"),
        ('source = "a page"\n', "", "source is missing"),
    ],
)
def test_an_exception_says_which_rule_why_and_where(old: str, new: str, message: str) -> None:
    data = tomllib.loads(CARD + EXCEPTION.replace(old, new), parse_float=Decimal)
    assert any(message in problem for problem in check_data(data, "acme.toml"))
