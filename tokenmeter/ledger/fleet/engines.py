"""The engine of a fleet's database by its URL."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenmeter.ledger.fleet.engine import Engine

__all__ = ["engine_of"]


def engine_of(url: str) -> Engine:
    """The engine of a database of a fleet; its driver is imported when it is used."""
    if url.startswith("clickhouse"):
        from tokenmeter.ledger.fleet.clickhouse import engine as clickhouse

        return clickhouse
    from tokenmeter.ledger.fleet.postgresql import engine as postgresql

    return postgresql
