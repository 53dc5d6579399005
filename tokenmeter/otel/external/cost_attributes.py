"""What a span that somebody else made is told of its call, for little.

Most of it is the same for every call that one entry of the price book answers: who bills, the list, its dating, how
the call ended. That part is worked out once, by the same code as always (`CallSpans.enriching`), and kept; amounts and
the call's id are added to it. Where an attribute could differ otherwise (a dialect's, a converted amount, a vendor's
own cost, a list price beside the account's), nothing is kept and all of it is worked out again. A test holds both ways
against one another, so an attribute that is new there cannot be forgotten here.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from tokenmeter.money import plain
from tokenmeter.otel import semconv
from tokenmeter.otel.attributes import number

if TYPE_CHECKING:
    from tokenmeter.cost import Offer
    from tokenmeter.otel.external.receiver import Receiver
    from tokenmeter.record import Record

__all__ = ["Description", "describe"]

_KEPT_MOST: Final = 1000
_EACH: Final = (semconv.COST, semconv.COST_AMOUNT, semconv.COST_CACHE_SAVINGS)
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Description:
    """Attributes for a span: `kept`, the same object for many calls, and `own`. `encoded` is the keeper's to use."""

    __slots__ = ("kept", "own")

    def __init__(self, kept: Kept, own: dict[str, Any]) -> None:
        self.kept = kept
        self.own = own

    def attributes(self) -> dict[str, Any]:
        """All of them."""
        return {**self.kept.attributes, **self.own}


class Kept:
    """Attributes that many calls share. `encoded` is whatever a holder of spans makes of them, once."""

    __slots__ = ("attributes", "encoded", "offer")

    def __init__(self, attributes: Mapping[str, Any], offer: Offer | None) -> None:
        self.attributes = attributes
        self.offer = offer  # so that its identity, a part of the key, is not given to another
        self.encoded: bytes | None = None


_NONE: Final = Kept(_NOTHING, None)
_kept: dict[tuple[Any, ...], Kept] = {}


def describe(meter: Receiver, record: Record) -> Description:
    """What the span of a call is told: that of `CallSpans.enriching`, and the call's id."""
    spans = meter.spans
    cost = record.cost
    if (
        spans.dialects
        or meter.settings.exchange is not None
        or record.vendor_cost is not None
        or cost.list_total is not None
        or record.attempts
    ):
        return Description(_NONE, {**spans.enriching(record), semconv.CALL_ID: record.id})
    offer, usage = cost.offer, record.usage
    known = usage.input_tokens is not None and usage.output_tokens is not None and not usage.sources
    key = (
        id(offer), cost.status, cost.covered_by, cost.reason, record.provider, record.end,
        usage.source if known else record.usage_source,
        record.service_tier, record.flags, record.reason, *record.tags.items(),
    )  # fmt: skip
    kept = _kept.get(key)
    if kept is None:
        whole = spans.enriching(record)
        kept = Kept({name: value for name, value in whole.items() if name not in _EACH}, offer)
        if len(_kept) >= _KEPT_MOST:
            _kept.clear()
        _kept[key] = kept
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
    return Description(kept, own)
