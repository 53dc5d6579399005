"""The comparison's page: what counts as right, how growth is named, and instructions read from callgrind's files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.compare import report
from benchmarks.compare.__main__ import ROWS, Results, instructions
from benchmarks.compare.environments import run


@pytest.mark.parametrize(
    ("cost", "currency", "verdict"),
    [
        ("0.0029", "USD", "right"),
        (0.0029, None, "right, without a currency"),
        ("0.0029", "CNY", "**wrong** currency"),
        (0.0039, None, "**wrong**"),  # the cached tokens at the price of the others
        (0, None, "**wrong**"),
        (None, None, "none"),
    ],
)
def test_the_verdict_on_a_recorded_cost(cost: Any, currency: str | None, verdict: str) -> None:
    told = {"input": 1200, "cached": 800, "output": 90, "cost": cost, "currency": currency}
    (row,) = report._recorded({"langfuse": {"recorded": {"openai": told}}})
    assert (row[3], row[-1]) == ("right", verdict)


@pytest.mark.parametrize(
    ("points", "shape"),
    [
        ({0: 1.0, 10: 1.1, 50: 1.2}, "flat"),
        ({0: 1.0, 10: 2.0, 50: 6.0}, "linear or less"),
        ({0: 1.0, 10: 2.0, 50: 20.0}, "**more than linear**"),
        ({50: 1.0, 200: 4.0}, "not flat"),
    ],
)
def test_how_a_cost_grows(points: dict[int, float], shape: str) -> None:
    assert report._shape(points) == shape


def test_instructions_are_those_of_one_call_by_thread(tmp_path: Path) -> None:
    part = "desc: Trigger: Client Request: bare call*4\n\nsummary: {}\n"
    (tmp_path / "profile.1-01").write_text(part.format(400))
    (tmp_path / "profile.1-02").write_text(part.format(40))
    (tmp_path / "profile-01").write_text("desc: Trigger: Program termination\n\nsummary: 9\n")
    assert instructions(tmp_path) == {"bare call": {"caller": 100.0, "all": 110.0}}


def test_a_figure_that_was_not_measured_is_said_and_fails_nothing() -> None:
    told = {"instructions": {"bare call": {"caller": 1e6, "all": 1e6}}, "date": "2026-11-30", "commit": "x"}
    page = report.page({"tokenmeter": {**told, "versions": {}}, "langfuse": {**told, "skipped": "no such package"}})
    assert "not measured" in page
    assert "skipped: no such package" in page
    assert report.picture({}).startswith("<svg")


def test_growth_is_read_from_the_cases_that_were_measured() -> None:
    counted = {"bare call": 5e6, "call": 5.4e6, "10 tags": 5.4e6, "50 tags": 5.5e6, "bare 50 chunks": 4e7}
    told = {"instructions": {name: {"caller": each, "all": each} for name, each in counted.items()}}
    rows = {name: (points, shape) for name, points, shape in report._growth({"growth": told})}
    assert rows["tags"] == ("0: 0.4, 10: 0.4, 50: 0.5", "flat")
    assert rows["chunks of a stream"] == ("not measured", "")


def test_a_row_that_was_skipped_or_is_of_another_commit_is_missing(tmp_path: Path) -> None:
    results = Results(tmp_path)
    assert results.missing() == list(ROWS)
    for row in ROWS:
        results.keep(row, {"seconds": 1})
    assert results.missing() == []
    results.keep("langfuse", {"skipped": "no such package"})
    (tmp_path / "openlit.json").write_text('{"commit": "0000000", "date": "2026-11-30"}')
    assert results.missing() == ["langfuse", "openlit"]


@pytest.mark.parametrize(
    ("program", "seconds", "reason"),
    [
        pytest.param("raise SystemExit('no matching distribution')", 60, "no matching distribution", id="it fails"),
        pytest.param("import time; time.sleep(60)", 0.6, "took longer than 0 minutes", id="it takes too long"),
    ],
)
def test_why_a_process_gave_nothing_is_said(program: str, seconds: float, reason: str) -> None:
    with pytest.raises(RuntimeError, match=reason):
        run([sys.executable, "-c", program], seconds=seconds)
