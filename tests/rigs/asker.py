"""Questions to a ledger of made records."""

from __future__ import annotations

from collections.abc import Callable

from tokenmeter.ledger.report.periods import Zone
from tokenmeter.ledger.report.query import LedgerReport

UTC_ZONE = Zone.named("UTC")

Asker = Callable[..., LedgerReport]
