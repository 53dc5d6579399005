"""A month of calls in a ledger, and pages drawn of ledgers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.rigs import spend_story
from tests.rigs.page_tables import Page
from tokenmeter.ledger.page.document import page
from tokenmeter.ledger.page.figures import PageFigures, gather
from tokenmeter.ledger.page.words import Words
from tokenmeter.ledger.report.periods import Zone
from tokenmeter.ledger.report.question import Question
from tokenmeter.ledger.report.selection import snapshot
from tokenmeter.record import Record

NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)


def figures(path: str, tz: str = "Asia/Shanghai", keys: tuple[str, ...] | None = None, **asked: Any) -> PageFigures:
    limits, earlier = asked.pop("limits", None), asked.pop("earlier", None)
    with snapshot(path) as held:
        return gather(held, Question(by=(), zone=Zone.named(tz), **asked), keys, limits, earlier)


def text(path: str, language: str = "en", **asked: Any) -> str:
    return page(figures(path, **asked), Words(language), NOW)


@pytest.fixture(scope="session")
def month(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A ledger of 31 days with 60 calls on a usual day."""
    return spend_story.write(tmp_path_factory.mktemp("month") / "spend.db", spend_story.records(60))


@pytest.fixture(scope="session")
def month_page(month: str) -> Page:
    return Page(text(month))


@pytest.fixture
def ledger_of(tmp_path: Path) -> Callable[..., str]:
    """Put records into a new ledger; its path."""

    def put(*records: Record) -> str:
        return spend_story.write(tmp_path / f"spend-{len(list(tmp_path.iterdir()))}.db", iter(records))

    return put
