"""Opens the calls of a ledger for reading: of a file, of sealed months, of a fleet's database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenmeter.ledger.fleet.database import is_url, shown
from tokenmeter.ledger.schema import open_for_reading
from tokenmeter.ledger.sealed.in_sqlite import open_sealed
from tokenmeter.ledger.sealed.manifest import is_sealed

if TYPE_CHECKING:
    import sqlite3

__all__ = ["named", "open_calls"]


def open_calls(path: str, since_us: int | None = None, until_us: int | None = None) -> sqlite3.Connection:
    """A connection with the view `calls` and the table `losses`, of a ledger's file, or of a temporary copy of sealed
    months or of the database at a URL.

    Of a database only the calls that ended from `since_us` on and before `until_us` are copied. Raises LedgerError
    naming the remedy where it cannot be read.
    """
    if is_url(path):
        from tokenmeter.ledger.fleet.copied import open_copy

        return open_copy(path, since_us, until_us)
    return open_sealed(path) if is_sealed(path) else open_for_reading(path)


def named(path: str) -> str:
    """The name of a ledger for people: a URL without its password."""
    return shown(path) if is_url(path) else path
