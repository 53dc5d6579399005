"""Parquet files with exact decimals, by pyarrow (`pip install 'tokenmeter-sdk[ledger-fast]'`), loaded on use only.

A column of decimals has the scale that its values need: `decimal128` up to 38 digits, `decimal256` up to 76.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import IO, TYPE_CHECKING, Any, Final

from tokenmeter.errors import ConfigurationError
from tokenmeter.money import EXACT

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["write_parquet"]

_MOST_128: Final = 38
_MOST_256: Final = 76


def write_parquet(
    target: IO[bytes], columns: Sequence[tuple[str, str]], data: Sequence[Sequence[Any]], notes: Mapping[str, str]
) -> None:
    """Write columns of values; of each the name and its type: `String`, `JSON`, `Decimal`, `DateTime`, `Integer`,
    `Float` or `Boolean`.

    `notes` become the file's metadata. Raises ConfigurationError without pyarrow, and for a number of more than 76
    digits.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise ConfigurationError(
            "Parquet files need pyarrow: pip install 'tokenmeter-sdk[ledger-fast]', or write CSV"
        ) from None
    fields, arrays = [], []
    for (name, kind), values in zip(columns, data, strict=True):
        type_ = _type(pa, name, kind, values)
        fields.append(pa.field(name, type_))
        arrays.append(pa.array(values, type=type_))
    schema = pa.schema(fields, metadata=dict(notes))
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), target, compression="zstd")


def _type(pa: Any, name: str, kind: str, values: Sequence[Any]) -> Any:
    if kind == "Decimal":
        precision, scale = _digits([value for value in values if value is not None])
        if precision > _MOST_256:
            raise ConfigurationError(
                f"{name} needs {precision} digits, more than the {_MOST_256} of a Parquet decimal: write CSV"
            )
        return pa.decimal128(_MOST_128, scale) if precision <= _MOST_128 else pa.decimal256(_MOST_256, scale)
    types = {
        "DateTime": pa.timestamp("us", tz="UTC"),
        "Integer": pa.int64(),
        "Float": pa.float64(),
        "Boolean": pa.bool_(),
    }
    return types.get(kind, pa.string())


def _digits(values: Sequence[Decimal]) -> tuple[int, int]:
    """The precision and scale that hold all values; a scale of at least one, so that no reader sees integers."""
    whole, scale = 1, 1
    for value in values:
        _, digits, exponent = value.normalize(EXACT).as_tuple()
        if not isinstance(exponent, int):
            raise TypeError(f"{value} is not a finite number")
        whole = max(whole, len(digits) + exponent)
        scale = max(scale, -exponent)
    return whole + scale, scale
