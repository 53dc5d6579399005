"""What a seal holds, and what it refuses."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from tests.rigs.ledger_rows import rows
from tests.rigs.made_records import priced, record, unpriced
from tests.rigs.random_ledger import random_ledger
from tests.rigs.wide_ledger import made_wide
from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger.report.periods import Zone
from tokenmeter.ledger.schema import LedgerError
from tokenmeter.ledger.sealed.manifest import SealedMonth
from tokenmeter.ledger.sealed.seal import close
from tokenmeter.ledger.writer import Ledger
from tokenmeter.money import EXACT, plain
from tokenmeter.record import Record

pa = pytest.importorskip("pyarrow")
SHANGHAI = Zone.named("Asia/Shanghai")
LATER = datetime(2027, 2, 1, tzinfo=UTC)


def ledger_of(path: Path, *records: Record) -> str:
    ledger = Ledger(path)
    for one in records:
        ledger.write(one)
    ledger.close(30)
    return str(path)


def test_a_month_is_a_month_of_the_zone(tmp_path: Path) -> None:
    edges = [
        datetime(2026, 10, 31, 15, 59, 59, 999_999, UTC),
        datetime(2026, 10, 31, 16, tzinfo=UTC),
        datetime(2026, 11, 30, 15, 59, 59, 999_999, UTC),
        datetime(2026, 11, 30, 16, tzinfo=UTC),
    ]
    path = ledger_of(
        tmp_path / "spend.db", *(record(priced("1"), ended=at, id=f"{n:032x}") for n, at in enumerate(edges))
    )
    sealed = close(path, "2026-11", SHANGHAI, str(tmp_path), now=LATER)
    assert (sealed.rows, sealed.first, sealed.last) == (2, edges[1], edges[2])
    table = pa.parquet.read_table(sealed.path)
    assert table.column("id").to_pylist() == [f"{1:032x}", f"{2:032x}"]


def test_the_manifest_has_the_sums_the_losses_and_the_digest(tmp_path: Path) -> None:
    fine = "0.00000000000000000000000000001"
    path = ledger_of(
        tmp_path / "spend.db",
        record(priced("0.25", "CNY"), tags={"team": "ads"}),
        record(priced(fine, "CNY")),
        record(priced("123456789012345678901234567890.5", "CNY")),
        record(priced("3", "USD")),
        record(unpriced()),
        record(priced("9"), end="delegated"),
    )
    with closing(sqlite3.connect(path)) as connection, connection:
        at = 1_793_000_000_000_000
        connection.execute(
            "INSERT INTO losses (first_us, last_us, calls, reason) VALUES (?, ?, 4, 'full')", (at, at + 1)
        )
        connection.execute("INSERT INTO losses (first_us, last_us, calls, reason) VALUES (1, 2, 9, 'long ago')")
    sealed = close(path, "2026-11", Zone.named("UTC"), str(tmp_path), now=LATER)
    data = json.loads((tmp_path / "calls-2026-11.json").read_text())
    cny = plain(EXACT.add(EXACT.add(Decimal("0.25"), Decimal(fine)), Decimal("123456789012345678901234567890.5")))
    assert data["sums"] == [
        {"currency": "CNY", "list": "CNY", "calls": 3, "amount": cny},
        {"currency": "USD", "list": "USD", "calls": 1, "amount": "3"},
    ]
    assert (data["rows"], data["delegated"], data["unpriced"], data["inexact"]) == (6, 1, 1, 2)
    assert [loss["calls"] for loss in data["losses"]] == []  # 2026-10-26, not of November
    assert (data["tags"], data["book"], data["zone"]) == (["team"], ["test-book"], "UTC")
    assert SealedMonth.read(sealed.manifest) == sealed
    assert sealed.path.stat().st_mode & 0o777 == sealed.manifest.stat().st_mode & 0o777 == 0o600
    october = close(path, "2026-10", Zone.named("UTC"), str(tmp_path), now=LATER)
    assert [(loss.calls, loss.reason) for loss in october.losses] == [(4, "full")]
    amounts = pa.parquet.read_table(sealed.path, columns=["amount", "amount_text"]).to_pylist()
    assert {"amount": Decimal("0E-12"), "amount_text": fine} in amounts
    assert {"amount": None, "amount_text": "123456789012345678901234567890.5"} in amounts


def test_a_file_of_the_first_schema_is_sealed_alike(tmp_path: Path) -> None:
    path = random_ledger(tmp_path / "spend.db", 3, 100)
    made_wide(path, tmp_path / "old.db")
    new, old = (
        close(str(one), "2026-10", SHANGHAI, str(tmp_path / one.stem), now=LATER) for one in (path, tmp_path / "old.db")
    )
    assert (old.rows, old.sums, old.tags) == (new.rows, new.sums, new.tags)


def test_an_unfinished_month_is_refused_unless_asked_for(tmp_path: Path) -> None:
    path = ledger_of(tmp_path / "spend.db", record(priced("1")))
    now = datetime(2026, 11, 30, 15, 59, tzinfo=UTC)
    with pytest.raises(ConfigurationError, match="2026-11 is not over in Asia/Shanghai"):
        close(path, "2026-11", SHANGHAI, str(tmp_path), now=now)
    assert not close(path, "2026-11", SHANGHAI, str(tmp_path), now=now, unfinished=True).finished


def test_a_sealed_month_is_never_overwritten(tmp_path: Path) -> None:
    path = ledger_of(tmp_path / "spend.db", record(priced("1")))
    sealed = close(path, "2026-11", SHANGHAI, str(tmp_path / "months"), now=LATER)
    before = sealed.path.read_bytes()
    with pytest.raises(ConfigurationError, match="never overwritten"):
        close(path, "2026-11", SHANGHAI, str(tmp_path / "months"), now=LATER)
    sealed.path.unlink()
    with pytest.raises(ConfigurationError, match=r"calls-2026-11\.json is there already"):
        close(path, "2026-11", SHANGHAI, str(tmp_path / "months"), now=LATER)
    assert before[:4] == b"PAR1"
    assert [one.name for one in (tmp_path / "months").iterdir()] == ["calls-2026-11.json"]


@pytest.mark.parametrize("month", ["2026-13", "2026-1", "November", "2026-11-01", ""])
def test_what_is_no_month_is_refused(tmp_path: Path, month: str) -> None:
    with pytest.raises(ConfigurationError, match="is not a month: write 2026-11"):
        close(str(tmp_path / "spend.db"), month, SHANGHAI, str(tmp_path), now=LATER)


def test_a_folder_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    path = ledger_of(tmp_path / "spend.db", record(priced("1")))
    (tmp_path / "months").write_text("a file")
    with pytest.raises(LedgerError, match="months"):
        close(path, "2026-11", SHANGHAI, str(tmp_path / "months"), now=LATER)


def test_a_month_without_calls_is_sealed_as_such(tmp_path: Path) -> None:
    path = ledger_of(tmp_path / "spend.db", record(priced("1")))
    sealed = close(path, "2026-07", SHANGHAI, str(tmp_path), now=LATER)
    assert (sealed.rows, sealed.sums, sealed.first) == (0, (), None)
    assert len(rows(tmp_path / "spend.db")) == 1
