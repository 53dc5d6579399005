"""A report as CSV and Parquet: the same exact values."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from tests.rigs.asker import Asker
from tests.rigs.made_records import priced, record, unpriced
from tokenmeter.ledger.report.compare import compare
from tokenmeter.ledger.report.flat import flat, to_parquet
from tokenmeter.ledger.report.query import LedgerReport
from tokenmeter.ledger.report.render import as_csv
from tokenmeter.ledger.report.stats import parse_stats
from tokenmeter.money import plain


@pytest.fixture
def report(held: Callable[..., Asker]) -> LedgerReport:
    asked = held(
        record(priced("0.000000000000000000000000000012"), tags={"team": "a"}),
        record(priced("123456789.5"), tags={"team": "b"}),
        record(unpriced(), tags={"team": "b"}),
    )
    stats = parse_stats("p50,p95:duration,max:output_tokens")
    october = datetime(2026, 10, 1, tzinfo=UTC)
    return compare(asked("team", stats=stats), october, datetime(2026, 10, 2, tzinfo=UTC))


def test_csv_and_parquet_say_the_same(report: LedgerReport, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    with (tmp_path / "report.parquet").open("wb") as file:
        to_parquet(report, file)
    rows = parquet.read_table(tmp_path / "report.parquet").to_pylist()
    texts = {
        name: [
            "" if row[name] is None
            else {True: "yes", False: "no"}[row[name]] if isinstance(row[name], bool)
            else plain(row[name]) if isinstance(row[name], Decimal) else str(row[name])
            for row in rows
        ]
        for name in rows[0]
    }  # fmt: skip
    read = list(csv.DictReader(io.StringIO(as_csv(report))))
    assert texts == {name: [row[name] for row in read] for name in read[0]}
    assert texts["cost"] == ["123456789.5", "0.000000000000000000000000000012", ""]
    assert texts["change"] == texts["cost_p50"] == texts["cost"]
    assert texts["duration_p95"] == ["1.0"] * 3


def test_every_row_has_every_column(report: LedgerReport) -> None:
    columns, rows = flat(report)
    assert {len(row) for row in rows} == {len(columns)}
    assert len({name for name, _ in columns}) == len(columns)
