"""Parquet files with exact decimals, by pyarrow (`pip install 'tokenmeter-sdk[ledger-fast]'`), loaded on use only.

A column of decimals has the scale that its values need: `decimal128` up to 38 digits, `decimal256` up to 76. Rows that
are many are read twice: for the digits that they need, and to be written, a page at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import IO, TYPE_CHECKING, Any, Final

from tokenmeter.errors import ConfigurationError
from tokenmeter.money import EXACT

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["write_parquet", "write_parquet_pages"]

Columns = Sequence[tuple[str, str]]

_MOST_128: Final = 38
_MOST_256: Final = 76


def write_parquet(target: IO[bytes], columns: Columns, data: Sequence[Sequence[Any]], notes: Mapping[str, str]) -> None:
    """Write columns of values; of each the name and its type: `String`, `JSON`, `Decimal`, `DateTime`, `Integer`,
    `Float` or `Boolean`.

    `notes` become the file's metadata. Raises ConfigurationError without pyarrow, and for a number of more than 76
    digits.
    """
    write_parquet_pages(target, columns, lambda: [data], notes)


def write_parquet_pages(
    target: IO[bytes],
    columns: Columns,
    pages: Callable[[], Iterable[Sequence[Sequence[Any]]]],
    notes: Mapping[str, str],
) -> None:
    """Write pages of columns as `write_parquet` does; `pages` gives them from the first on, whenever it is called."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise ConfigurationError(
            "Parquet files need pyarrow: pip install 'tokenmeter-sdk[ledger-fast]', or write CSV"
        ) from None
    digits = {name: (1, 1) for name, kind in columns if kind == "Decimal"}
    for page in pages():
        for (name, kind), values in zip(columns, page, strict=True):
            if kind == "Decimal":
                digits[name] = _digits(values, digits[name])
    schema = pa.schema([(name, _type(pa, name, kind, digits)) for name, kind in columns], metadata=dict(notes))
    with pq.ParquetWriter(target, schema, compression="zstd") as writer:
        for page in pages():
            arrays = [pa.array(values, type=field.type) for values, field in zip(page, schema, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _type(pa: Any, name: str, kind: str, digits: Mapping[str, tuple[int, int]]) -> Any:
    if kind == "Decimal":
        whole, scale = digits[name]
        if whole + scale > _MOST_256:
            raise ConfigurationError(
                f"{name} needs {whole + scale} digits, more than the {_MOST_256} of a Parquet decimal: write CSV"
            )
        wide = whole + scale > _MOST_128
        return pa.decimal256(_MOST_256, scale) if wide else pa.decimal128(_MOST_128, scale)
    types = {
        "DateTime": pa.timestamp("us", tz="UTC"),
        "Integer": pa.int64(),
        "Float": pa.float64(),
        "Boolean": pa.bool_(),
    }
    return types.get(kind, pa.string())


def _digits(values: Iterable[Decimal | None], known: tuple[int, int]) -> tuple[int, int]:
    """The digits before and after the point that hold all values; at least one after it, so that no reader sees
    integers."""
    whole, scale = known
    for value in values:
        if value is None:
            continue
        _, digits, exponent = value.normalize(EXACT).as_tuple()
        if not isinstance(exponent, int):
            raise TypeError(f"{value} is not a finite number")
        whole = max(whole, len(digits) + exponent)
        scale = max(scale, -exponent)
    return whole, scale
