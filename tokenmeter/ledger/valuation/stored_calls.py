"""Reads calls of a ledger back into what pricing needs: usage, names, instant and parameters."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from tokenmeter.cost import Cost
from tokenmeter.prices.book import Book
from tokenmeter.usage import TOKEN_FIELDS, Usage

__all__ = ["CallRow", "Form", "StoredCall", "params_of", "rows_at", "stored_rows"]

_PAGE: Final = 5_000
_SOME: Final = 500
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
Form = tuple[str | None, ...]
"""What calls have in common that are priced alike: provider, models, parameters, tier, region and price list."""
_FORM: Final = ("provider", "request_model", "response_model", "params", "service_tier", "region", "currency")
_OWN: Final = (
    "id", "status", "amount", "ended_us", "priced_at", "finish_reasons", "response_id", "usage", *TOKEN_FIELDS,
)  # fmt: skip
_COLUMNS: Final = (*_FORM, *_OWN)
_PLACE: Final = {name: place for place, name in enumerate(_COLUMNS)}
_ID, _STATUS, _AMOUNT, _ENDED, _PRICED, _FINISH, _RESPONSE, _USAGE = (_PLACE[name] for name in _OWN[:8])
_CURRENCY: Final = _PLACE["currency"]
_USUAL: Final = (
    "input_tokens", "output_tokens", "cache_read_input_tokens", "cache_write_input_tokens", "reasoning_output_tokens",
)  # fmt: skip
_IN, _OUT, _READ, _WRITTEN, _THOUGHT = (_PLACE[name] for name in _USUAL)
_REST: Final = tuple(_PLACE[name] for name in TOKEN_FIELDS if name not in _USUAL)


class CallRow(tuple[Any, ...]):
    """One call as it was read, before anything is made of it."""

    __slots__ = ()

    @property
    def form(self) -> Form:
        """What the call has in common with others that are priced alike."""
        return self[: len(_FORM)]

    @property
    def ids(self) -> tuple[str, str | None]:
        """The call's id and the vendor's id of its answer."""
        return self[_ID], self[_RESPONSE]

    @property
    def seq(self) -> int:
        """The call's place in the ledger."""
        place: int = self[-1]
        return place

    @property
    def spent(self) -> str | None:
        """What the ledger says it cost, as text; None if unpriced."""
        return None if self[_STATUS] == "unpriced" else self[_AMOUNT]

    @property
    def currency(self) -> str | None:
        """The currency of its price list."""
        currency: str | None = self[_CURRENCY]
        return currency

    @property
    def finish_reasons(self) -> str | None:
        """Why the model stopped, as JSON."""
        reasons: str | None = self[_FINISH]
        return reasons

    def instant(self) -> float:
        """The instant it was priced at, in seconds since 1970."""
        at = self[_PRICED]
        return datetime.fromisoformat(at).timestamp() if at else self[_ENDED] / 1e6

    def usual(self) -> tuple[int, int, int, int, int] | None:
        """Input, output, cache read, cache write and reasoning, where it used nothing else and totals are known."""
        if self[_USAGE]:
            return None
        for place in _REST:
            if self[place]:
                return None
        whole_in, whole_out, read, written, thought = self[_IN], self[_OUT], self[_READ], self[_WRITTEN], self[_THOUGHT]
        if whole_in is None or whole_out is None:
            return None
        return whole_in, whole_out, read or 0, written or 0, thought or 0

    def call(self) -> StoredCall:
        """The call with everything that pricing needs."""
        row = dict(zip(_COLUMNS, self, strict=False))
        usage = (
            Usage.from_dict(json.loads(row["usage"]))
            if row["usage"]
            else Usage(**{name: row[name] for name in TOKEN_FIELDS})
        )
        at = row["priced_at"]
        spent = self.spent
        return StoredCall(
            id=row["id"],
            provider=row["provider"],
            model=row["request_model"] or row["response_model"] or "",
            response_model=row["response_model"],
            at=datetime.fromisoformat(at) if at else _EPOCH + timedelta(microseconds=row["ended_us"]),
            params=params_of(self.form),
            usage=usage,
            amount=None if spent is None else Decimal(spent),
            currency=row["currency"],
            finish_reasons=tuple(json.loads(row["finish_reasons"])) if row["finish_reasons"] else (),
            response_id=row["response_id"],
        )


def params_of(form: Form) -> dict[str, Any]:
    """The parameters that prices depend on, and the price list the call was billed by."""
    _, _, _, text, tier, region, currency = form
    params: dict[str, Any] = json.loads(text) if text else {}
    for name, value in (("service_tier", tier), ("region", region)):
        if value is not None:
            params.setdefault(name, value)
    if currency is not None:
        params["currency"] = currency
    return params


@dataclass(frozen=True, slots=True)
class StoredCall:
    """One call. `at` is the instant it was priced at; `amount` what the ledger says it cost, None if unpriced."""

    id: str
    provider: str | None
    model: str
    response_model: str | None
    at: datetime
    params: Mapping[str, Any]
    usage: Usage
    amount: Decimal | None
    currency: str | None
    finish_reasons: tuple[str, ...]
    response_id: str | None = None

    def price(self, book: Book, at: datetime | None) -> Cost | str:
        """What the call costs by a book, on the price list it was billed by; `at` None is its own instant.

        A text says why it cannot be priced.
        """
        usage = self.usage
        if self.provider is None or not (self.model or self.response_model):
            return "provider or model is not known"
        if usage.input_tokens is None and usage.output_tokens is None and not usage.quantities:
            return "no usage is known"
        cost = book.price(
            usage, provider=self.provider, model=self.model, response_model=self.response_model,
            at=self.at if at is None else at, params=self.params,
        )  # fmt: skip
        if cost.amount is None:
            return cost.reason or "unpriced"
        for name in ("input_tokens", "output_tokens"):
            if getattr(usage, name) is None and not usage.quantities:
                return f"{name} is not known"
        return cost


def stored_rows(
    connection: sqlite3.Connection, since_us: int | None = None, until_us: int | None = None
) -> Iterator[list[CallRow]]:
    """The calls that ended in a span of time, in pages, without those that other calls carry or a budget refused."""
    # The sign keeps SQLite from the index by instant, which would sort each page anew.
    spans = [("+ended_us >= ?", since_us), ("+ended_us < ?", until_us)]
    given = [(text, at) for text, at in spans if at is not None]
    where = " AND ".join(["seq > ?", "end_state NOT IN ('delegated', 'refused')", *(text for text, _ in given)])
    query = f"SELECT {', '.join(_COLUMNS)}, seq FROM calls WHERE {where} ORDER BY seq LIMIT {_PAGE}"  # noqa: S608
    last = -(2**62)
    while rows := connection.execute(query, (last, *(at for _, at in given))).fetchall():
        last = rows[-1][-1]
        yield list(map(CallRow, rows))


def rows_at(connection: sqlite3.Connection, places: Sequence[int]) -> Iterator[list[CallRow]]:
    """The calls at some places (`seq`), in pages."""
    for first in range(0, len(places), _SOME):
        some = places[first : first + _SOME]
        query = f"SELECT {', '.join(_COLUMNS)}, seq FROM calls WHERE seq IN ({', '.join('?' * len(some))})"  # noqa: S608
        yield list(map(CallRow, connection.execute(query, some)))
