"""Shapes, days, numbers and names in a price file: a wrong one is one line with its remedy."""

from __future__ import annotations

import tomllib
from decimal import Decimal

import pytest

from tokenmeter.prices.upkeep.check import check_data

HEAD = 'provider = "acme"\ncurrency = "CNY"\ntimezone = "Asia/Shanghai"\n'
RATE = '[[rate]]\nmodel = "m"\neffective = 2026-01-01\ninput = 1\noutput = 2\n'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param(HEAD + RATE.replace("input = 1", "input = -1"), "input: -1 is negative", id="negative"),
        pytest.param(
            HEAD + RATE.replace("input = 1", 'input = "1"'),
            "input: '1' is a string: write a bare number",
            id="a string",
        ),
        pytest.param(HEAD + RATE.replace("input = 1", "input = nan"), "is not a finite number", id="not a number"),
        pytest.param(HEAD + RATE.replace("input = 1", "input = true"), "input: True is not a number", id="a boolean"),
        pytest.param(
            HEAD + RATE.replace("2026-01-01", "2026-01-01T00:00:00"), "has no offset", id="an instant without offset"
        ),
        pytest.param(
            HEAD + RATE + 'stand_in = { cache_wrote = "input" }\n', 'did you mean "cache_write"', id="stand-in"
        ),
        pytest.param(HEAD + RATE + "currency = 5\n", "currency: 5 must be a string", id="currency"),
        pytest.param(HEAD + RATE + "until = true\n", "until: True must be a string or a day", id="no day at all"),
        pytest.param(
            HEAD.replace("CNY", 'CNY"\nk = [1000]\nnote = "') + RATE, "k: [1000] must be the two sizes", id="K"
        ),
        pytest.param(HEAD + RATE + 'review_by = "soon"\n', "review_by: 'soon' is not a day", id="no day"),
    ],
)
def test_a_problem_names_place_and_remedy(text: str, problem: str) -> None:
    found = check_data(tomllib.loads(text, parse_float=Decimal), "acme.toml")

    assert len(found) == 1
    assert problem in found[0]
    assert found[0].startswith("acme.toml: ")
