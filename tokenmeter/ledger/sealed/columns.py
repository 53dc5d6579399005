"""The columns of a sealed month: those of the view `calls`, as Parquet types.

Amounts are DECIMAL(38,12). One with finer digits is rounded there and stands exactly in the column `…_text` beside
it; one that has no room in 38 digits is null there. Instants are timestamps of UTC in microseconds, `tags` is a map,
`scope` a list of names, and what is unusual is JSON as in the view.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import lru_cache
from typing import Any, Final, NamedTuple

from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger.amounts import PICO
from tokenmeter.ledger.tables import COLUMNS
from tokenmeter.money import EXACT
from tokenmeter.usage import TOKEN_FIELDS

__all__ = ["AMOUNTS", "SEALED", "SOURCE", "Exact", "arrow", "batch_of", "exact", "schema_of"]

AMOUNTS: Final = ("amount", "list_amount", "vendor_amount", "cache_saved")
_INTEGERS: Final = frozenset({"port", "status_code", "attempt_count", *TOKEN_FIELDS, "tool_definition_tokens"})
_SWITCHES: Final = ("stream", "stale", "vendor_gap")
_SECONDS: Final = ("duration", "time_to_first_chunk")
_INSTANTS: Final = ("started_at", "ended_at")
_NOT_SEALED: Final = frozenset({"started_us", "ended_us"})

SEALED: Final = tuple(
    one
    for name in (*(name for name in COLUMNS if name not in _NOT_SEALED), "stale", "vendor_gap", "duplicate_of")
    for one in ((name, f"{name}_text") if name in AMOUNTS else (name,))
)
"""The columns of a sealed month, in order."""

_READ: Final = {
    "started_at": ("started_us",),
    "ended_at": ("ended_us",),
    "amount": ("amount_whole", "amount_pico", "amount_text"),
    "list_amount": ("NULL", "NULL", "list_amount"),
    "vendor_amount": ("vendor_whole", "vendor_pico", "vendor_text"),
    "cache_saved": ("NULL", "NULL", "cache_saved"),
}
_BESIDE: Final = frozenset(f"{name}_text" for name in AMOUNTS)
_PLACES: Final = tuple(
    (name, column) for name in SEALED if name not in _BESIDE for column in _READ.get(name, (name,))
)  # fmt: skip
SOURCE: Final = tuple(column for _, column in _PLACES)
"""SQL over the view `calls` that `batch_of` takes, in order."""

_ROUND: Final = Context(prec=200, rounding=ROUND_HALF_EVEN)
_GRID: Final = Decimal(1).scaleb(-12)
_MOST: Final = Decimal(10**26)


class Exact(NamedTuple):
    """An amount as columns: the decimal, and the text where the decimal is not exact."""

    decimal: Decimal | None
    text: str | None


def exact(whole: int | None, pico: int | None, text: str | None) -> Exact:
    """The columns of an amount; of the two integers or the text, one is there if it is known."""
    if whole is not None and pico is not None:
        return Exact(EXACT.scaleb(Decimal(whole * PICO + pico), -12), None)
    if text is None:
        return Exact(None, None)
    number = Decimal(text)
    if abs(number) >= _MOST:
        return Exact(None, text)
    rounded = number.quantize(_GRID, context=_ROUND)
    return Exact(rounded, None if rounded == number else text)


def arrow() -> Any:
    """The library pyarrow with its Parquet reader. Raises ConfigurationError where it is not installed."""
    try:
        import pyarrow as pa
        import pyarrow.parquet
    except ImportError:
        raise ConfigurationError("sealed months need pyarrow: pip install 'tokenmeter-sdk[ledger-fast]'") from None
    return pa


def schema_of(pa: Any) -> Any:
    """The Arrow schema of a sealed month."""
    return pa.schema([pa.field(name, _type(pa, name)) for name in SEALED])


def _type(pa: Any, name: str) -> Any:
    if name in AMOUNTS:
        return pa.decimal128(38, 12)
    if name in _INTEGERS:
        return pa.int64()
    if name in _SWITCHES:
        return pa.bool_()
    if name in _SECONDS:
        return pa.float64()
    if name in _INSTANTS:
        return pa.timestamp("us", tz="UTC")
    if name == "tags":
        return pa.map_(pa.string(), pa.string())
    return pa.list_(pa.string()) if name == "scope" else pa.string()


def batch_of(pa: Any, schema: Any, rows: Sequence[Sequence[Any]]) -> Any:
    """Rows of `SOURCE` as a record batch."""
    given: dict[str, list[Sequence[Any]]] = {}
    for (name, _), cells in zip(_PLACES, zip(*rows, strict=True), strict=True):
        given.setdefault(name, []).append(cells)
    values: dict[str, Sequence[Any]] = {}
    for name, columns in given.items():
        if name in AMOUNTS:
            amounts = [exact(*one) for one in zip(*columns, strict=True)]
            values[name] = [one.decimal for one in amounts]
            values[f"{name}_text"] = [one.text for one in amounts]
        else:
            convert = _CONVERT.get(name)
            (column,) = columns
            values[name] = column if convert is None else [None if one is None else convert(one) for one in column]
    return pa.record_batch([pa.array(values[field.name], type=field.type) for field in schema], schema=schema)


@lru_cache(20_000)
def _tags(text: str) -> list[tuple[str, str]]:
    return [(name, str(value)) for name, value in json.loads(text).items() if value is not None]


@lru_cache(1_000)
def _names(text: str) -> list[str]:
    return [str(name) for name in json.loads(text)]


_CONVERT: Final[dict[str, Callable[[Any], Any]]] = {"tags": _tags, "scope": _names, **dict.fromkeys(_SWITCHES, bool)}
