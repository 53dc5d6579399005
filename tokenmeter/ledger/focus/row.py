"""One FOCUS row: what its charges have in common and add up to, as the columns of every version."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Final, NamedTuple

from tokenmeter.ledger.focus.billed import BillRow
from tokenmeter.ledger.report.periods import Zone
from tokenmeter.money import EXACT
from tokenmeter.providers.registry import load_providers

__all__ = ["WHOLE", "ChargeKey", "ChargeSums", "FocusRow", "bill_row_of", "provider_of", "row_of"]

FocusRow = dict[str, "str | Decimal | datetime | None"]
"""One row, by column: null is None."""

WHOLE: Final = "call"
"""The meter of a cost that has no charges."""
_ZERO: Final = Decimal(0)
_HASH: Final = re.compile(r"key-[0-9a-f]{12}")
"""An account that nobody named (`calls/accounts.py`)."""


class ChargeKey(NamedTuple):
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
    account: str | None
    tags: str
    billed: bool = True
    """Whether it is paid for: what a plan or a package covers is not."""
    invoice: str | None = None
    bill: str | None = None
    """The reconciliation that the amount is billed by; None while it is provisional."""


@dataclass(slots=True)
class ChargeSums:
    """What the charges of a row add up to."""

    consumed: Decimal = _ZERO
    quantity: Decimal = _ZERO
    amount: Decimal = _ZERO
    listed: Decimal = _ZERO
    calls: int = 0
    low: Decimal = _ZERO
    high: Decimal = _ZERO

    def add(
        self, consumed: Decimal, quantity: Decimal, amount: Decimal, listed: Decimal, bounds: tuple[Decimal, Decimal]
    ) -> None:
        """Add one charge; `bounds` are low and high of what was consumed."""
        self.consumed = EXACT.add(self.consumed, consumed)
        self.quantity = EXACT.add(self.quantity, quantity)
        self.amount = EXACT.add(self.amount, amount)
        self.listed = EXACT.add(self.listed, listed)
        self.low = EXACT.add(self.low, bounds[0])
        self.high = EXACT.add(self.high, bounds[1])
        self.calls += 1

    def values(self) -> tuple[Decimal, Decimal, Decimal, Decimal, int, Decimal, Decimal]:
        """The fields in their order."""
        return self.consumed, self.quantity, self.amount, self.listed, self.calls, self.low, self.high


@cache
def provider_of(name: str) -> tuple[str, str]:
    """The display name and the time zone of a provider; of one that is not known its id and UTC."""
    found = load_providers().get(name)
    return (name, "UTC") if found is None else (found.name, found.timezone)


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


def row_of(key: ChargeKey, sums: ChargeSums, period: str) -> FocusRow:
    """The row, with the columns of all versions; those that are not there are null."""
    _, zone = provider_of(key.provider)
    begin, end, month, month_end = _period(key.start, period, Zone.named(zone))
    sku = f"{key.provider}/{key.model}/{key.component}"
    estimated = key.source != "reported"
    paid = sums.amount if key.billed else _ZERO
    return _common(key.provider, key.currency, (begin, end, month, month_end)) | {
        "BilledCost": paid,
        "ChargeCategory": "Usage",
        "ChargeDescription": f"{key.model} {key.component}",
        "ConsumedQuantity": sums.consumed,
        "ConsumedUnit": key.consumed_unit,
        "ContractedCost": sums.amount,
        "ContractedUnitPrice": key.price,
        "EffectiveCost": paid,
        "InvoiceId": key.invoice,
        "ListCost": sums.listed,
        "ListUnitPrice": key.list_price,
        "PricingCategory": "Dynamic" if key.component == WHOLE else "Standard",
        "PricingCurrencyContractedUnitPrice": key.price,
        "PricingCurrencyEffectiveCost": paid,
        "PricingCurrencyListUnitPrice": key.list_price,
        "PricingQuantity": sums.quantity,
        "PricingUnit": key.pricing_unit,
        "RegionId": key.region,
        "RegionName": key.region,
        "SkuId": sku,
        **_sub_account(key.account),
        "SkuMeter": key.component,
        "SkuPriceId": f"{key.rate_id or f'{key.provider}/{key.model}'}#{key.component}",
        "Tags": key.tags,
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
        "x_Bill": key.bill,
    }


def _sub_account(account: str | None) -> FocusRow:
    """The key that paid, or the account that the user named, is a part of the provider's unknown billing account."""
    if account is None:
        return {"SubAccountId": None, "SubAccountName": None, "SubAccountType": None}
    hashed = _HASH.fullmatch(account)
    return {
        "SubAccountId": account,
        "SubAccountName": None if hashed else account,
        "SubAccountType": "API key" if hashed else "Account",
    }


def bill_row_of(row: BillRow) -> FocusRow:
    """A charge that only a bill has. All costs are what is billed: no usage is behind them that a list prices."""
    _, zone = provider_of(row.provider)
    begin, end = (datetime.fromtimestamp(at // 1_000_000, UTC) for at in (row.start_us, row.end_us))
    _, _, month, month_end = _period(row.start_us // 1_000_000, "hour", Zone.named(zone))
    described = " ".join(part for part in (row.model, row.component, row.cause) if part)
    costs = ("BilledCost", "ContractedCost", "EffectiveCost", "ListCost", "PricingCurrencyEffectiveCost")
    return _common(row.provider, row.currency, (begin, min(end, month_end), month, month_end)) | {
        **dict.fromkeys(costs, row.amount),
        "ChargeCategory": row.category,
        "ChargeDescription": described,
        "InvoiceId": row.invoice,
        "x_Model": row.model,
        "x_Calls": _ZERO,
        "x_UsageSource": "bill",
        "x_CostSource": "bill",
        "x_ListCostBasis": "bill",
        "x_Cause": row.cause,
        "x_Evidence": row.evidence,
        "x_Bill": row.bill,
    }


def _common(provider: str, currency: str, period: tuple[datetime, datetime, datetime, datetime]) -> FocusRow:
    """What rows of usage and rows of bills have in common."""
    name, _ = provider_of(provider)
    begin, end, month, month_end = period
    return {
        "BillingAccountId": f"{provider}:unknown",
        "BillingAccountType": "API account",
        "BillingCurrency": currency,
        "BillingPeriodEnd": month_end,
        "BillingPeriodStart": month,
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodEnd": end,
        "ChargePeriodStart": begin,
        "HostProviderName": name,
        "InvoiceIssuerName": name,
        "PricingCurrency": currency,
        "ProviderName": name,
        "PublisherName": name,
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": f"{name} API",
        "ServiceProviderName": name,
        "ServiceSubcategory": "Generative AI",
        "x_Provider": provider,
    }
