"""Sealed months read back as a ledger."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.rigs.random_ledger import random_ledger
from tokenmeter.exchange import ExchangeRates
from tokenmeter.ledger.opening import open_calls
from tokenmeter.ledger.report.conversion import Conversion
from tokenmeter.ledger.report.periods import Zone
from tokenmeter.ledger.report.query import Question, ask
from tokenmeter.ledger.sealed.seal import close
from tokenmeter.ledger.tables import COLUMNS

pytest.importorskip("pyarrow")
SHANGHAI = Zone.named("Asia/Shanghai")
LATER = datetime(2027, 2, 1, tzinfo=UTC)


def test_every_column_of_the_view_comes_back_as_it_was(tmp_path: Path) -> None:
    path = random_ledger(tmp_path / "spend.db", 11, 300)
    for month in ("2026-09", "2026-10", "2026-11", "2026-12"):
        close(str(path), month, SHANGHAI, str(tmp_path / "months"), now=LATER)
    wide = ", ".join(COLUMNS)
    with closing(open_calls(str(path))) as one, closing(open_calls(str(tmp_path / "months"))) as other:
        query = f"SELECT {wide} FROM calls ORDER BY id"  # noqa: S608
        expected, found = one.execute(query).fetchall(), other.execute(query).fetchall()
    assert len(expected) == 300
    as_value = {COLUMNS.index(name) for name in ("tags", "scope")}  # JSON of other spacing
    for left, right in zip(expected, found, strict=True):
        for place, (old, new) in enumerate(zip(left, right, strict=True)):
            if place in as_value and old is not None:
                old, new = json.loads(old), json.loads(new)
            assert new == old, COLUMNS[place]


def test_a_loss_over_the_end_of_a_month_counts_once(tmp_path: Path) -> None:
    path = random_ledger(tmp_path / "spend.db", 11, 20)
    midnight = 1_793_462_400_000_000  # of 2026-11-01 in Shanghai, less eight hours
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO losses (first_us, last_us, calls, reason) VALUES (?, ?, 4, 'full')",
            (midnight - 10 * 3_600_000_000, midnight),
        )
    for month in ("2026-10", "2026-11"):
        sealed = close(str(path), month, SHANGHAI, str(tmp_path / "months"), now=LATER)
        assert [loss.calls for loss in sealed.losses] == [4]
    for without in (False, True):
        question = Question(by=(), zone=SHANGHAI, conversion=Conversion("CNY", ExchangeRates(())) if without else None)
        assert ask(str(tmp_path / "months"), question).lost == ask(str(path), question).lost == 4
