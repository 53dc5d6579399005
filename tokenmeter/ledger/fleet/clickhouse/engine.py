"""ClickHouse as an engine: the functions that `fleet.engine.Engine` describes."""

from __future__ import annotations

from tokenmeter.ledger.fleet.clickhouse.client import check_driver
from tokenmeter.ledger.fleet.clickhouse.dialect import charges, days, dialect_of, rows
from tokenmeter.ledger.fleet.clickhouse.snapshot import snapshot, spent
from tokenmeter.ledger.fleet.clickhouse.store import open_for_shipping

__all__ = ["charges", "check_driver", "days", "dialect_of", "open_for_shipping", "rows", "snapshot", "spent"]
