"""Reads a database in PostgreSQL as of one instant, through what a report expects of a connection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from tokenmeter.ledger.fleet.postgresql.schema import connect_for_reading, remedy

if TYPE_CHECKING:
    import psycopg

    from tokenmeter.ledger.fleet.engine import Connection

__all__ = ["snapshot", "spent"]

_PAGE: Final = 5_000


@contextmanager
def snapshot(url: str) -> Iterator[Connection]:
    """A database to which files were shipped, as of one instant. Raises FleetError, also within the block."""
    import psycopg

    connection = connect_for_reading(url)
    try:
        connection.row_factory = _rows
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        connection.execute("SET LOCAL search_path = tokenmeter, pg_catalog")
        connection.execute("SET LOCAL synchronize_seqscans = off")  # rows come as they were written
        yield _Statements(connection)
    except psycopg.Error as error:
        raise remedy(url, error) from error
    finally:
        connection.close()


def spent(connection: Connection, where: str, values: Sequence[Any]) -> tuple[Iterator[Any], Iterator[Any]]:
    """Of calls: currency, sum and count; and currency, provider, model, component, sums of quantity and amount."""
    total = f"SELECT currency, sum(amount)::text, count(*) FROM calls WHERE {where} GROUP BY 1"
    skus = (
        "SELECT currency, coalesce(provider, ''), coalesce(model, ''), charge ->> 'component', "
        "sum((charge ->> 'quantity')::numeric)::text, sum((charge ->> 'amount')::numeric)::text "
        f"FROM calls, json_array_elements(charges::json) AS charge WHERE {where} GROUP BY 1, 2, 3, 4"
    )
    return connection.execute(total, values), connection.execute(skus, values)


class _Statements:
    """Runs statements that are written for SQLite's driver."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def execute(self, query: str, values: Sequence[Any] = ()) -> Any:
        """Run a query in which `?` stands for each value."""
        return self._connection.execute(_bound(query), list(values))

    def pages(self, query: str, values: Sequence[Any] = ()) -> Iterator[Sequence[Sequence[Any]]]:
        """The answer of a query of many rows, some at a time."""
        from psycopg.rows import tuple_row

        with self._connection.cursor(name="pages", row_factory=tuple_row) as cursor:
            cursor.execute(_bound(query), list(values))
            while page := cursor.fetchmany(_PAGE):
                yield page


def _bound(query: str) -> bytes:
    return query.replace("%", "%%").replace("?", "%s").encode()


class _Row(tuple[Any, ...]):
    """A row whose values are found by place and by name."""

    names: dict[str, int]

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(self.names[key] if type(key) is str else key)


def _rows(cursor: psycopg.Cursor[Any]) -> Any:
    names = {column.name: place for place, column in enumerate(cursor.description or ())}
    made = type("_NamedRow", (_Row,), {"names": names})

    def row(values: Sequence[Any]) -> Any:
        return made([_plain(value) if type(value) is Decimal else value for value in values])

    return row


def _plain(number: Decimal) -> int | Decimal:
    """Sums of integers are numeric there. Amounts come as text."""
    whole = int(number)
    return whole if whole == number else number
