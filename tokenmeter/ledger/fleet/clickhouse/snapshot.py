"""Reads a database in ClickHouse, through what a report expects of a connection.

Each query sees whole insertions, and what came between two queries of one report is in the later of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from tokenmeter.ledger.fleet.clickhouse.client import remedies
from tokenmeter.ledger.fleet.clickhouse.days import CONSISTENT
from tokenmeter.ledger.fleet.clickhouse.dialect import QUANTITY, part_of
from tokenmeter.ledger.fleet.clickhouse.schema import connect_for_reading
from tokenmeter.ledger.report.sum_sources import microseconds

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

    from tokenmeter.ledger.fleet.engine import Connection

__all__ = ["snapshot", "spent"]

_SETTINGS: Final = CONSISTENT | {
    "final": 1,  # repeated rows of the small tables count once
    "prefer_column_name_to_alias": 1,  # as in SQL elsewhere: sum(amount) AS amount, sum(amount) AS other
    "do_not_merge_across_partitions_select_final": 1,
    "output_format_json_escape_forward_slashes": 0,
}


@contextmanager
def snapshot(url: str) -> Iterator[Connection]:
    """A database to which files were shipped. Raises FleetError, also within the block."""
    client = connect_for_reading(url)
    try:
        with remedies(url):
            yield _Queries(client)
    finally:
        with suppress(Exception):
            client.close()


def spent(connection: Connection, where: str, values: Sequence[Any]) -> tuple[Iterator[Any], Iterator[Any]]:
    """Of calls: currency, sum and count; and currency, provider, model, component, sums of quantity and amount."""
    total = f"SELECT currency, toString(sum(amount)), count() FROM calls WHERE {where} GROUP BY 1"
    amount = f"toDecimal256({part_of('charge', 'amount')}, 38)"
    skus = (
        f"SELECT currency, ifNull(provider, ''), ifNull(model, ''), {part_of('charge', 'component')}, "
        f"toString(sum({QUANTITY})), toString(sum({amount})) "
        f"FROM calls ARRAY JOIN JSONExtractArrayRaw(ifNull(charges, '[]')) AS charge WHERE {where} GROUP BY 1, 2, 3, 4"
    )
    return connection.execute(total, values), connection.execute(skus, values)


class _Queries:
    """Runs queries that are written for SQLite's driver."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._numbers: dict[int, int] = {0: 1}

    def execute(self, query: str, values: Sequence[Any] = ()) -> Any:
        """Run a query in which `?` stands for each value."""
        text, named = _prepared(query, values)
        found = self._client.query(text, parameters=named, settings=_SETTINGS)
        return _answer(found.column_names, found.result_rows)

    def pages(self, query: str, values: Sequence[Any] = ()) -> Iterator[Sequence[Sequence[Any]]]:
        """The answer of a query of many rows, some at a time. Hashes, which are UInt64, come as numbers, 0 as 1."""
        text, named = _prepared(query, values)
        with self._client.query_row_block_stream(text, parameters=named, settings=_SETTINGS) as pages:
            kinds = pages.source.column_types
            hashes = [place for place, kind in enumerate(kinds) if kind.base_type == "UInt64"]
            for page in pages:
                yield [self._numbered(row, hashes) for row in page] if hashes else page

    def _numbered(self, row: Sequence[Any], hashes: Sequence[int]) -> list[Any]:
        """A row with the number of each hash; the same hash has the same number in all queries."""
        numbers, values = self._numbers, list(row)
        for place in hashes:
            if (found := values[place]) is not None:
                values[place] = numbers.setdefault(found, len(numbers) + 1)
        return values


def _prepared(query: str, values: Sequence[Any]) -> tuple[str, dict[str, Any] | None]:
    """A query with a placeholder of ClickHouse for each `?`, and what is bound there."""
    parts = query.split("?")
    bound = [_bound(value) for value in values]
    text = parts[0]
    for number, (part, (form, _)) in enumerate(zip(parts[1:], bound, strict=True)):
        text += form.format(f"v{number}") + part
    return text, {f"v{number}": value for number, (_, value) in enumerate(bound)} or None


def _bound(value: Any) -> tuple[str, Any]:
    """The placeholder of a value, and what is bound there."""
    if isinstance(value, datetime):
        return "fromUnixTimestamp64Micro({{{}:Int64}}, 'UTC')", microseconds(value)
    if isinstance(value, date):
        return "toDate32({{{}:String}})", value.isoformat()
    kind = "Int64" if isinstance(value, int) else "Float64" if isinstance(value, float) else "String"
    return f"{{{{{{}}:{kind}}}}}", value


class _Answer:
    """The rows of an answer."""

    def __init__(self, rows: Sequence[Any]) -> None:
        self._rows = iter(rows)

    def __iter__(self) -> Iterator[Any]:
        return self._rows

    def fetchone(self) -> Any:
        """The next row, None after the last."""
        return next(self._rows, None)


class _Row(tuple[Any, ...]):
    """A row whose values are found by place and by name."""

    names: dict[str, int]

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(self.names[key] if type(key) is str else key)


def _answer(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> _Answer:
    made = type("_NamedRow", (_Row,), {"names": {name: place for place, name in enumerate(names)}})
    return _Answer(
        [made([_PLAIN[type(value)](value) if type(value) in _PLAIN else value for value in row]) for row in rows]
    )


def _plain(number: Decimal) -> int | Decimal:
    """A decimal without the zeros that its type adds; quantities that are whole are integers."""
    whole = int(number)
    return whole if whole == number else Decimal(f"{number:f}".rstrip("0"))


_PLAIN: Final[dict[type, Callable[[Any], Any]]] = {Decimal: _plain, datetime: lambda at: at.replace(tzinfo=UTC)}
