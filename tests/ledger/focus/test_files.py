"""FOCUS files: CSV and Parquet hold the same exact values."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from tests.rigs.asker import UTC_ZONE
from tests.rigs.made_records import priced, record
from tokenmeter.ledger.focus.charges import FocusExport, export
from tokenmeter.ledger.focus.columns import VERSIONS, columns
from tokenmeter.ledger.focus.files import lines, to_parquet
from tokenmeter.ledger.report.query import Question
from tokenmeter.ledger.writer import Ledger


@pytest.fixture
def charges(tmp_path: Path) -> FocusExport:
    ledger = Ledger(tmp_path / "spend.db")
    ledger.write(record(priced("0.000000000000000000000000000012"), tags={"team": "=cmd()"}))
    ledger.write(record(priced("12345678.9", model="=1+1"), tags={}))
    ledger.close(30)
    return export(ledger.path, Question(by=(), zone=UTC_ZONE))


@pytest.mark.parametrize("version", VERSIONS)
def test_csv_is_exact_and_plain(version: str, charges: FocusExport) -> None:
    rows = list(csv.DictReader(io.StringIO("".join(lines(charges, version)))))
    assert list(rows[0]) == [column.name for column in columns(version)]
    assert sorted(row["BilledCost"] for row in rows) == ["0.000000000000000000000000000012", "12345678.9"]
    assert {row["ChargePeriodStart"] for row in rows} == {"2026-10-31T16:00:00Z"}
    assert {row["InvoiceId"] for row in rows} == {""}
    assert {row["x_Model"] for row in rows} == {"deepseek-chat", "'=1+1"}  # no formula for a spreadsheet


@pytest.mark.parametrize("version", VERSIONS)
def test_parquet_holds_the_same(version: str, charges: FocusExport, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    with (tmp_path / "focus.parquet").open("wb") as file:
        to_parquet(charges, version, file)
    read = parquet.read_table(tmp_path / "focus.parquet")
    assert read.schema.names == [column.name for column in columns(version)]
    assert read.schema.metadata[b"FocusVersion"] == version.encode()
    rows = read.to_pylist()
    assert [row["BilledCost"] for row in rows] == [row["BilledCost"] for row in charges.rows]
    assert rows[0]["ChargePeriodStart"] == datetime(2026, 10, 31, 16, tzinfo=UTC)
    assert all(isinstance(row["x_Calls"], Decimal) for row in rows)
