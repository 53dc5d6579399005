"""Opens a DuckDB database in memory that shows sealed months as the view `calls`, with the periods asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from tokenmeter.ledger.report.periods import PERIODS, Zone
from tokenmeter.ledger.report.question import Question
from tokenmeter.ledger.sealed.columns import AMOUNTS, SEALED
from tokenmeter.ledger.sealed.manifest import SealedMonth, microseconds

__all__ = ["opened"]

_SETTINGS: Final = {
    # Nothing is ever downloaded, and no name in SQL is taken for a variable of the program.
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "python_enable_replacements": False,
    "preserve_insertion_order": False,
    "memory_limit": "256MB",
}
_QUARTER_US: Final = 900_000_000


@contextmanager
def opened(duckdb: Any, months: Sequence[SealedMonth], question: Question) -> Iterator[Any]:
    """A database in memory with the view `calls` over the files, and room on disk for sorting."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory(prefix="tokenmeter-") as spill, duckdb.connect(":memory:", config=_SETTINGS) as connection:
        connection.execute(f"SET temp_directory = {_text(spill)}")
        connection.execute("CREATE MACRO compare_exactly(one, other) AS sign(one - CAST(other AS DECIMAL(38, 12)))")
        files = ", ".join(_text(str(month.path)) for month in months)
        table = f"read_parquet([{files}], union_by_name = true)"
        there = {row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM {table}").fetchall()}  # noqa: S608
        shown = ", ".join(name if name in there else f"CAST(NULL AS {_type(name)}) AS {name}" for name in SEALED)
        query = f"SELECT {shown}, epoch_us(ended_at) AS ended_us FROM {table}"  # noqa: S608
        if periods := _periods(question):
            _name_quarters(connection, periods, months, question.zone)
            names = ", ".join(f"{period}_name" for period in periods)
            query = (
                f"SELECT rows.*, {names} FROM ({query}) AS rows "  # noqa: S608
                f"LEFT JOIN quarters ON quarter = ended_us // {_QUARTER_US}"
            )
        connection.execute(f"CREATE VIEW calls AS {query}")
        yield connection


def _type(name: str) -> str:
    """The type of a column that months of an older version lack."""
    if name in AMOUNTS:
        return "DECIMAL(38, 12)"
    return "BIGINT" if name.endswith("_tokens") else "VARCHAR"


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _periods(question: Question) -> list[str]:
    """The periods that a question names."""
    names = {*question.by, *(() if question.where is None else question.where.names)}
    return [period for period in PERIODS if period in names]


def _name_quarters(connection: Any, periods: Iterable[str], months: Sequence[SealedMonth], zone: Zone) -> None:
    """A table that names the periods of each quarter of an hour of some months: the zones' rules stay Python's."""
    quarters = sorted(
        {
            quarter
            for month in months
            if month.first is not None and month.last is not None
            for quarter in range(microseconds(month.first) // _QUARTER_US, microseconds(month.last) // _QUARTER_US + 1)
        }
    )
    local = [zone.local(datetime.fromtimestamp(quarter * 900, UTC)) for quarter in quarters]
    named = [[PERIODS[period](at) for at in local] for period in periods]
    columns = ", ".join(
        ["unnest(CAST(? AS BIGINT[])) AS quarter", *(f"unnest(CAST(? AS VARCHAR[])) AS {one}_name" for one in periods)]
    )
    connection.execute(f"CREATE TABLE quarters AS SELECT {columns}", [quarters, *named])
