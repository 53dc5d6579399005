"""Opens the calls of a ledger, or of sealed months, for reading."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenmeter.ledger.schema import open_for_reading
from tokenmeter.ledger.sealed.in_sqlite import open_sealed
from tokenmeter.ledger.sealed.manifest import is_sealed

if TYPE_CHECKING:
    import sqlite3

__all__ = ["open_calls"]


def open_calls(path: str) -> sqlite3.Connection:
    """A connection with the view `calls` and the table `losses`, of a ledger's file or of a copy of sealed months.

    Raises LedgerError naming the remedy where it cannot be read.
    """
    return open_sealed(path) if is_sealed(path) else open_for_reading(path)
