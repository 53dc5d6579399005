"""`tokenmeter prices export`: the price book as a table that SQL joins to calls, as CSV or Parquet."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from tokenmeter.cli import _terminal
from tokenmeter.errors import ConfigurationError
from tokenmeter.money import plain

if TYPE_CHECKING:
    import argparse

    from tokenmeter.prices.book import Book
    from tokenmeter.prices.rate_table import RateRow

_ROWS_AT_ONCE: Final = 20_000
_AHEAD: Final = timedelta(days=366)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of the subcommand."""
    parser.add_argument("--provider", metavar="ID", help="only this provider")
    parser.add_argument("--model", action="append", metavar="NAME", help="only this name of a model (repeatable)")
    parser.add_argument(
        "--param", action="append", default=[], metavar="KEY=VALUE",
        help="prices of requests with this parameter, such as batch=true, currency=USD (repeatable)",
    )  # fmt: skip
    parser.add_argument("--until", metavar="DAY", help="end of prices by the hour of the day (default: in a year)")
    parser.add_argument("--format", choices=("csv", "parquet"), help="default: by the name of --output, else csv")
    parser.add_argument("--output", metavar="FILE", help="write to a file; FILE.parquet is Parquet")


def run(args: argparse.Namespace, book: Book) -> int:
    """Write the table. Raises ConfigurationError for flags that have no meaning, and without pyarrow for Parquet."""
    from tokenmeter.cli._providers import providers_asked
    from tokenmeter.prices.provider_prices import read_moment
    from tokenmeter.prices.rate_table import rate_rows

    try:
        until = datetime.now(UTC) + _AHEAD if args.until is None else read_moment(args.until, UTC)
    except ValueError as error:
        raise ConfigurationError(f"--until: {error}") from None
    form = args.format or ("parquet" if (args.output or "").endswith(".parquet") else "csv")
    rows = rate_rows(
        book, providers_asked(args, book), params=dict(map(_param, args.param)), until=until, models=args.model
    )
    with _terminal.progress("reading the price book"):
        if form == "csv":
            with _target(args.output, "w") as text:
                _write_csv(text, rows)
        elif args.output is None and sys.stdout.isatty():
            raise ConfigurationError("Parquet is not for a terminal: add --output FILE.parquet, or pipe it")
        else:
            with _target(args.output, "wb") as binary:
                _write_parquet(binary, rows)
    return 0


def _param(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigurationError(f"--param: {text!r} is not KEY=VALUE")
    return name, value


@contextmanager
def _target(name: str | None, mode: str) -> Iterator[IO[Any]]:
    if name is None:
        yield sys.stdout if mode == "w" else sys.stdout.buffer
        return
    try:
        with Path(name).open(mode, **({} if "b" in mode else {"encoding": "utf-8", "newline": ""})) as file:  # type: ignore[call-overload]
            yield file
    except OSError as error:
        raise ConfigurationError(f"--output {name}: {error.strerror or error}") from None


def _write_csv(file: IO[str], rows: Iterable[RateRow]) -> None:
    from tokenmeter.prices.rate_table import COLUMNS

    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([name for name, _ in COLUMNS])
    for row in rows:
        writer.writerow([_cell(value) for value in row.values()])


def _cell(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return "" if value is None else plain(value) if isinstance(value, Decimal) else str(value)


def _write_parquet(file: IO[bytes], rows: Iterable[RateRow]) -> None:
    """Row groups as they are read, so that memory does not depend on the size of the book."""
    from itertools import islice

    from tokenmeter.ledger.sealed.columns import arrow
    from tokenmeter.prices.rate_table import COLUMNS

    pa = arrow()
    types = {
        "String": pa.string(), "Integer": pa.int64(), "Decimal": pa.decimal128(28, 18),
        "DateTime": pa.timestamp("us", tz="UTC"),
    }  # fmt: skip
    schema = pa.schema([pa.field(name, types[kind]) for name, kind in COLUMNS])
    found = iter(rows)
    with pa.parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        while page := list(islice(found, _ROWS_AT_ONCE)):
            columns: Iterable[Sequence[Any]] = zip(*(row.values() for row in page), strict=True)
            arrays = [pa.array(values, type=field.type) for values, field in zip(columns, schema, strict=True)]
            writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))
