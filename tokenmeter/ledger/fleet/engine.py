"""What an engine of a fleet's database does: the seam between shipping and reports, and PostgreSQL or another.

`postgresql/` and `clickhouse/` are such. An engine is a module with these functions. Its driver is imported when it is
used, its errors are those of `database.py` and the two below.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from tokenmeter.ledger.fleet.source_file import SourceFile
    from tokenmeter.ledger.report.dialect import Dialect
    from tokenmeter.ledger.report.periods import Zone
    from tokenmeter.ledger.report.sum_sources import SumSource

__all__ = ["BatchUndoneError", "Connection", "Engine", "FleetStore", "Place", "RefusedError", "StoredKeys"]


class BatchUndoneError(Exception):
    """Another shipper was in the way of a batch, of which nothing is there: it is to be shipped again."""


class RefusedError(Exception):
    """The database does not take some row of those that were inserted, and took none of them."""


class Place(NamedTuple):
    """How far a file is shipped: the sequence of the last call and its id, that of the last loss, and calls that
    await their cost."""

    seq: int
    last_id: str | None
    losses_seq: int
    provisional: tuple[int, ...]


class StoredKeys(Protocol):
    """What stands in the database for the keys of one file's small tables."""

    @property
    def of(self) -> Mapping[str, Mapping[int | None, Any]]:
        """By table, what stands there for each key here; None is the key of nothing."""

    def learn(self, table: str, numbers: Iterable[int | None]) -> None:
        """Find what stands for these keys of the file."""

    def why_not(self, table: str, number: int | None) -> str:
        """Why nothing stands for a key."""

    def delegated(self, number: int) -> Any:
        """What stands for the dimensions of a call that is not charged (`charged_once.delegated_dims`)."""


class FleetStore(Protocol):
    """A database that is open for shipping."""

    @property
    def batch(self) -> int:
        """Calls that are shipped at once."""

    def remedies(self) -> AbstractContextManager[None]:
        """Raise FleetError with the remedy, or BatchUndoneError, for an error of the driver."""

    def zone(self) -> str | None:
        """The clock of the days in the roll-up."""

    def keys(self, file: SourceFile) -> StoredKeys:
        """What stands for the keys of a file, of which none is known yet."""

    def prepare(self, row_tags: Sequence[str], days: Iterable[int]) -> None:
        """Make what calls with these tags, that ended on these days since 1970 by UTC, need."""

    def transaction(self) -> AbstractContextManager[None]:
        """A batch: all of it is there after the block, or it can be shipped again without doubling anything."""

    def place(self, file: str) -> Place:
        """How far a file is shipped; no other shipper of it gets on before the end of the transaction."""

    def recorders(self, responses: Iterable[str], since_us: int) -> Iterable[tuple[str | None, str, str, int, int]]:
        """The calls that ended since an instant and are charged for these responses, in the order of their ends.

        Provider, id of the response, id of the call, start and end in µs. No other shipper inserts calls before the
        end of the transaction.
        """

    def insert(self, calls: Sequence[Sequence[Any]], *, replacing: bool) -> int | None:
        """Insert calls that are not there, and answer how many were new, None where that is not known.

        A call has its sequence, then `source_file.SHIPPED`, with what `keys` found. `replacing`: some have their cost
        now. Raises RefusedError.
        """

    def write_losses(self, file: str, losses: Iterable[tuple[Any, ...]]) -> None:
        """Note losses: sequence, first and last instant in µs, calls, reason."""

    def save_place(self, file: SourceFile, place: Place) -> None:
        """Note the place that this batch reaches."""

    def idle(self) -> None:
        """Do what can wait until there is nothing to ship."""

    def close(self) -> None:
        """End the connection."""


class Connection(Protocol):
    """A database as of one instant, which takes statements as a connection of SQLite does, as far as reports go."""

    def execute(self, query: str, values: Sequence[Any] = ()) -> Any:
        """Run a query in which `?` stands for each value; rows are found by place and by name."""

    def pages(self, query: str, values: Sequence[Any] = ()) -> Iterator[Sequence[Sequence[Any]]]:
        """The answer of a query of many rows, some at a time, so that memory does not depend on their number."""


class Engine(Protocol):
    """A kind of database."""

    def check_driver(self) -> None:
        """Raise ConfigurationError where its package is not installed."""

    def open_for_shipping(self, url: str, zone: str) -> FleetStore:
        """Connect, and bring the schema up to date; `zone` is that of days if it is made now. Raises FleetError."""

    def snapshot(self, url: str) -> AbstractContextManager[Connection]:
        """A database to which files were shipped, as of one instant. Raises FleetError, also within the block."""

    def dialect_of(self, zone: Zone, first: datetime, last: datetime) -> Dialect:
        """The dialect of questions by this clock about calls between these instants."""

    def rows(self, dialect: Dialect) -> SumSource:
        """The rows of calls."""

    def days(self, dialect: Dialect) -> SumSource:
        """The roll-up by day."""

    def charges(self, dialect: Dialect) -> SumSource:
        """One row for each charge of a call, as `sum_sources.CHARGES` has them of a file."""

    def copies(
        self, since_us: int | None, until_us: int | None
    ) -> Mapping[str, tuple[tuple[str, ...], str, Sequence[Any]]]:
        """How a copy is read of the calls that ended in a span of time, as rows of the tables of a ledger file.

        By table: the columns to fill, the query that answers them, and its values. The roll-up is that of all calls.
        `whole` is one row: how many calls there are in all, with the first and the last end in µs.
        """

    def spent(self, connection: Connection, where: str, values: Sequence[Any]) -> tuple[Iterator[Any], Iterator[Any]]:
        """Of calls: currency, sum and count; and currency, provider, model, component, sums of quantity and amount."""

    def wrong_days(self, connection: Connection) -> tuple[int, int]:
        """How many rows the roll-up has, and how many of them are not what the rows of calls sum up to."""

    def information(self, connection: Connection) -> dict[str, Any]:
        """What there is to say of the database beside calls, losses and zone, for people."""

    def forget_tag(self, url: str, name: str, value: str, replacement: str) -> int:
        """Replace the value of a tag in every call that has it; how many calls had. Raises FleetError."""
