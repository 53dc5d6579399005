"""PostgreSQL as an engine: the functions that `fleet.engine.Engine` describes."""

from __future__ import annotations

from tokenmeter.ledger.fleet.postgresql.dialect import charges, days, dialect_of, rows
from tokenmeter.ledger.fleet.postgresql.schema import check_driver
from tokenmeter.ledger.fleet.postgresql.snapshot import snapshot, spent
from tokenmeter.ledger.fleet.postgresql.store import open_for_shipping

__all__ = ["charges", "check_driver", "days", "dialect_of", "open_for_shipping", "rows", "snapshot", "spent"]
