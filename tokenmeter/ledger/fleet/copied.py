"""The calls of a fleet's database as a temporary SQLite database, for whatever reads a ledger.

A question that the database does not answer itself (FOCUS rows, the page, what other models would cost, a bill) is
answered from this copy, as sealed months are. The rows are those of a file's narrow tables, in a file that SQLite keeps
private and removes, so memory does not depend on their number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

from tokenmeter.ledger.fleet.engines import engine_of
from tokenmeter.ledger.schema import make_indexes, prepare
from tokenmeter.ledger.tables import LOSSES, TABLES

if TYPE_CHECKING:
    import sqlite3

__all__ = ["open_copy"]

_WHOLE: Final = "CREATE TABLE whole (calls INTEGER, first_us INTEGER, last_us INTEGER)"
_TAG_NAMES: Final = "SELECT key AS name FROM tagsets, json_each(tagsets.tags) UNION SELECT name FROM row_tags"


def open_copy(url: str, since_us: int | None = None, until_us: int | None = None) -> sqlite3.Connection:
    """A connection to a copy of the calls that ended in a span of time, and of all losses. Raises FleetError.

    It knows the tags of all calls of the database, and how many there are.
    """
    import sqlite3

    engine = engine_of(url)
    connection = sqlite3.connect("", isolation_level=None)
    with ExitStack() as unready:
        unready.callback(connection.close)
        connection.execute("PRAGMA journal_mode = OFF")
        for statement in (*TABLES, LOSSES, _WHOLE):
            if "INDEX" not in statement:  # an id may be there twice, with two ends
                connection.execute(statement)
        connection.execute("BEGIN")
        with engine.snapshot(url) as database:
            for table, (columns, query, values) in engine.copies(since_us, until_us).items():
                for page in database.pages(query, values):
                    _insert(connection, table, columns, page)
        connection.execute("COMMIT")
        make_indexes(connection)
        connection.execute(f"CREATE TEMP VIEW tag_names AS {_TAG_NAMES}")
        connection.execute("CREATE TEMP VIEW whole AS SELECT * FROM main.whole")
        prepare(connection)
        unready.pop_all()
    return connection


def _insert(connection: sqlite3.Connection, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    places = ", ".join("?" * len(columns))
    connection.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})", rows)
