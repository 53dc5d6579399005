"""Which sealed months are read, and which are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.rigs.made_records import priced, record
from tokenmeter.ledger.report.periods import Zone
from tokenmeter.ledger.report.query import Question, ask
from tokenmeter.ledger.schema import LedgerError
from tokenmeter.ledger.sealed.manifest import SealedMonth, sealed_months
from tokenmeter.ledger.sealed.seal import close
from tokenmeter.ledger.writer import Ledger

pytest.importorskip("pyarrow")
UTC_ZONE = Zone.named("UTC")
LATER = datetime(2027, 2, 1, tzinfo=UTC)


@pytest.fixture
def sealed(tmp_path: Path) -> SealedMonth:
    write(tmp_path, *(record(priced(f"0.{number}"), id=f"{number:032x}") for number in range(1, 9)))
    return close(str(tmp_path / "spend.db"), "2026-11", UTC_ZONE, str(tmp_path / "months"), now=LATER)


def write(folder: Path, *records: Any) -> None:
    ledger = Ledger(folder / "spend.db")
    for one in records:
        ledger.write(one)
    ledger.close(30)


def edited(**changes: Any) -> Callable[[SealedMonth], None]:
    def edit(sealed: SealedMonth) -> None:
        sealed.manifest.write_text(json.dumps(json.loads(sealed.manifest.read_text()) | changes))

    return edit


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda sealed: sealed.path.unlink(), "is missing: restore it"),
        (lambda sealed: sealed.path.write_bytes(b"PAR1"), "has 4 bytes instead of"),
        (lambda sealed: sealed.manifest.write_text("{"), "is damaged"),
        (lambda sealed: sealed.manifest.write_text("{}"), "is not the manifest of a sealed month"),
        (edited(format=2), "written by a newer tokenmeter"),
    ],
)
def test_a_month_that_cannot_be_trusted_is_not_read(
    sealed: SealedMonth, damage: Callable[[SealedMonth], Any], message: str
) -> None:
    damage(sealed)
    with pytest.raises(LedgerError, match=message):
        ask(str(sealed.folder), Question(by=(), zone=UTC_ZONE))


def test_a_file_that_is_no_parquet_is_named(sealed: SealedMonth) -> None:
    sealed.path.write_bytes(b"x" * sealed.size)
    with pytest.raises(LedgerError, match="cannot be read: restore it from a copy"):
        ask(str(sealed.folder), Question(by=(), zone=UTC_ZONE))


def test_months_of_two_zones_that_overlap_are_not_added_up(sealed: SealedMonth) -> None:
    ledger = sealed.folder.parent / "spend.db"
    close(str(ledger), "2026-12", Zone.named("Asia/Shanghai"), str(sealed.folder), now=LATER)
    with pytest.raises(LedgerError, match="overlap"):
        sealed_months(str(sealed.folder))
