"""Reads record batches by the Arrow PyCapsule interface, and answers with the same rows and more columns.

A batch is cut to at most 65,536 rows, so that memory does not depend on how large an engine makes its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Final

from tokenmeter.errors import ConfigurationError

__all__ = ["arrow", "check_single", "kind_of", "widened"]

_ROWS_MOST: Final = 65_536

Results = Callable[[Any, int], Sequence[Sequence[Any]]]
"""From a record batch and the number of its first row to the values of each result column."""


def arrow() -> Any:
    """The library pyarrow. Raises ConfigurationError where it is not installed."""
    try:
        import pyarrow
    except ImportError:
        raise ConfigurationError("tokenmeter.batch needs pyarrow: pip install 'tokenmeter-sdk[ledger-fast]'") from None
    return pyarrow


def widened(batches: Any, results: Sequence[tuple[str, Any]], prepare: Callable[[Any], Results]) -> Any:
    """A reader of the batches with result columns beside their own.

    `results` are names and Arrow types; `prepare` takes the schema and gives the function that computes them. Raises
    ConfigurationError for what is no Arrow data, and where a column has the name of a result.
    """
    pa = arrow()
    schema, found = _read(pa, batches)
    for name, _ in results:
        if name in schema.names:
            raise ConfigurationError(f"the input has a column {name!r} already, the name of a result: rename it")
    compute = prepare(schema)
    fields = [pa.field(name, type_) for name, type_ in results]
    wide = pa.schema([*schema, *fields], metadata=schema.metadata)

    def rows() -> Iterator[Any]:
        first = 0
        for batch in found:
            for start in range(0, batch.num_rows, _ROWS_MOST):
                part = batch.slice(start, _ROWS_MOST)
                made = [
                    pa.array(values, type=field.type)
                    for values, field in zip(compute(part, first), fields, strict=True)
                ]
                first += part.num_rows
                yield pa.RecordBatch.from_arrays([*part.columns, *made], schema=wide)

    return pa.RecordBatchReader.from_batches(wide, rows())


def _read(pa: Any, batches: Any) -> tuple[Any, Iterable[Any]]:
    """The schema and the record batches of an object with the PyCapsule interface, or of an iterable of such."""
    if isinstance(batches, pa.RecordBatchReader):
        return batches.schema, batches
    try:
        if hasattr(batches, "__arrow_c_array__"):
            batch = pa.record_batch(batches)
            return batch.schema, [batch]
        if hasattr(batches, "__arrow_c_stream__"):
            reader = pa.RecordBatchReader.from_stream(batches)
            return reader.schema, reader
    except (pa.ArrowInvalid, TypeError):  # one column
        raise ConfigurationError(
            f"a {type(batches).__name__} has no columns: give the table or frame it is of"
        ) from None
    if not isinstance(batches, Iterable) or isinstance(batches, str | bytes | dict):
        way = (
            "collect() it first"
            if hasattr(batches, "collect")
            else "give a table, a frame, a reader, or an iterable of batches"
        )
        raise ConfigurationError(f"a {type(batches).__name__} is no Arrow data: {way}")
    parts = iter(batches)
    first = next(parts, None)
    if first is None:
        return pa.schema([]), []
    schema, head = _read(pa, first)
    return schema, chain(head, _rest(pa, parts, schema))


def _rest(pa: Any, parts: Iterator[Any], schema: Any) -> Iterator[Any]:
    for part in parts:
        other, batches = _read(pa, part)
        if other != schema:
            new, old = (
                [f"{one.name} {one.type}" for one in some if one not in rest]
                for some, rest in ((other, list(schema)), (schema, list(other)))
            )
            raise ConfigurationError(
                f"a later batch has other columns: {new} where the first has {old}: select and cast them alike"
            )
        yield from batches


def check_single(schema: Any, names: Iterable[str]) -> None:
    """Raises ConfigurationError where one of the columns is there twice."""
    for name in names:
        if schema.names.count(name) > 1:
            raise ConfigurationError(f"the input has two columns {name!r}: rename or drop one")


def kind_of(pa: Any, type_: Any) -> str:
    """What a column holds: text, integer, number, boolean, instant, naive, day, null or other."""
    types = pa.types
    if types.is_dictionary(type_):
        type_ = type_.value_type
    for kind, holds in (
        ("text", ("is_string", "is_large_string", "is_string_view")),
        ("integer", ("is_integer",)),
        ("number", ("is_floating", "is_decimal")),
        ("boolean", ("is_boolean",)),
        ("day", ("is_date",)),
        ("null", ("is_null",)),
    ):
        if any(getattr(types, name)(type_) for name in holds if hasattr(types, name)):
            return kind
    if types.is_timestamp(type_):
        return "naive" if type_.tz is None else "instant"
    return "other"
