"""A broken price file is told in full, at once: file, entry, key and remedy."""

from __future__ import annotations

import tomllib
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tokenmeter.errors import CatalogError
from tokenmeter.prices.book import Book
from tokenmeter.prices.upkeep.check import check_data

HEAD = 'provider = "acme"\ncurrency = "CNY"\ntimezone = "Asia/Shanghai"\n'
RATE = '[[rate]]\nmodel = "m"\neffective = 2026-01-01\ninput = 1\noutput = 2\n'


def read(text: str) -> dict[str, Any]:
    return tomllib.loads(text, parse_float=Decimal)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param(
            HEAD + RATE + "ouput = 3\n",
            'rate 1 (m): "ouput" is not a component or key (did you mean "output"?)',
            id="a typo",
        ),
        pytest.param(HEAD + RATE.replace("input = 1", "input = -1"), "input: -1 is negative", id="negative"),
        pytest.param(
            HEAD + RATE.replace("input = 1", 'input = "1"'),
            "input: '1' is a string: write a bare number",
            id="a string",
        ),
        pytest.param(HEAD + RATE.replace("input = 1", "input = nan"), "is not a finite number", id="not a number"),
        pytest.param(HEAD + RATE.replace("input = 1", "input = true"), "input: True is not a number", id="a boolean"),
        pytest.param(HEAD.replace('timezone = "Asia/Shanghai"\n', "") + RATE, '"timezone" is missing', id="no zone"),
        pytest.param(HEAD.replace("Asia/Shanghai", "Asia/Beijing") + RATE, "is not a time zone", id="no such zone"),
        pytest.param(
            HEAD + RATE.replace("2026-01-01", "2026-01-01T00:00:00"), "has no offset", id="an instant without offset"
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
        pytest.param(
            HEAD + RATE + 'stand_in = { cache_wrote = "input" }\n', 'did you mean "cache_write"', id="stand-in"
        ),
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
        pytest.param(HEAD + RATE + "currency = 5\n", "currency: 5 must be a string", id="currency"),
        pytest.param(
            HEAD + RATE.replace("2026-01-01", "true"), "effective: True must be a string or a day", id="no day at all"
        ),
        pytest.param(HEAD + '[windows.w]\nhours = ["9-12"]\n' + RATE, "is not a span of hours", id="hours"),
        pytest.param(HEAD + '[windows.w]\ndays = "mon-fry"\n' + RATE, "is not a span of days", id="days"),
        pytest.param(HEAD + '[windows.w]\ncalendar = "mars"\n' + RATE, "there is no 'mars'", id="calendar"),
        pytest.param(HEAD + '[[form]]\nname = "x"\n' + RATE, "it needs {model} once", id="form"),
        pytest.param(HEAD + '[[alias]]\nmodel = "a"\nof = "a"\n' + RATE, "it names itself", id="alias"),
    ],
)
def test_a_problem_names_place_and_remedy(text: str, problem: str) -> None:
    found = check_data(read(text), "acme.toml")

    assert any(problem in line for line in found), found
    assert all(line.startswith("acme.toml: ") for line in found)


def test_a_float_is_refused() -> None:
    found = check_data({**read(HEAD), "rate": [{"model": "m", "effective": date(2026, 1, 1), "input": 0.1}]}, "acme")

    assert found == ["acme: rate 1 (m): input: 0.1 is a float: write a bare number"]


def test_all_problems_of_all_files_come_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(HEAD + RATE + "ouput = 3\ninptu = 3\n", encoding="utf-8")
    (tmp_path / "b.toml").write_text("provider = [", encoding="utf-8")
    (tmp_path / "c.toml").write_bytes(b"provider = '\xff'")

    with pytest.raises(CatalogError) as raised:
        Book.of(tmp_path)

    places = [line.rpartition("/")[2].partition(":")[0] for line in raised.value.problems]
    assert sorted(places) == ["a.toml", "a.toml", "b.toml", "c.toml"]
