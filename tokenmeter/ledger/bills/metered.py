"""Reads what the calls of a ledger used and cost, by day of a bill's clock, model and component.

Components are disjoint, as they were charged; what a bill's format cannot tell apart is put to the component that
contains it, and keeps its own price.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any, Final

from tokenmeter.components import component_of
from tokenmeter.cost import Cost
from tokenmeter.ledger.list_price import list_prices
from tokenmeter.ledger.valuation.stored_calls import params_of
from tokenmeter.money import EXACT
from tokenmeter.prices.book import Book
from tokenmeter.usage import TOKEN_FIELDS, Usage

__all__ = ["Key", "LedgerCall", "MeteredPart", "MeteredSpend", "day_start_us", "metered_calls", "metered_spend"]

Key = tuple[str, str, str]
"""Day on the bill's clock, model, and the vendor's id of the call where the bill has ids (else empty)."""

_FAILED: Final = frozenset({"closed_early", "cancelled", "error", "dropped"})
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FORM: Final = ("provider", "request_model", "response_model", "params", "service_tier", "region", "currency")
_COLUMNS: Final = (
    "id", "response_id", "started_us", "ended_us", "model", "request_model", "response_model", "end_state",
    "status_code", "status", "amount", "list_amount", "currency", "charges", "usage", "attempt_count", "cost_reason",
    "covered_by", "params", "service_tier", "region", "priced_at", "provider", *TOKEN_FIELDS,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class MeteredPart:
    """A quantity of a component at one price for one of it. `charged` is the component before it was folded."""

    component: str
    quantity: Decimal
    price: Decimal | None
    charged: str


@dataclass(frozen=True, slots=True)
class LedgerCall:
    """One call of the ledger that the vendor may have billed. `amount` is at list price, None if unpriced."""

    id: str
    response_id: str | None
    started_us: int
    ended_us: int
    model: str
    names: tuple[str, ...]
    failed: str | None
    """How it failed; None if it did not."""
    parts: tuple[MeteredPart, ...]
    amount: Decimal | None
    currency: str | None
    requests: int
    reason: str | None
    plan: str | None = None
    """The plan that pays for it, whose fee is no part of `amount`."""


@dataclass(slots=True)
class MeteredSpend:
    """Sums over calls, by key; of parts by (component, price, charged component)."""

    parts: dict[Key, dict[tuple[str, Decimal | None, str], Decimal]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(Decimal))
    )
    amounts: dict[Key, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    requests: dict[Key, int] = field(default_factory=lambda: defaultdict(int))
    failed_unknown: dict[Key, int] = field(default_factory=lambda: defaultdict(int))
    """Failed calls of which no usage is known."""
    names: dict[str, str] = field(default_factory=dict)
    """Every name that calls carried, in lower case, and the model it stands for."""
    unpriced: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    currencies: set[str] = field(default_factory=set)


def day_start_us(day: str, zone: tzinfo) -> int:
    """The first microsecond of a day on a clock, since the epoch."""
    at = datetime.fromisoformat(day).replace(tzinfo=zone)
    return int((at - _EPOCH) / timedelta(microseconds=1))


def metered_calls(
    connection: sqlite3.Connection, provider: str, since_us: int, until_us: int, known: frozenset[str], listed: Book
) -> Iterator[LedgerCall]:
    """The calls of a provider that ended in a span of time, in order.

    `known` are the components the bill tells; `listed` is a book of list prices, for calls that the account paid at
    others.
    """
    columns = ", ".join(_COLUMNS)
    cursor = connection.execute(
        f"SELECT {columns} FROM calls WHERE ended_us >= ? AND ended_us < ? AND provider = ?"  # noqa: S608
        " AND end_state NOT IN ('delegated', 'refused') ORDER BY ended_us, seq",
        (since_us, until_us, provider),
    )
    for values in cursor:
        yield _call(dict(zip(_COLUMNS, values, strict=True)), known, listed)


def _call(row: dict[str, Any], known: frozenset[str], book: Book) -> LedgerCall:
    charges = json.loads(row["charges"]) if row["charges"] else []
    parts = tuple(_charged(charges, row, known, book)) if charges else tuple(_counted(row, known))
    named = [row[name] for name in ("model", "response_model", "request_model") if row[name]]
    money = row["list_amount"] or row["amount"]
    status = row["status_code"]
    failed = row["end_state"] if row["end_state"] in _FAILED else None
    if failed is None and isinstance(status, int) and status >= 400:
        failed = f"status {status}"
    return LedgerCall(
        id=row["id"],
        response_id=row["response_id"],
        started_us=row["started_us"],
        ended_us=row["ended_us"],
        model=named[0] if named else "?",
        names=tuple(named),
        failed=failed,
        parts=parts,
        amount=None if money is None or row["status"] == "unpriced" else Decimal(money),
        currency=row["currency"],
        requests=row["attempt_count"] or 1,
        reason=row["cost_reason"],
        plan=row["covered_by"],
    )


def _charged(
    charges: list[dict[str, Any]], row: dict[str, Any], known: frozenset[str], book: Book
) -> Iterator[MeteredPart]:
    """The charges at list price. Where the account pays another, the book says it; else it follows from the sum.

    A part has no price where that is no finite decimal.
    """
    listed = None if row["list_amount"] is None else Decimal(row["list_amount"])
    if listed is not None and row["list_amount"] != row["amount"]:
        cost = _list_cost(row, book)
        if cost.amount == listed and cost.charges:
            charges = [one.to_dict() for one in cost.charges]
            listed = None
    lines = [
        (Decimal(str(one["quantity"])), EXACT.divide(Decimal(one["rate"]), Decimal(one["per"])), Decimal(one["amount"]))
        for one in charges
    ]
    prices = list_prices(lines, Decimal(row["amount"] or 0), listed)
    for charge, (quantity, _, _), price in zip(charges, lines, prices, strict=True):
        component = str(charge["component"])
        yield MeteredPart(_folded(component, known), quantity, price.unit, component)


def _list_cost(row: dict[str, Any], book: Book) -> Cost:
    form = (*(row[name] for name in _FORM),)
    at = row["priced_at"]
    return book.price(
        _usage(row), provider=row["provider"], model=row["request_model"] or row["response_model"] or "",
        response_model=row["response_model"], params=params_of(form),
        at=datetime.fromisoformat(at) if at else _EPOCH + timedelta(microseconds=row["ended_us"]),
    )  # fmt: skip


def _usage(row: dict[str, Any]) -> Usage:
    if row["usage"]:
        return Usage.from_dict(json.loads(row["usage"]))
    return Usage(**{name: row[name] for name in TOKEN_FIELDS})


def _counted(row: dict[str, Any], known: frozenset[str]) -> Iterator[MeteredPart]:
    """The tokens of a call without charges: free, unpriced, or priced by the vendor."""
    price = Decimal(0) if row["status"] == "free" else None
    for component, tokens in _usage(row).disjoint().items():
        if tokens:
            yield MeteredPart(_folded(component, known), Decimal(tokens), price, component)


def _folded(component: str, known: frozenset[str]) -> str:
    """The component itself if the bill tells it, else the nearest that contains it, else itself."""
    at: str | None = component
    while at is not None and at not in known:
        found = component_of(at)
        at = None if found is None else found.inside
    return component if at is None else at


def metered_spend(calls: Iterator[LedgerCall], key_of: Callable[[LedgerCall], Key], currency: str) -> MeteredSpend:
    """Add calls up by key. Calls in another currency are left out; those without one are counted."""
    spend = MeteredSpend()
    for call in calls:
        if call.currency is not None:
            spend.currencies.add(call.currency)
            if call.currency != currency:
                continue
        key = key_of(call)
        for name in call.names:
            spend.names.setdefault(name.lower(), call.model)
        sums = spend.parts[key]
        for part in call.parts:
            cell = (part.component, part.price, part.charged)
            sums[cell] = EXACT.add(sums[cell], part.quantity)
        if call.amount is not None:
            spend.amounts[key] = EXACT.add(spend.amounts[key], call.amount)
        else:
            spend.unpriced[call.reason or "no reason was kept"] += 1
        spend.requests[key] += call.requests
        if call.failed is not None and not call.parts:
            spend.failed_unknown[key] += 1
    return spend
