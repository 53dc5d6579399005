"""Prices the calls of record batches: `tokenmeter.batch.price` and `reprice`.

Each row goes the way of `Book.price`: the quote for its form of request is found once for each batch and period, so a
row costs building its usage and the arithmetic.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tokenmeter.batch.arrow_batches import arrow, widened
from tokenmeter.batch.call_columns import (
    BY_CALL,
    OF_LEDGER,
    CallColumns,
    CallInBatch,
    CallLayout,
    Params,
    RowProblem,
    call_columns,
)
from tokenmeter.cost import Cost
from tokenmeter.errors import ConfigurationError
from tokenmeter.money import plain
from tokenmeter.prices.components import check_params
from tokenmeter.prices.provider_prices import read_moment

if TYPE_CHECKING:
    from tokenmeter.prices.book import Book
    from tokenmeter.prices.quote import Quote

__all__ = ["priced", "repriced"]

At = datetime | date | str | None
_RESULTS: Final = (
    "",
    "_text",
    "_currency",
    "_status",
    "_rate_id",
    "_confidence",
    "_book",
    "_flags",
    "_reason",
    "_source",
)
_ROUND: Final = Context(prec=200, rounding=ROUND_HALF_EVEN)
_GRID: Final = Decimal(1).scaleb(-12)
_MOST: Final = Decimal(10**26)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_US, _LAST_US = ((datetime(year, 1, 2, tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1) for year in (1, 9999))
"""Between these an instant is a date in every time zone."""
_QUOTES_MOST: Final = 20_000
_CARRY_NOTHING: Final = frozenset({"delegated", "refused"})
"""Ends of calls that another call carries, or that a budget did not let out."""


def priced(
    batches: Any, *, provider: str | None, model: str | None, at: At, book: Book | None, params: Mapping[str, Any]
) -> Any:
    """The batches with the columns of `price`."""
    check_params(params)
    _check(at)
    given = {"provider": provider, "model": model, "params": tuple(params.items())}
    return _widened(batches, "cost", BY_CALL, given, datetime.now(UTC) if at is None else at, book)


def repriced(batches: Any, *, at: At, book: Book | None) -> Any:
    """The batches with the columns of `reprice`."""
    _check(at)
    return _widened(batches, "repriced", OF_LEDGER, {"params": (), "forced_at": at}, None, book)


def _check(at: At) -> None:
    """Raises ConfigurationError for an argument that is no instant."""
    if at is not None:
        try:
            read_moment(at, UTC)
        except ValueError as error:
            raise ConfigurationError(f"at: {error}") from None


def _widened(batches: Any, name: str, layout: CallLayout, given: Mapping[str, Any], at: At, book: Book | None) -> Any:
    pa = arrow()
    types = [(f"{name}{end}", pa.string()) for end in _RESULTS]
    types[0] = (name, pa.decimal128(38, 12))
    pricer = _Pricer(_book() if book is None else book, given, at, ledger=layout is OF_LEDGER)

    def prepare(schema: Any) -> Any:
        columns = call_columns(pa, schema, layout, given) if len(schema) else CallColumns(pa, schema, layout)
        return partial(pricer.results, columns)

    return widened(batches, types, prepare)


def _book() -> Book:
    """The book of the default meter, or that of this installation where none was configured."""
    meter = sys.modules.get("tokenmeter.default_meter")
    if meter is not None and meter.is_configured():
        book: Book = meter.default().book
        return book
    from tokenmeter.prices.book import load_book

    return load_book()


class _Priced(NamedTuple):
    """The result columns of one row."""

    amount: Decimal | None
    text: str | None
    currency: str | None
    status: str
    rate_id: str | None
    confidence: str | None
    book: str | None
    flags: str | None
    reason: str | None
    source: str | None


class _Pricer:
    """Prices rows by one book."""

    def __init__(self, book: Book, given: Mapping[str, Any], at: At, *, ledger: bool) -> None:
        """`at` is for rows that have no instant; `ledger` says that a call without tokens is unpriced."""
        self._book = book
        self._provider, self._model = given.get("provider"), given.get("model")
        self._params: Params = given["params"]
        self._forced, self._at, self._ledger = given.get("forced_at"), at, ledger
        self._instants = " or ".join((OF_LEDGER if ledger else BY_CALL).at)
        self._quotes: dict[tuple[Any, ...], Quote] = {}

    def results(self, columns: CallColumns, batch: Any, first: int) -> Sequence[Sequence[Any]]:
        """The values of the result columns of a batch of which the first row has this number."""
        ended = batch.column("end_state").to_pylist() if self._ledger and columns.has("end_state") else ()
        found = [
            _unpriced(f"the call was {ended[place]}")
            if ended and ended[place] in _CARRY_NOTHING
            else self._row(one, first + place)
            for place, one in enumerate(columns.rows(batch))
        ]
        return list(zip(*found, strict=True)) if found else [()] * len(_RESULTS)

    def _row(self, call: CallInBatch | RowProblem, number: int) -> _Priced:
        if isinstance(call, RowProblem):
            return _unpriced(f"row {number}, {call}")
        provider, model = call.provider or self._provider, call.model or self._model
        if provider is None or model is None:
            return _unpriced(f"row {number}, column {'model' if provider else 'provider'}: not known")
        at, usage = call.at, call.usage
        if isinstance(at, int) and not _FIRST_US < at < _LAST_US:
            return _unpriced(f"row {number}, column {self._instants}: no instant of the years 1 to 9999")
        if at is None and self._at is None and self._forced is None:
            return _unpriced(f"row {number}, column {self._instants}: not known")
        if self._ledger and usage.input_tokens is None and usage.output_tokens is None and not usage.quantities:
            return _unpriced("no usage is known")
        cost = self._cost(call, provider, model)
        if self._ledger and cost.amount is not None and not usage.quantities:
            for name in ("input_tokens", "output_tokens"):
                if getattr(usage, name) is None:
                    return _unpriced(f"{name} is not known")
        return _shown(cost)

    def _cost(self, call: CallInBatch, provider: str, model: str) -> Cost:
        params = call.params if not self._params else (*self._params, *call.params)
        at = call.at if self._forced is None else self._forced
        if at is None:
            at = self._at
        if type(at) is int and 0 < at < _LAST_US:
            instant = at / 1_000_000
            key = (provider, model, call.response_model, params)
            quote = self._quotes.get(key)
            if quote is None or not quote.since <= instant < quote.until:
                quote = self._book.quote(provider, model, call.response_model, dict(params), instant)
                if quote is not None:
                    if len(self._quotes) >= _QUOTES_MOST:
                        self._quotes.clear()
                    self._quotes[key] = quote
            if quote is not None:
                return quote.price(call.usage, at * 1000, instant)
        return self._book.price(
            call.usage, provider=provider, model=model, response_model=call.response_model,
            at=_EPOCH + timedelta(microseconds=at) if isinstance(at, int) else at, params=dict(params),
        )  # fmt: skip


def _unpriced(reason: str) -> _Priced:
    return _Priced(None, None, None, "unpriced", None, None, None, None, reason, None)


def _shown(cost: Cost) -> _Priced:
    amount, flags = cost.amount, cost.flags
    known, text = amount is not None, None
    if amount is not None and (int(amount.as_tuple().exponent) < -12 or abs(amount) >= _MOST):
        amount, text = _rounded(amount)
    return _Priced(
        amount, text, cost.currency if known else None, cost.status, cost.rate_id, cost.confidence, cost.book,
        ",".join(flags) if flags else None, cost.reason, cost.source if known else None,
    )  # fmt: skip


def _rounded(exact: Decimal) -> tuple[Decimal | None, str | None]:
    """What DECIMAL(38,12) holds of an amount, and its text where that is not all of it."""
    if abs(exact) >= _MOST:
        return None, plain(exact)
    rounded = exact.quantize(_GRID, context=_ROUND)
    return rounded, None if rounded == exact else plain(exact)
