"""`describe`: the cost attributes for a span of another instrumentation, mostly from a cache.

Most attributes are equal for all calls with the same entry of the price book: provider, price list, its date, how the
call ended. `CallSpans.enriching` computes them once and they are shared; amounts and the call's id are added for each.
Where an attribute may vary otherwise (dialects, converted amounts, a vendor's own cost, a list price beside the
account's), nothing is shared and all are computed. A test compares both ways, so a new attribute there cannot be
forgotten here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from tokenmeter._support.bounded import BoundedDict
from tokenmeter._support.empty import EMPTY
from tokenmeter.calls.usual_call import record_of
from tokenmeter.money import plain
from tokenmeter.otel import semconv
from tokenmeter.otel.attributes import number
from tokenmeter.otel.external.usual_span import UsualSpan

if TYPE_CHECKING:
    from tokenmeter.calls.usual_call import Settled
    from tokenmeter.offers import Offer
    from tokenmeter.otel.external.receiver import Receiver

__all__ = ["CostAttributes", "SharedAttributes", "describe"]

_EACH: Final = (semconv.COST, semconv.COST_AMOUNT, semconv.COST_CACHE_SAVINGS)


class CostAttributes:
    """Attributes for a span: `shared`, one object for many calls, and `own`."""

    __slots__ = ("own", "shared")

    def __init__(self, shared: SharedAttributes, own: dict[str, Any]) -> None:
        self.shared = shared
        self.own = own

    def attributes(self) -> dict[str, Any]:
        """All of them."""
        return {**self.shared.attributes, **self.own}


class SharedAttributes:
    """Attributes of many calls. `encoded` is for an encoder that wants to encode them once."""

    __slots__ = ("attributes", "encoded", "offer")

    def __init__(self, attributes: Mapping[str, Any], offer: Offer | None) -> None:
        self.attributes = attributes
        self.offer = offer  # referenced, so that no other offer gets its `id`, which is in the key
        self.encoded: bytes | None = None


_NONE: Final = SharedAttributes(EMPTY, None)
_NOTE: Final = "cost"
_NOTES_MOST: Final = 100
_kept: Final[BoundedDict[tuple[Any, ...], SharedAttributes]] = BoundedDict(1000)


def describe(meter: Receiver, settled: Settled) -> CostAttributes:
    """The attributes of `CallSpans.enriching`, and the call's id."""
    if isinstance(settled, UsualSpan):
        known = _described(meter, settled)
        if known is not None:
            return known
    record = record_of(settled)
    spans = meter.spans
    cost = record.cost
    if (
        spans.dialects
        or meter.settings.exchange is not None
        or record.vendor_cost is not None
        or cost.list_total is not None
        or record.attempts
    ):
        return CostAttributes(_NONE, {**spans.enriching(record), semconv.CALL_ID: record.id})
    offer, usage = cost.offer, record.usage
    plain_counts = usage.input_tokens is not None and usage.output_tokens is not None and not usage.sources
    key = (
        id(offer), cost.status, cost.covered_by, cost.reason, record.provider, record.end,
        usage.source if plain_counts else record.usage_source,
        record.service_tier, record.flags, record.reason, *record.tags.items(),
    )  # fmt: skip
    shared = _kept.get(key)
    if shared is None:
        every = spans.enriching(record)
        common = {name: value for name, value in every.items() if name not in _EACH}
        shared = _kept.put(key, SharedAttributes(common, offer))
    own: dict[str, Any] = {semconv.CALL_ID: record.id}
    amount = cost.amount
    if amount is not None:
        as_float = number(amount)
        if as_float is not None:
            own[semconv.COST] = as_float
        own[semconv.COST_AMOUNT] = plain(amount)
        saved = cost.cache_saved
        if saved:
            own[semconv.COST_CACHE_SAVINGS] = plain(saved)
    return CostAttributes(shared, own)


def _described(meter: Receiver, usual: UsualSpan) -> CostAttributes | None:
    """The same of a usual call, whose record is not needed; None where there is none like it yet."""
    bill = usual.bill
    if bill is None or meter.spans.dialects or meter.settings.exchange is not None:
        return None
    notes = usual.form.notes
    key: object = (_NOTE, *usual.tags.items()) if usual.tags else _NOTE
    shared: SharedAttributes | None = notes.get(key)
    if shared is None or shared.offer is not bill.quote.offer:
        shared = describe(meter, usual.record).shared
        if shared.offer is not bill.quote.offer:
            return None
        if len(notes) < _NOTES_MOST:
            notes[key] = shared
    prices = bill.prices
    own: dict[str, Any] = {
        semconv.CALL_ID: usual.known_id,
        semconv.COST: prices.number(bill.amount),
        semconv.COST_AMOUNT: prices.plain(bill.amount),
    }
    if bill.saved:
        own[semconv.COST_CACHE_SAVINGS] = prices.plain(bill.saved)
    return CostAttributes(shared, own)
