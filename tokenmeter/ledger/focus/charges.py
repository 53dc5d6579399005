"""Charges of a ledger as FOCUS rows: one per period, SKU, unit price and set of tags.

A SKU is a provider, a model and a component. Periods are hours or days on the provider's clock, within the month of
that clock, which is the billing period. Amounts are exact and in the currency that the provider bills; the sums of
`ContractedCost` over usage are those of the ledger to the last digit. What the vendor has not billed yet is
provisional: `InvoiceId` is null, and `BilledCost` is what the ledger expects. Saved reconciliations say what was
billed (`billed.py`).

A call whose cost is the vendor's own figure has no charges: it is a row with the meter `call`, priced by the unit of
the currency. A call without a known cost has no row, since a cost of FOCUS is never null and unknown is not 0: such
calls are counted.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tokenmeter.components import component_of, field_of
from tokenmeter.ledger.bills.saved import saved_bills
from tokenmeter.ledger.focus.billed import BilledDays, BillRow, Bills
from tokenmeter.ledger.focus.charge_spool import ChargeSpool
from tokenmeter.ledger.focus.columns import unit_name
from tokenmeter.ledger.focus.focus_tags import FocusTags, crowded_tags
from tokenmeter.ledger.focus.row import WHOLE, ChargeKey, ChargeSums, FocusRow, bill_row_of, provider_of, row_of
from tokenmeter.ledger.list_price import ListPrice, divided, list_prices
from tokenmeter.ledger.report.periods import Zone
from tokenmeter.ledger.report.question import Question
from tokenmeter.ledger.report.selection import count_lost, select, unpriced_reasons
from tokenmeter.money import EXACT, plain

if TYPE_CHECKING:
    import sqlite3

__all__ = ["FocusExport", "export"]


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_MILLION: Final = Decimal(1_000_000)
_ONE: Final = Decimal(1)
_ZERO: Final = Decimal(0)
_COLUMNS: Final = (
    "ended_us", "provider", "model", "request_model", "region", "service_tier", "usage_source", "usage_sources",
    "usage_ranges", "amount", "currency", "list_amount", "charges", "rate_id", "dating", "confidence", "book",
    "covered_by", "cost_source", "account", "tags", "input_tokens", "output_tokens",
)  # fmt: skip
_TOTALS: Final = ("input_tokens", "output_tokens")


class _Line(NamedTuple):
    """A charge of one call in units of pricing."""

    component: str
    consumed: Decimal
    consumed_unit: str
    quantity: Decimal
    unit: str
    price: Decimal
    amount: Decimal


@dataclass(frozen=True, kw_only=True)
class FocusExport:
    """The charges by row, and what they leave out: calls without a known cost (by reason), calls that were lost, and
    tags of many values.

    Rows are made when they are read, since a row has many more columns than what is summed.
    """

    charges: Iterable[tuple[ChargeKey, ChargeSums]]
    period: str
    bill_rows: Sequence[BillRow] = ()
    unpriced: tuple[tuple[str | None, int], ...] = ()
    lost: int = 0
    left_tags: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[FocusRow]:
        yield from (row_of(key, sums, self.period) for key, sums in self.charges)
        yield from map(bill_row_of, self.bill_rows)

    @property
    def rows(self) -> list[FocusRow]:
        """All rows at once."""
        return list(self)

    @property
    def left_out(self) -> int:
        """How many calls have no row because their cost is not known."""
        return sum(calls for _, calls in self.unpriced)


def export(path: str, question: Question, *, period: str = "day", tags: Iterable[str] | None = None) -> FocusExport:
    """The charges of the calls that the question selects, in periods of a `day` or an `hour`.

    `tags` names the tags that rows are kept apart by; None is all that have few values. Raises LedgerError for a file
    that cannot be read, ConfigurationError for a tag in a condition that no call has.
    """
    with select(path, question) as (connection, where, values):
        bills = _bills(connection, question)
        kept = FocusTags(tags, crowded_tags(connection, where, values) if tags is None else ())
        charges = ChargeSpool(period)
        _add_up(charges, connection, where, values, period, kept, bills)
        unpriced = unpriced_reasons(connection, where, values)
        lost = count_lost(connection, question)
    return FocusExport(
        charges=charges, period=period, bill_rows=tuple(bills.rows()), unpriced=tuple(unpriced), lost=lost,
        left_tags=tuple(sorted(kept.left_out)),
    )  # fmt: skip


def _bills(connection: sqlite3.Connection, question: Question) -> Bills:
    """The bills of the question's days. What is selected by tags or conditions is no bill, and stays provisional."""
    if question.tags or question.where is not None:
        return Bills()
    since, until = (None if at is None else (at - _EPOCH) // _MICROSECOND for at in (question.since, question.until))
    saved = (one for one in saved_bills(connection) if not question.providers or one.provider in question.providers)
    return Bills(saved, since, until, question.models)


def _add_up(
    charges: ChargeSpool,
    connection: sqlite3.Connection,
    where: str,
    values: list[Any],
    period: str,
    tags: FocusTags,
    bills: Bills,
) -> None:
    query = f"SELECT {', '.join(_COLUMNS)} FROM calls WHERE {where} AND amount IS NOT NULL ORDER BY ended_us"  # noqa: S608
    if bills:
        query += ", id"
    for call in connection.execute(query, values):
        charges.reach(call["ended_us"] // 1_000_000)
        for key, line, listed, bounds in _charges(call, period, tags, bills):
            charges.sums(key).add(line.consumed, line.quantity, line.amount, listed.cost, bounds)
    charges.close()


def _charges(
    call: sqlite3.Row, period: str, tags: FocusTags, bills: Bills
) -> Iterator[tuple[ChargeKey, _Line, ListPrice, tuple[Decimal, Decimal]]]:
    amount, currency = Decimal(call["amount"]), call["currency"] or "XXX"
    lines = [_line(charge) for charge in json.loads(call["charges"] or "[]")]
    rest = amount
    for line in lines:
        rest = EXACT.subtract(rest, line.amount)
    if rest or not lines:  # the vendor's own figure, or nothing that was counted: the call as a whole
        lines.append(_Line(WHOLE, _ONE, "Calls", rest, currency, _ONE, rest))
    listed = None if call["list_amount"] is None else Decimal(call["list_amount"])
    prices = list_prices([(line.quantity, line.price, line.amount) for line in lines], amount, listed)
    provider = call["provider"] or "unknown"
    start = _period_start(period, provider_of(provider)[1], call["ended_us"] // 900_000_000)
    sources, ranges = json.loads(call["usage_sources"] or "{}"), json.loads(call["usage_ranges"] or "{}")
    model = call["model"] or call["request_model"] or "unknown"
    shared = (
        currency, call["rate_id"], call["region"], call["service_tier"], call["cost_source"], call["dating"],
        call["confidence"], call["book"],
    )  # fmt: skip
    tagged, plan = tags.of(call["tags"]), call["covered_by"]
    billed = bills.of(provider, currency, call["ended_us"])
    for line, price in zip(lines, prices, strict=True):
        measured = _measured(line)
        source = sources.get(measured, call["usage_source"])
        bounds = _bounds(line, ranges.get(measured), call[measured] if measured in _TOTALS else None)
        for part, listing, bounded, covered, end in _parts(line, price, bounds, model, plan, billed, call["ended_us"]):
            key = _key(start, provider, model, part, listing, source, (*shared, covered, call["account"], tagged, *end))
            yield key, part, listing, bounded


def _parts(
    line: _Line,
    price: ListPrice,
    bounds: tuple[Decimal, Decimal],
    model: str,
    plan: str | None,
    billed: BilledDays | None,
    ended_us: int,
) -> Iterator[tuple[_Line, ListPrice, tuple[Decimal, Decimal], str | None, tuple[bool, str | None, str | None]]]:
    """A charge in the parts that a plan or a package covers and that are paid for, and what they are covered by."""
    if billed is None:
        yield line, price, bounds, plan, (plan is None, None, None)
        return
    end = (billed.bill.invoice, billed.name)
    day = billed.day(ended_us)
    if plan is None and price.unit is not None and line.consumed > 0:
        used, package = billed.from_package(day, model, line.component, line.consumed)
        if used:
            part, listing = _share(line, price, used)
            billed.add(day, model, part.amount, listing.cost, free=True)
            if part == line:
                yield line, price, bounds, package, (False, *end)
                return
            yield part, listing, (used, used), package, (False, *end)
            low, high = (max(EXACT.subtract(bound, used), _ZERO) for bound in bounds)
            line, price, bounds = _less(line, part), _listed_less(price, listing), (low, high)
    billed.add(day, model, line.amount, price.cost, free=plan is not None)
    yield line, price, bounds, plan, (plan is None, *end)


def _share(line: _Line, price: ListPrice, used: Decimal) -> tuple[_Line, ListPrice]:
    """The part of a charge that is so much of its quantity; all of it where the part is no finite decimal."""
    quantity = divided(EXACT.multiply(line.quantity, used), line.consumed)
    if quantity is None or price.unit is None or used == line.consumed:
        return line, price
    part = line._replace(consumed=used, quantity=quantity, amount=EXACT.multiply(line.price, quantity))
    return part, price._replace(cost=EXACT.multiply(price.unit, quantity))


def _less(line: _Line, part: _Line) -> _Line:
    return line._replace(
        consumed=EXACT.subtract(line.consumed, part.consumed),
        quantity=EXACT.subtract(line.quantity, part.quantity),
        amount=EXACT.subtract(line.amount, part.amount),
    )


def _listed_less(price: ListPrice, part: ListPrice) -> ListPrice:
    return price._replace(cost=EXACT.subtract(price.cost, part.cost))


def _key(
    start: int, provider: str, model: str, line: _Line, listed: ListPrice, source: str, shared: tuple[Any, ...]
) -> ChargeKey:
    currency, rate_id, region, tier, *rest = shared
    price = line.price.normalize(EXACT)
    list_price = None if listed.unit is None else listed.unit.normalize(EXACT)
    return ChargeKey(
        start, provider, model, line.component, line.consumed_unit, line.unit, price, list_price, listed.basis,
        currency, rate_id, region, tier, source, *rest,
    )  # fmt: skip


def _line(charge: dict[str, Any]) -> _Line:
    """Tokens are priced by the million, as vendors' lists are; other units by the number that the price is for."""
    component, consumed = charge["component"], Decimal(charge["quantity"])
    rate, per, unit = Decimal(charge["rate"]), Decimal(charge["per"]), unit_name(charge["component"])
    if unit == "Tokens":
        by_million = divided(EXACT.multiply(rate, _MILLION), per)
        if by_million is not None:
            rate, per = by_million, _MILLION
    quantity = divided(consumed, per)
    if quantity is None:  # a price for three of something
        quantity, rate, per = consumed, EXACT.divide(rate, per), _ONE
    name = unit if per == 1 else f"{plain(per)} {unit}"
    return _Line(component, consumed, unit, quantity, name, rate, Decimal(charge["amount"]))


def _measured(line: _Line) -> str:
    """The field of the usage that says where the quantity comes from."""
    component = component_of(line.component)
    if line.component == WHOLE:
        return ""
    return field_of(line.component).usage if component is None or component.unit == "{token}" else component.usage


def _bounds(line: _Line, bounds: list[int] | None, total: int | None) -> tuple[Decimal, Decimal]:
    """Low and high of the quantity. The range of a total holds for the part of it that is billed here."""
    if bounds is None:
        return line.consumed, line.consumed
    billed_apart = _ZERO if total is None else EXACT.subtract(Decimal(total), line.consumed)
    low, high = (max(EXACT.subtract(Decimal(bound), billed_apart), _ZERO) for bound in bounds)
    return low, high


@cache
def _period_start(period: str, zone: str, quarter: int) -> int:
    """The start, in seconds, of the day or hour on a clock that holds a quarter of an hour since the epoch."""
    local = Zone.named(zone).local(datetime.fromtimestamp(quarter * 900, UTC))
    if period == "hour":
        return quarter * 900 - local.minute * 60
    return int(Zone.named(zone).midnight(local.year, local.month, local.day).timestamp())
