"""Charges of a ledger as FOCUS rows: one per period, SKU, unit price and set of tags.

A SKU is a provider, a model and a component. Periods are hours or days on the provider's clock, within the month of
that clock, which is the billing period. Amounts are exact and in the currency that the provider bills; the sums per
currency are those of the ledger to the last digit. What the vendor has not billed yet is provisional: `InvoiceId` is
null, and `BilledCost` is what the ledger expects.

A call whose cost is the vendor's own figure has no charges: it is a row with the meter `call`, priced by the unit of
the currency. A call without a known cost has no row, since a cost of FOCUS is never null and unknown is not 0: such
calls are counted.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tokenmeter.components import component_of, field_of
from tokenmeter.ledger.focus.columns import unit_name
from tokenmeter.ledger.focus.list_price import ListPrice, divided, list_prices
from tokenmeter.ledger.report.periods import Zone
from tokenmeter.ledger.report.query import Question, count_lost, select, unpriced_reasons
from tokenmeter.money import EXACT, plain
from tokenmeter.providers.registry import load_providers

if TYPE_CHECKING:
    import sqlite3

__all__ = ["FocusExport", "FocusRow", "export"]

FocusRow = dict[str, "str | Decimal | datetime | None"]
"""One row, by column: null is None."""

_MILLION: Final = Decimal(1_000_000)
_ONE: Final = Decimal(1)
_ZERO: Final = Decimal(0)
_WHOLE: Final = "call"
_COLUMNS: Final = (
    "ended_us", "provider", "model", "request_model", "region", "service_tier", "usage_source", "usage_sources",
    "usage_ranges", "amount", "currency", "list_amount", "charges", "rate_id", "dating", "confidence", "book",
    "covered_by", "cost_source", "tags", "input_tokens", "output_tokens",
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


class _Key(NamedTuple):
    """What the charges of a row have in common."""

    start: int
    provider: str
    model: str
    component: str
    consumed_unit: str
    pricing_unit: str
    price: Decimal
    list_price: Decimal | None
    basis: str
    currency: str
    rate_id: str | None
    region: str | None
    tier: str | None
    source: str
    cost_source: str | None
    dating: str | None
    confidence: str | None
    book: str | None
    covered_by: str | None
    tags: str


@dataclass
class _Sums:
    consumed: Decimal = _ZERO
    quantity: Decimal = _ZERO
    amount: Decimal = _ZERO
    listed: Decimal = _ZERO
    calls: int = 0
    low: Decimal = _ZERO
    high: Decimal = _ZERO

    def add(self, line: _Line, listed: Decimal, bounds: tuple[Decimal, Decimal]) -> None:
        self.consumed = EXACT.add(self.consumed, line.consumed)
        self.quantity = EXACT.add(self.quantity, line.quantity)
        self.amount = EXACT.add(self.amount, line.amount)
        self.listed = EXACT.add(self.listed, listed)
        self.low = EXACT.add(self.low, bounds[0])
        self.high = EXACT.add(self.high, bounds[1])
        self.calls += 1


@dataclass(frozen=True, kw_only=True)
class FocusExport:
    """The rows, and what they leave out: calls without a known cost (by reason) and calls that the ledger lost."""

    rows: list[FocusRow] = field(default_factory=list)
    unpriced: tuple[tuple[str | None, int], ...] = ()
    lost: int = 0

    @property
    def left_out(self) -> int:
        """How many calls have no row because their cost is not known."""
        return sum(calls for _, calls in self.unpriced)


def export(path: str, question: Question, *, period: str = "day", tags: Iterable[str] | None = None) -> FocusExport:
    """The charges of the calls that the question selects, in periods of a `day` or an `hour`.

    `tags` names the tags that rows are kept apart by; None is all of them. Raises LedgerError for a file that cannot
    be read, ConfigurationError for a tag in a condition that no call has.
    """
    kept = None if tags is None else frozenset(tags)
    with select(path, question) as (connection, where, values):
        sums = _sums(connection, where, values, period, kept)
        unpriced = unpriced_reasons(connection, where, values)
        lost = count_lost(connection, question)
    rows = [_row(key, part, period) for key, part in sorted(sums.items(), key=lambda item: _order(item[0]))]
    return FocusExport(rows=rows, unpriced=tuple(unpriced), lost=lost)


def _order(key: _Key) -> tuple[Any, ...]:
    return tuple((value is None, value) if not isinstance(value, Decimal) else (False, value) for value in key)


def _sums(
    connection: sqlite3.Connection, where: str, values: list[Any], period: str, kept: frozenset[str] | None
) -> dict[_Key, _Sums]:
    found: dict[_Key, _Sums] = {}
    query = f"SELECT {', '.join(_COLUMNS)} FROM calls WHERE {where} AND amount IS NOT NULL"  # noqa: S608
    for call in connection.execute(query, values):
        for key, line, listed, bounds in _charges(call, period, kept):
            found.setdefault(key, _Sums()).add(line, listed.cost, bounds)
    return found


def _charges(
    call: sqlite3.Row, period: str, kept: frozenset[str] | None
) -> Iterator[tuple[_Key, _Line, ListPrice, tuple[Decimal, Decimal]]]:
    amount, currency = Decimal(call["amount"]), call["currency"] or "XXX"
    lines = [_line(charge) for charge in json.loads(call["charges"] or "[]")]
    rest = amount
    for line in lines:
        rest = EXACT.subtract(rest, line.amount)
    if rest or not lines:  # the vendor's own figure, or nothing that was counted: the call as a whole
        lines.append(_Line(_WHOLE, _ONE, "Calls", rest, currency, _ONE, rest))
    listed = None if call["list_amount"] is None else Decimal(call["list_amount"])
    prices = list_prices([(line.quantity, line.price, line.amount) for line in lines], amount, listed)
    provider = call["provider"] or "unknown"
    start = _period_start(period, _provider(provider)[1], call["ended_us"] // 900_000_000)
    sources, ranges = json.loads(call["usage_sources"] or "{}"), json.loads(call["usage_ranges"] or "{}")
    shared = (
        currency, call["rate_id"], call["region"], call["service_tier"], call["cost_source"], call["dating"],
        call["confidence"], call["book"], call["covered_by"], _tags(call["tags"], kept),
    )  # fmt: skip
    for line, price in zip(lines, prices, strict=True):
        measured = _measured(line)
        source = sources.get(measured, call["usage_source"])
        yield (
            _key(start, provider, call["model"] or call["request_model"] or "unknown", line, price, source, shared),
            line,
            price,
            _bounds(line, ranges.get(measured), call[measured] if measured in _TOTALS else None),
        )


def _key(
    start: int, provider: str, model: str, line: _Line, listed: ListPrice, source: str, shared: tuple[Any, ...]
) -> _Key:
    currency, rate_id, region, tier, *rest = shared
    price = line.price.normalize(EXACT)
    list_price = None if listed.unit is None else listed.unit.normalize(EXACT)
    return _Key(
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
    if line.component == _WHOLE:
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
def _tags(text: str, kept: frozenset[str] | None) -> str:
    tags: dict[str, Any] = json.loads(text)
    chosen = {name: tags[name] for name in sorted(tags) if kept is None or name in kept}
    return json.dumps(chosen, ensure_ascii=False, separators=(",", ":"))


@cache
def _provider(name: str) -> tuple[str, str]:
    """The display name and the time zone of a provider; of one that is not known its id and UTC."""
    found = load_providers().get(name)
    return (name, "UTC") if found is None else (found.name, found.timezone)


@cache
def _period_start(period: str, zone: str, quarter: int) -> int:
    """The start, in seconds, of the day or hour on a clock that holds a quarter of an hour since the epoch."""
    local = Zone.named(zone).local(datetime.fromtimestamp(quarter * 900, UTC))
    if period == "hour":
        return quarter * 900 - local.minute * 60
    return int(Zone.named(zone).midnight(local.year, local.month, local.day).timestamp())


def _period(start: int, period: str, zone: Zone) -> tuple[datetime, datetime, datetime, datetime]:
    """Begin and end of the charge period and of the month that holds it, in UTC."""
    begin = datetime.fromtimestamp(start, UTC)
    local = zone.local(begin)
    end = begin + timedelta(hours=1)
    if period == "day":
        after = (local + timedelta(days=1)).date()
        end = zone.midnight(after.year, after.month, after.day).astimezone(UTC)
    following = (local.replace(day=1) + timedelta(days=32)).date()
    month = zone.midnight(local.year, local.month, 1).astimezone(UTC)
    return begin, end, month, zone.midnight(following.year, following.month, 1).astimezone(UTC)


def _row(key: _Key, sums: _Sums, period: str) -> FocusRow:
    name, zone = _provider(key.provider)
    begin, end, month, month_end = _period(key.start, period, Zone.named(zone))
    sku = f"{key.provider}/{key.model}/{key.component}"
    estimated = key.source != "reported"
    row: FocusRow = {
        "BilledCost": sums.amount,
        "BillingAccountId": f"{key.provider}:unknown",
        "BillingAccountType": "API account",
        "BillingCurrency": key.currency,
        "BillingPeriodEnd": month_end,
        "BillingPeriodStart": month,
        "ChargeCategory": "Usage",
        "ChargeDescription": f"{key.model} {key.component}",
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodEnd": end,
        "ChargePeriodStart": begin,
        "ConsumedQuantity": sums.consumed,
        "ConsumedUnit": key.consumed_unit,
        "ContractedCost": sums.amount,
        "ContractedUnitPrice": key.price,
        "EffectiveCost": sums.amount,
        "HostProviderName": name,
        "InvoiceIssuerName": name,
        "ListCost": sums.listed,
        "ListUnitPrice": key.list_price,
        "PricingCategory": "Dynamic" if key.component == _WHOLE else "Standard",
        "PricingCurrency": key.currency,
        "PricingCurrencyContractedUnitPrice": key.price,
        "PricingCurrencyEffectiveCost": sums.amount,
        "PricingCurrencyListUnitPrice": key.list_price,
        "PricingQuantity": sums.quantity,
        "PricingUnit": key.pricing_unit,
        "ProviderName": name,
        "PublisherName": name,
        "RegionId": key.region,
        "RegionName": key.region,
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": f"{name} API",
        "ServiceProviderName": name,
        "ServiceSubcategory": "Generative AI",
        "SkuId": sku,
        "SkuMeter": key.component,
        "SkuPriceId": f"{key.rate_id or f'{key.provider}/{key.model}'}#{key.component}",
        "Tags": key.tags,
        "x_Provider": key.provider,
        "x_Model": key.model,
        "x_Calls": Decimal(sums.calls),
        "x_UsageSource": key.source,
        "x_ConsumedQuantityLow": sums.low if estimated else None,
        "x_ConsumedQuantityHigh": sums.high if estimated else None,
        "x_CostSource": key.cost_source,
        "x_ListCostBasis": key.basis,
        "x_PriceDating": key.dating,
        "x_PriceConfidence": key.confidence,
        "x_PriceBook": key.book,
        "x_ServiceTier": key.tier,
        "x_CoveredBy": key.covered_by,
    }
    return row
