"""What `verify` finds in a sealed month, and what arrives late for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.rigs.made_records import NOON, priced, record
from tokenmeter.ledger.report.periods import Zone
from tokenmeter.ledger.report.query import Question, ask
from tokenmeter.ledger.sealed.manifest import SealedMonth
from tokenmeter.ledger.sealed.seal import close
from tokenmeter.ledger.sealed.verify import late_calls, verify_sealed
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


def test_a_sound_month_has_no_problems(sealed: SealedMonth) -> None:
    assert [one.problems for one in verify_sealed(str(sealed.folder))] == [()]


def edited(**changes: Any) -> Callable[[SealedMonth], None]:
    def edit(sealed: SealedMonth) -> None:
        sealed.manifest.write_text(json.dumps(json.loads(sealed.manifest.read_text()) | changes))

    return edit


def flipped(sealed: SealedMonth) -> None:
    data = bytearray(sealed.path.read_bytes())
    data[40] ^= 1
    sealed.path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (flipped, "the digest of the file"),
        (edited(sha256="0" * 64), "the digest of the file"),
        (edited(rows=9), "rows: the manifest says 9, the rows 8"),
        (edited(sums=[{"currency": "CNY", "list": "CNY", "calls": 8, "amount": "3.5"}]), "the rows CNY, CNY, 8, 3.6"),
        (edited(since="2026-11-02T00:00:00Z"), "calls that did not end in 2026-11 of UTC"),
    ],
)
def test_damage_is_named(sealed: SealedMonth, damage: Callable[[SealedMonth], None], problem: str) -> None:
    damage(sealed)
    (one,) = verify_sealed(str(sealed.path))
    assert any(problem in found for found in one.problems), one.problems


def test_what_arrives_later_is_late_and_changes_no_answer(sealed: SealedMonth) -> None:
    folder, question = sealed.folder.parent, Question(by=("model",), zone=UTC_ZONE)
    before = ask(str(sealed.folder), question)
    write(
        folder,
        record(priced("7.5"), id=f"{100:032x}"),
        record(priced("2.000000000000000000000001", "USD"), id=f"{101:032x}"),
        record(priced("9"), id=f"{102:032x}", ended=NOON.replace(month=12)),
    )
    (late,) = late_calls(str(folder / "spend.db"), str(sealed.folder))
    assert (late.calls, late.changed) == (2, 0)
    assert late.amounts == {"CNY": Decimal("7.5"), "USD": Decimal("2.000000000000000000000001")}
    after = ask(str(sealed.folder), question)
    assert (after.rows, after.totals) == (before.rows, before.totals)
    assert verify_sealed(str(sealed.folder))[0].problems == ()
