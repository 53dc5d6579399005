"""The comparison's page: what counts as right, how growth is named, and instructions read from callgrind's files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.compare import report
from benchmarks.compare.__main__ import instructions


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
