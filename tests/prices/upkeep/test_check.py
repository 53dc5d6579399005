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
        pytest.param(HEAD.replace('timezone = "Asia/Shanghai"\n', "") + RATE, '"timezone" is missing', id="no zone"),
        pytest.param(HEAD.replace("Asia/Shanghai", "Asia/Beijing") + RATE, "is not a time zone", id="no such zone"),
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
