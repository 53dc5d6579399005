"""Order and number of rows."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.rigs.asker import Asker
from tests.rigs.made_records import priced, record, unpriced
from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger.report.order import ordered
from tokenmeter.ledger.report.query import LedgerReport
from tokenmeter.ledger.report.stats import parse_stats


@pytest.fixture
def report(held: Callable[..., Asker]) -> LedgerReport:
    asked = held(
        *(record(priced("1"), tags={"team": "a"}) for _ in range(3)),
        record(priced("5"), tags={"team": "b"}),
        record(priced("2"), tags={"team": "c"}),
        record(priced("4", "USD"), tags={"team": "d"}),
        record(priced("9", "USD"), tags={"team": "e"}),
        record(unpriced(), tags={}),
    )
    return asked("team", stats=parse_stats("max"))


@pytest.mark.parametrize(
    ("sort", "top", "teams", "left_out"),
    [
        (None, None, ["b", "a", "c", "e", "d", None], 0),
        ("cost", None, ["b", "a", "c", "e", "d", None], 0),
        ("cost:asc", None, ["c", "a", "b", "d", "e", None], 0),
        ("calls", None, ["a", "b", "c", "e", "d", None], 0),
        ("cost_max", 2, ["b", "c", "e", "d", None], 1),
        ("team", None, ["a", "b", "c", "d", "e", None], 0),
        ("team:desc", None, ["e", "d", "c", "b", "a", None], 0),
        (None, 1, ["b", "e", None], 3),
    ],
)
def test_rows_in_order(
    sort: str | None, top: int | None, teams: list[str | None], left_out: int, report: LedgerReport
) -> None:
    found = ordered(report, sort, top)
    assert [row.group[0] for row in found.rows] == teams
    assert found.left_out == left_out
    assert found.totals == report.totals


@pytest.mark.parametrize("sort", ["money", "cost:up", "cost_p95"])
def test_another_order_is_refused(sort: str, report: LedgerReport) -> None:
    with pytest.raises(ConfigurationError, match="--sort: "):
        ordered(report, sort, None)
