"""Rates of a price file: each problem of keys, dates, prices and cases is one line with its remedy."""

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
        pytest.param(
            HEAD + RATE + "ouput = 3\n",
            'rate 1 (m): "ouput" is not a component or key (did you mean "output"?)',
            id="a typo",
        ),
        pytest.param(
            HEAD + RATE.replace("effective = 2026-01-01", "observed = [2026-02-01, 2026-01-01]"),
            "is after",
            id="days reversed",
        ),
        pytest.param(HEAD + RATE.replace("effective = 2026-01-01\n", ""), "no date", id="no date"),
        pytest.param(HEAD + RATE.replace("input = 1\noutput = 2\n", ""), "no price", id="no price"),
        pytest.param(
            HEAD + RATE.replace("input = 1\noutput = 2", "input = 0\noutput = 0"),
            "write free = true",
            id="a placeholder must not pass as free",
        ),
        pytest.param(HEAD + RATE + "free = true\n", "free = true beside", id="free and not free"),
        pytest.param(
            HEAD + RATE + "promotion = true\n", "a promotion needs until or review_by", id="a promotion without end"
        ),
        pytest.param(HEAD + RATE + 'confidence = "sure"\n', "'sure' is none of", id="confidence"),
        pytest.param(HEAD + RATE + "until = 2025-12-01\n", "until is not after effective", id="ends before it begins"),
        pytest.param(HEAD + RATE + "per = { input = 3 }\n", "not a finite decimal", id="a price per three"),
        pytest.param(
            HEAD + RATE + "[[rate.case]]\nwhen = { input_tokens = 128000 }\ninput = 2\n",
            "is not a range",
            id="a range without operator",
        ),
        pytest.param(
            HEAD + RATE + '[[rate.case]]\nwhen = { input_tokens = "> 5, < 3" }\ninput = 2\n',
            "nothing lies in",
            id="an empty range",
        ),
        pytest.param(
            HEAD + RATE + '[[rate.case]]\nwhen = { input_token = "> 5" }\ninput = 2\n',
            'did you mean "input_tokens"',
            id="no such condition",
        ),
        pytest.param(
            HEAD + RATE + '[[rate.case]]\nwhen = { thinking = "yes" }\ninput = 2\n',
            "must be true or false",
            id="a yes-no",
        ),
        pytest.param(
            HEAD + RATE + '[[rate.case]]\nwhen = { window = "peak" }\ninput = 2\n',
            "there is no [windows.peak]",
            id="no such window",
        ),
        pytest.param(HEAD + RATE + "[[rate.case]]\nwhen = { batch = true }\n", "it changes nothing", id="an idle case"),
        pytest.param(
            HEAD + RATE + "[[rate.case]]\nwhen = { batch = true }\nmultiply = { ouput = 2 }\n",
            'did you mean "output"',
            id="multiplies nothing",
        ),
        pytest.param(
            HEAD + RATE + "[rate.case]\nwhen = { batch = true }\ninput = 2\n",
            "with two brackets",
            id="one bracket short",
        ),
    ],
)
def test_a_problem_names_place_and_remedy(text: str, problem: str) -> None:
    found = check_data(tomllib.loads(text, parse_float=Decimal), "acme.toml")

    assert len(found) == 1
    assert problem in found[0]
    assert found[0].startswith("acme.toml: rate 1 (m): ")
