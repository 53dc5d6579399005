"""Reads the calls of a record batch row by row: names, usage, instant and parameters, or what is wrong with a row."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, Final, NamedTuple

from tokenmeter.batch.arrow_batches import check_single, kind_of
from tokenmeter.errors import ConfigurationError, UsageError
from tokenmeter.prices.components import known_params
from tokenmeter.usage import TOKEN_FIELDS, Usage

__all__ = ["BY_CALL", "OF_LEDGER", "CallColumns", "CallInBatch", "CallLayout", "Params", "RowProblem", "call_columns"]

Params = tuple[tuple[str, Any], ...]
_TEXTS: Final = frozenset({"text", "null"})
_TOKENS: Final = frozenset({"integer", "number", "text", "null"})
_PARAMS: Final = frozenset({"text", "integer", "boolean", "null"})
_INSTANTS: Final = frozenset({"instant", "text", "day", "null"})


class RowProblem(ValueError):
    """What is wrong with a row; the message names the column."""


class CallLayout(NamedTuple):
    """The names of columns: of several the first that has a value counts."""

    model: tuple[str, ...]
    at: tuple[str, ...]
    params: tuple[str, ...]
    """Columns of one parameter each, beside the JSON in `params`."""


BY_CALL: Final = CallLayout(("model",), ("at",), tuple(sorted(known_params())))
OF_LEDGER: Final = CallLayout(
    ("request_model", "response_model"), ("priced_at", "ended_at"), ("service_tier", "region", "currency")
)
"""The columns of the view `calls` and of sealed months."""


class CallInBatch(NamedTuple):
    """One call. `at` is microseconds since the epoch, or what the column holds instead; None if not known."""

    provider: str | None
    model: str | None
    response_model: str | None
    params: Params
    usage: Usage
    at: int | str | date | None


class CallColumns:
    """The columns of a schema that say what calls were."""

    def __init__(self, pa: Any, schema: Any, layout: CallLayout) -> None:
        """Raises ConfigurationError for a column of a type that cannot hold it."""
        self._layout = layout
        self.kinds = {field.name: kind_of(pa, field.type) for field in schema}
        for names, kinds, wanted in (
            (("provider", *layout.model, "response_model"), _TEXTS, "text: cast it to string"),
            (("params", "usage"), _TEXTS, "JSON text"),
            (TOKEN_FIELDS, _TOKENS, "whole numbers: cast it to int64"),
            (
                layout.at,
                _INSTANTS,
                "instants with a time zone, or text: cast it to timestamp('us', 'UTC') if it is UTC",
            ),
            (layout.params, _PARAMS, "text, whole numbers or booleans"),
        ):
            check_single(schema, names)
            for name in names:
                if name in self.kinds and self.kinds[name] not in kinds:
                    field = schema.field(name)
                    raise ConfigurationError(f"column {name!r} is {field.type}: it must hold {wanted}")
        self.tokens = tuple(name for name in TOKEN_FIELDS if name in self.kinds)
        self._exact = all(self.kinds[name] in ("integer", "null") for name in self.tokens)
        self.params = tuple(name for name in layout.params if name in self.kinds)

    def has(self, *names: str) -> bool:
        """Whether one of these columns is there."""
        return any(name in self.kinds for name in names)

    def rows(self, batch: Any) -> Iterator[CallInBatch | RowProblem]:
        """Each row, or what is wrong with it."""
        count = batch.num_rows
        column = {name: _values(batch, name, self.kinds[name]) for name in self._needed()}
        nothing = [None] * count
        tokens = [column[name] for name in self.tokens]
        models = [column[name] for name in self._layout.model if name in column]
        instants = [column[name] for name in self._layout.at if name in column]
        single = [column[name] for name in self.params]
        providers, responses, usages, params = (
            column.get(name, nothing) for name in ("provider", "response_model", "usage", "params")
        )
        for row in range(count):
            try:
                yield CallInBatch(
                    providers[row],
                    _first(models, row),
                    responses[row],
                    self._params(params[row], [values[row] for values in single]),
                    self._usage(usages[row], [values[row] for values in tokens]),
                    _first(instants, row),
                )
            except RowProblem as problem:
                yield problem

    def _needed(self) -> list[str]:
        names = ("provider", *self._layout.model, "response_model", "usage", "params", *self._layout.at, *self.params)
        return [name for name in dict.fromkeys((*names, *self.tokens)) if name in self.kinds]

    def _usage(self, text: str | None, tokens: Sequence[Any]) -> Usage:
        if text is not None:
            try:
                return Usage.from_dict(json.loads(text))
            except (UsageError, ValueError, TypeError, AttributeError) as error:
                raise RowProblem(f"column usage: {error}") from None
        if not self._exact:
            tokens = [_whole(name, value) for name, value in zip(self.tokens, tokens, strict=True)]
        return Usage(**dict(zip(self.tokens, tokens, strict=True)))

    def _params(self, text: str | None, values: Sequence[Any]) -> Params:
        if text is None:
            if not values:
                return ()
            return tuple((name, value) for name, value in zip(self.params, values, strict=True) if value is not None)
        try:
            params = json.loads(text)
        except ValueError as error:
            raise RowProblem(f"column params: {error}") from None
        if not isinstance(params, dict):
            raise RowProblem(f"column params: {text[:60]!r} is no JSON object")
        named = {name: value for name, value in zip(self.params, values, strict=True) if value is not None}
        merged: Mapping[str, Any] = {**params, **named}
        return tuple((name, value) for name, value in merged.items() if isinstance(value, str | int | bool))


def _values(batch: Any, name: str, kind: str) -> list[Any]:
    column = batch.column(name)
    if kind == "instant":
        column = _microseconds(column)
    values: list[Any] = column.to_pylist()
    return values


def _microseconds(column: Any) -> Any:
    """Instants of any unit as integers."""
    import pyarrow.compute as pc

    if hasattr(column, "dictionary_decode"):
        column = column.dictionary_decode()
    numbers, unit = column.cast("int64"), column.type.unit
    if unit == "ns":
        return pc.divide(numbers, 1_000)
    if unit == "us":
        return numbers
    each = 1_000_000 if unit == "s" else 1_000
    most = (2**63 - 1) // each  # beyond it is no date either
    return pc.multiply(
        pc.max_element_wise(pc.min_element_wise(numbers, most, skip_nulls=False), -most, skip_nulls=False), each
    )


def _first(columns: Sequence[Sequence[Any]], row: int) -> Any:
    for values in columns:
        if (value := values[row]) is not None:
            return value
    return None


def _whole(name: str, value: Any) -> int | None:
    """A token count as engines hold it: floats where a column has nulls, text from CSV."""
    if value is None:
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float | Decimal):
        if value != value:  # NaN is how numpy writes null
            return None
        if -(2**53) < value < 2**53 and int(value) == value:
            return int(value)
    elif isinstance(value, str) and value.isascii() and value.strip().isdigit() and len(value) < 19:
        return int(value)
    raise RowProblem(f"column {name}: {value!r} is no whole number")


def call_columns(pa: Any, schema: Any, layout: CallLayout, given: Mapping[str, Any]) -> CallColumns:
    """The columns of a schema; `given` holds what is the same in all rows. Raises ConfigurationError where neither
    says who bills and which model was called."""
    columns = CallColumns(pa, schema, layout)
    for name, names in (("provider", ("provider",)), ("model", layout.model)):
        if given.get(name) is None and not columns.has(*names):
            raise ConfigurationError(
                f"there is no column {' or '.join(names)} in {schema.names}: add it, or name the {name} for all rows"
            )
    if not columns.tokens and not columns.has("usage"):
        raise ConfigurationError(
            f"there is no column of tokens in {schema.names}, such as input_tokens, nor usage: rename yours"
        )
    if layout is OF_LEDGER and given.get("forced_at") is None and not columns.has(*layout.at):
        raise ConfigurationError(
            f"there is no column {' or '.join(layout.at)} in {schema.names}: add it, or name the instant for all rows"
        )
    return columns
