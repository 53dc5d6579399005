"""Counts the texts of record batches: `tokenmeter.batch.count`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

from tokenmeter.batch.arrow_batches import arrow, kind_of, widened
from tokenmeter.errors import ConfigurationError
from tokenmeter.tokens.counter import Counter, counter
from tokenmeter.tokens.days import iso_day

__all__ = ["counted"]

_TEXT: Final = ("text", "null")
_RESULTS: Final = ("tokens", "tokens_low", "tokens_high", "tokens_method", "tokens_family", "tokens_reason")


def counted(batches: Any, *, column: str, model: str | None, provider: str | None, at: datetime | str | None) -> Any:
    """The batches with the columns of `count`."""
    pa = arrow()
    day = iso_day(at)

    def prepare(schema: Any) -> Any:
        if not len(schema):
            return lambda batch, first: [()] * len(_RESULTS)
        needed = (column,) if model is not None else (column, "model")
        for name in (*needed, "provider"):
            if name in schema.names and kind_of(pa, schema.field(name).type) not in _TEXT:
                raise ConfigurationError(f"column {name!r} is {schema.field(name).type}: it must hold text")
        for name in needed:
            if name not in schema.names:
                raise ConfigurationError(f"there is no column {name!r} in {schema.names}: add it, or name another")
        return partial(_results, column, model, provider, day)

    types = [(name, pa.int64() if place < 3 else pa.string()) for place, name in enumerate(_RESULTS)]
    return widened(batches, types, prepare)


def _results(
    column: str, model: str | None, provider: str | None, day: str | None, batch: Any, first: int
) -> Sequence[Sequence[Any]]:
    texts = batch.column(column).to_pylist()
    models, providers = (
        batch.column(name).to_pylist() if name in batch.schema.names else [None] * len(texts)
        for name in ("model", "provider")
    )
    counters: dict[tuple[str, str | None], Counter] = {}
    rows: list[tuple[Any, ...]] = []
    for number, (text, named, seller) in enumerate(zip(texts, models, providers, strict=True), first):
        name, by = named or model, seller or provider
        if text is None or name is None:
            rows.append((None,) * 5 + (f"row {number}, column {'model' if name is None else column}: not known",))
            continue
        found = counters.get((name, by))
        if found is None:
            found = counters[name, by] = counter(name, by, day)
        one = found.estimate(text)
        rows.append((one.tokens, one.low, one.high, one.method, one.family, one.reason))
    return list(zip(*rows, strict=True)) if rows else [()] * len(_RESULTS)
