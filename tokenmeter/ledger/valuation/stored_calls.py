"""Reads calls of a ledger back into what pricing needs: usage, names, instant and parameters."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from tokenmeter.cost import Cost
from tokenmeter.prices.book import Book
from tokenmeter.usage import TOKEN_FIELDS, Usage

__all__ = ["StoredCall", "stored_calls"]

_PAGE: Final = 2_000
_COLUMNS: Final = (
    "seq", "id", "provider", "request_model", "response_model", "ended_us", "priced_at", "params", "service_tier",
    "region", "status", "amount", "currency", "usage", "finish_reasons", "response_id", *TOKEN_FIELDS,
)  # fmt: skip
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class StoredCall:
    """One call. `at` is the instant it was priced at; `amount` what the ledger says it cost, None if unpriced."""

    seq: int
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


def stored_calls(
    connection: sqlite3.Connection, since_us: int | None = None, until_us: int | None = None
) -> Iterator[list[StoredCall]]:
    """The calls that ended in a span of time, in pages, without those that other calls carry or a budget refused."""
    columns = ", ".join(_COLUMNS)
    last = -1
    while True:
        rows = connection.execute(
            f"SELECT {columns} FROM calls WHERE seq > ? AND ended_us >= ? AND ended_us < ?"  # noqa: S608
            " AND end_state NOT IN ('delegated', 'refused') ORDER BY seq LIMIT ?",
            (last, -(2**62) if since_us is None else since_us, 2**62 if until_us is None else until_us, _PAGE),
        ).fetchall()
        if not rows:
            return
        last = rows[-1][0]
        yield [_call(dict(zip(_COLUMNS, row, strict=True))) for row in rows]


def _call(row: dict[str, Any]) -> StoredCall:
    params = json.loads(row["params"]) if row["params"] else {}
    for name in ("service_tier", "region"):
        if row[name] is not None:
            params.setdefault(name, row[name])
    if row["currency"] is not None:
        params["currency"] = row["currency"]
    usage = (
        Usage.from_dict(json.loads(row["usage"]))
        if row["usage"]
        else Usage(**{name: row[name] for name in TOKEN_FIELDS})
    )
    at = row["priced_at"]
    priced = row["status"] != "unpriced" and row["amount"] is not None
    return StoredCall(
        seq=row["seq"],
        id=row["id"],
        provider=row["provider"],
        model=row["request_model"] or row["response_model"] or "",
        response_model=row["response_model"],
        at=datetime.fromisoformat(at) if at else _EPOCH + timedelta(microseconds=row["ended_us"]),
        params=params,
        usage=usage,
        amount=Decimal(row["amount"]) if priced else None,
        currency=row["currency"],
        finish_reasons=tuple(json.loads(row["finish_reasons"])) if row["finish_reasons"] else (),
        response_id=row["response_id"],
    )
