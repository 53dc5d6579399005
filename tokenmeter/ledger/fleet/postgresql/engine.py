"""PostgreSQL as an engine: the functions that `fleet.engine.Engine` describes."""

from __future__ import annotations

from tokenmeter.ledger.fleet.postgresql.copies import copies
from tokenmeter.ledger.fleet.postgresql.dialect import charges, days, dialect_of, rows
from tokenmeter.ledger.fleet.postgresql.schema import check_driver
from tokenmeter.ledger.fleet.postgresql.snapshot import snapshot, spent
from tokenmeter.ledger.fleet.postgresql.store import open_for_shipping
from tokenmeter.ledger.fleet.postgresql.upkeep import forget_tag, information, wrong_days

__all__ = [
    "charges", "check_driver", "copies", "days", "dialect_of", "forget_tag", "information", "open_for_shipping", "rows",
    "snapshot", "spent", "wrong_days",
]  # fmt: skip
