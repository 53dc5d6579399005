"""ClickHouse as an engine: the functions that `fleet.engine.Engine` describes."""

from __future__ import annotations

from tokenmeter.ledger.fleet.clickhouse.client import check_driver
from tokenmeter.ledger.fleet.clickhouse.copies import copies
from tokenmeter.ledger.fleet.clickhouse.dialect import charges, days, dialect_of, rows
from tokenmeter.ledger.fleet.clickhouse.snapshot import snapshot, spent
from tokenmeter.ledger.fleet.clickhouse.store import open_for_shipping
from tokenmeter.ledger.fleet.clickhouse.upkeep import forget_tag, information, wrong_days

__all__ = [
    "charges", "check_driver", "copies", "days", "dialect_of", "forget_tag", "information", "open_for_shipping", "rows",
    "snapshot", "spent", "wrong_days",
]  # fmt: skip
