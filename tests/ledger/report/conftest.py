"""A ledger that holds what a test gives it, and answers questions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.rigs.asker import Asker
from tokenmeter.ledger.report.periods import Zone
from tokenmeter.ledger.report.query import LedgerReport, Question, ask
from tokenmeter.ledger.writer import Ledger
from tokenmeter.record import Record


@pytest.fixture
def held(tmp_path: Path) -> Callable[..., Asker]:
    """Put records into a ledger; the answer asks questions of it."""

    def put(*records: Record) -> Asker:
        path = tmp_path / "spend.db"
        ledger = Ledger(path)
        for one in records:
            ledger.write(one)
        ledger.close(30)

        def asker(*by: str, tz: str = "UTC", **asked: Any) -> LedgerReport:
            return ask(str(path), Question(by=by, zone=Zone.named(tz), **asked))

        return asker

    return put
