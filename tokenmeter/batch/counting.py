"""Counts the texts of record batches: `tokenmeter.batch.count`.

The rows of one model are counted together, so that beside the tokenizer a row costs little more than its conversion.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

from tokenmeter.batch.arrow_batches import arrow, check_single, kind_of, widened
from tokenmeter.errors import ConfigurationError
from tokenmeter.tokens.counter import Counter, counter
from tokenmeter.tokens.days import iso_day

__all__ = ["counted"]

_TEXT: Final = ("text", "null")
_RESULTS: Final = ("tokens", "tokens_low", "tokens_high", "tokens_method", "tokens_family", "tokens_reason")
Columns = tuple[Sequence[Any], ...]


def counted(batches: Any, *, column: str, model: str | None, provider: str | None, at: datetime | str | None) -> Any:
    """The batches with the columns of `count`."""
    pa = arrow()
    day = iso_day(at)

    def prepare(schema: Any) -> Any:
        if not len(schema):
            return lambda batch, first: [()] * len(_RESULTS)
        needed = (column,) if model is not None else (column, "model")
        check_single(schema, (column, "model", "provider"))
        for name in (column, "model", "provider"):
            if name in schema.names and kind_of(pa, schema.field(name).type) not in _TEXT:
                raise ConfigurationError(
                    f"column {name!r} is {schema.field(name).type}: it must hold text: cast it to string"
                )
        for name in needed:
            if name not in schema.names:
                raise ConfigurationError(f"there is no column {name!r} in {schema.names}: add it, or name another")
        return partial(_results, column, model, provider, day)

    types = [(name, pa.int64() if place < 3 else pa.string()) for place, name in enumerate(_RESULTS)]
    return widened(batches, types, prepare)


def _results(column: str, model: str | None, provider: str | None, day: str | None, batch: Any, first: int) -> Columns:
    texts = batch.column(column).to_pylist()
    by_model, unknown = _by_model(batch, texts, model, provider)
    if len(by_model) == 1 and not unknown:
        ((name, seller),) = by_model
        return _columns(counter(name, seller, day), texts)
    found: list[list[Any]] = [[None] * len(texts) for _ in _RESULTS]
    for (name, seller), places in by_model.items():
        columns = _columns(counter(name, seller, day), [texts[place] for place in places])
        for into, values in zip(found, columns, strict=True):
            for place, value in zip(places, values, strict=True):
                into[place] = value
    for place, missing in unknown.items():
        found[-1][place] = f"row {first + place}, column {missing or column}: not known"
    return tuple(found)


def _by_model(
    batch: Any, texts: Sequence[str | None], model: str | None, provider: str | None
) -> tuple[dict[tuple[str, str | None], Sequence[int]], dict[int, str | None]]:
    """The places of the rows of each model and provider; and of those with nothing to count: `model`, or None where
    it is the text that is not known."""
    columns = [batch.column(name).to_pylist() if name in batch.schema.names else None for name in ("model", "provider")]
    if columns == [None, None] and model is not None and None not in texts:
        return {(model, provider): range(len(texts))}, {}
    models, providers = (column or [None] * len(texts) for column in columns)
    places: dict[tuple[str, str | None], list[int]] = {}
    unknown: dict[int, str | None] = {}
    for place, (text, named, seller) in enumerate(zip(texts, models, providers, strict=True)):
        name = named or model
        if text is None or name is None:
            unknown[place] = "model" if name is None else None
        else:
            places.setdefault((name, seller or provider), []).append(place)
    return dict(places), unknown


def _columns(counts: Counter, texts: Sequence[str]) -> Columns:
    """The result columns of texts of one model."""
    numbers = counts.estimate_all(texts)
    if numbers is not None:
        same = [[value] * len(texts) for value in (counts.method, counts.family_name, counts.reason)]
        return (*numbers, *same)
    rows = [(one.tokens, one.low, one.high, one.method, one.family, one.reason) for one in map(counts.estimate, texts)]
    return tuple(zip(*rows, strict=True)) if rows else ((),) * len(_RESULTS)
