"""What is asked of a ledger: keys, period, conditions and statistics."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from tokenmeter.ledger.report.conversion import Conversion
from tokenmeter.ledger.report.periods import Zone
from tokenmeter.ledger.report.stats import Stat
from tokenmeter.ledger.report.where import CallFilter

__all__ = ["Question"]


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked of a ledger. `by` holds keys of `KEYS`, tag names, or `tag:NAME` for a tag named like a key.

    `since` is included, `until` is not; `providers` and `models` are alternatives, `tags` must all hold.
    """

    by: tuple[str, ...]
    zone: Zone
    since: datetime | None = None
    until: datetime | None = None
    providers: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    where: CallFilter | None = None
    stats: tuple[Stat, ...] = ()
    conversion: Conversion | None = None
