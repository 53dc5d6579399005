"""A record as span attributes: the standard ones and ours.

Reported numbers go under their standard names as integers; counted and estimated ones under
`tokenmeter.usage.estimated.`, numbers of an answer that broke off under `tokenmeter.usage.partial.`, unless
`export_estimates` puts them all under the standard names. An attribute whose value is not known is not sent.

Everything an exporter could choke on is dealt with here, because one bad value would lose a whole batch of other
people's spans: strings are made encodable and bounded, integers kept within 64 bits, floats finite.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from tokenmeter._support.guard import guard
from tokenmeter.money import plain
from tokenmeter.otel import semconv
from tokenmeter.record import VENDOR_GAP, End, Record
from tokenmeter.usage import TOKEN_FIELDS, Source, Usage

if TYPE_CHECKING:
    from tokenmeter.calls.usual_call import Bill, UsualCall
    from tokenmeter.cost import Cost
    from tokenmeter.exchange import Converted
    from tokenmeter.offers import Offer

__all__ = [
    "Attributes",
    "SettledForm",
    "call_attributes",
    "converted_attributes",
    "cost_attributes",
    "end_attributes",
    "number",
    "settled_attributes",
    "text",
    "usage_attributes",
]

Attributes = dict[str, Any]
TEXT_MOST: Final = 1024
_INT64: Final = 2**63
_ELSEWHERE: Final = {
    Source.COUNTED: semconv.ESTIMATED,
    Source.ESTIMATED: semconv.ESTIMATED,
    Source.PARTIAL: semconv.PARTIAL,
}
_tokens_of: Final = operator.attrgetter(*TOKEN_FIELDS)
_OFFERS_MOST: Final = 1000
_offers: dict[int, tuple[Offer, Attributes]] = {}


def text(value: object) -> str:
    """A value as a string that every exporter can send."""
    answer = value if type(value) is str else str(value)
    if len(answer) > TEXT_MOST:
        answer = answer[:TEXT_MOST]
    # A lone surrogate cannot be encoded, and would make the OTLP exporter drop the batch.
    return answer if answer.isascii() else answer.encode("utf-8", "replace").decode()


def whole(value: int) -> int | str:
    """A count as an integer, or as text where 64 bits cannot hold it."""
    return value if -_INT64 <= value < _INT64 else str(value)


def number(value: Decimal) -> float | None:
    """An exact amount as a float, for backends that compute; None where a float cannot hold it."""
    answer = float(value)
    return answer if math.isfinite(answer) else None


def settled_attributes(answer: Attributes, record: Record, *, names: Mapping[str, str], export_estimates: bool) -> None:
    """Add what a span of our own learns when its call settles, by the conventions."""
    answer[semconv.CALL_ID] = record.id
    if record.response_model is not None:
        answer[semconv.RESPONSE_MODEL] = text(record.response_model)
    if record.response_id is not None:
        answer[semconv.RESPONSE_ID] = text(record.response_id)
    if record.finish_reasons:
        answer[semconv.FINISH_REASONS] = tuple([text(reason) for reason in record.finish_reasons])
    if record.time_to_first_chunk is not None:
        answer[semconv.TIME_TO_FIRST_CHUNK] = record.time_to_first_chunk
    if record.end is End.ERROR:
        answer[semconv.ERROR_TYPE] = text(record.error_type or "_OTHER")
    if record.scope:
        _add_scope(answer, record.scope)
    usage_attributes(answer, record.usage, record.operation, names, export_estimates)


class SettledForm:
    """The attributes that settled calls of one form share (`calls/usual_call.py`), learnt from the first of them."""

    __slots__ = ("_absent", "_covered_by", "_names", "_nothing", "_offer", "_shared", "_tokens", "_whole")

    def __init__(
        self, first: Record, attributes: Attributes, names: Mapping[str, str], *, export_estimates: bool
    ) -> None:
        own: Attributes = dict.fromkeys(_OF_ONE)
        usage_attributes(own, first.usage, first.operation, names, export_estimates)
        self._shared = {name: value for name, value in attributes.items() if name not in own}
        there = [field for field in TOKEN_FIELDS if getattr(first.usage, field) is not None]
        self._names = tuple(names.get(field) or semconv.OTHER_USAGE + field for field in there)
        self._tokens = operator.attrgetter(*there)
        absent = [field for field in TOKEN_FIELDS if field not in there]
        self._absent = operator.attrgetter(*absent)
        self._nothing = (None,) * len(absent)
        self._offer, self._covered_by = first.cost.offer, first.cost.covered_by
        self._whole: tuple[Mapping[str, Any], Attributes] | None = None

    def fits(self, bill: Bill, usage: Usage) -> bool:
        """Whether the cost and the usage of a call say of themselves what those of the first call said."""
        quote = bill.quote
        return (
            quote.offer is self._offer and quote.covered_by == self._covered_by and self._absent(usage) == self._nothing
        )

    def of(self, usual: UsualCall, started: Mapping[str, Any] | None) -> Attributes:
        """The attributes of a call of this form that fits, after those that the span had from the start."""
        bill = usual.bill
        assert bill is not None
        if started is None:
            answer = self._shared.copy()
        elif self._whole is None or self._whole[0] is not started:
            answer = {**started, **self._shared}
        else:
            answer = self._whole[1].copy()  # with values of another call, each of which is replaced
        usual.take_id()
        answer[semconv.CALL_ID] = usual.known_id
        response_id = usual.response_id
        if response_id is not None:
            answer[semconv.RESPONSE_ID] = text(response_id)
        else:
            answer.pop(semconv.RESPONSE_ID, None)
        for name, tokens in zip(self._names, self._tokens(usual.usage), strict=False):
            answer[name] = tokens if -_INT64 <= tokens < _INT64 else str(tokens)
        prices = bill.prices
        answer[semconv.COST] = prices.number(bill.amount)
        answer[semconv.COST_AMOUNT] = prices.plain(bill.amount)
        if bill.saved:
            answer[semconv.COST_CACHE_SAVINGS] = prices.plain(bill.saved)
        else:
            answer.pop(semconv.COST_CACHE_SAVINGS, None)
        if started is not None and (self._whole is None or self._whole[0] is not started):
            self._whole = (started, answer.copy())
        if usual.time_to_first_chunk is not None:
            answer[semconv.TIME_TO_FIRST_CHUNK] = usual.time_to_first_chunk
        if usual.scope:
            _add_scope(answer, usual.scope)
        return answer


_OF_ONE: Final = (
    semconv.CALL_ID, semconv.RESPONSE_ID, semconv.TIME_TO_FIRST_CHUNK, semconv.SCOPE, semconv.SCOPE_PATH,
    semconv.COST, semconv.COST_AMOUNT, semconv.COST_CACHE_SAVINGS, semconv.COST_LIST_AMOUNT,
)  # fmt: skip
"""The attributes beside its usage that say something of one call alone."""


def _add_scope(answer: Attributes, scope: tuple[str, ...]) -> None:
    answer[semconv.SCOPE] = text(scope[-1])
    if len(scope) > 1:
        answer[semconv.SCOPE_PATH] = tuple([text(part) for part in scope])


def _add_amounts(answer: Attributes, cost: Cost) -> None:
    amount = cost.amount
    if amount is not None:
        as_float = number(amount)
        if as_float is not None:
            answer[semconv.COST] = as_float
        answer[semconv.COST_AMOUNT] = plain(amount)
        saved = cost.cache_saved
        if saved:
            answer[semconv.COST_CACHE_SAVINGS] = plain(saved)
    listed = cost.list_total
    if listed is not None:
        answer[semconv.COST_LIST_AMOUNT] = plain(listed.amount)


def usage_attributes(
    answer: Attributes, usage: Usage, operation: str, names: Mapping[str, str], export_estimates: bool
) -> None:
    """Add the tokens, each under the name that its source allows."""
    mixed = bool(usage.sources)
    general = usage.source
    reported = general is Source.REPORTED and not mixed
    for field, tokens in zip(TOKEN_FIELDS, _tokens_of(usage), strict=True):
        if tokens is None:
            continue
        if not tokens and field == "output_tokens" and operation == semconv.EMBEDDINGS:
            continue  # embeddings have no output; the conventions have no attribute for it
        value = tokens if -_INT64 <= tokens < _INT64 else str(tokens)
        if reported:
            answer[names.get(field) or semconv.OTHER_USAGE + field] = value
            continue
        source = usage.sources.get(field, general) if mixed else general
        if source is Source.REPORTED or export_estimates:
            answer[names.get(field) or semconv.OTHER_USAGE + field] = value
        if source in _ELSEWHERE:
            answer[_ELSEWHERE[source] + field] = value
    for field, (low, high) in usage.ranges.items():
        answer[semconv.ESTIMATED_LOW + field] = whole(low)
        answer[semconv.ESTIMATED_HIGH + field] = whole(high)
    for name, amount in usage.quantities.items():
        answer[text(semconv.QUANTITY + name)] = whole(amount) if type(amount) is int else plain(amount)


def end_attributes(answer: Attributes, record: Record) -> None:
    """Add how the call ended and where its numbers came from: on our spans and on those we enrich."""
    answer[semconv.END] = str(record.end)
    answer[semconv.USAGE_SOURCE] = str(record.usage_source)
    if len(record.attempts) > 1:
        answer[semconv.ATTEMPTS] = len(record.attempts)
    if record.service_tier is not None:
        answer[semconv.SERVICE_TIER] = text(record.service_tier)
    if record.flags:
        answer[semconv.FLAGS] = tuple([text(flag) for flag in record.flags])
    if record.reason is not None:
        answer[semconv.REASON] = text(record.reason)
    if record.vendor_cost is not None:
        answer[semconv.VENDOR_AMOUNT] = plain(record.vendor_cost.amount)
        answer[semconv.VENDOR_CURRENCY] = record.vendor_cost.currency


def call_attributes(record: Record) -> Attributes:
    """What makes a span that is not the call's own stand for it: its id, its times, its numbers under our names."""
    answer: Attributes = {
        semconv.CALL_ID: record.id,
        semconv.CALL_OPERATION: text(record.operation),
        semconv.CALL_STARTED: record.started_ns,
        semconv.CALL_ENDED: record.ended_ns,
    }
    with guard("describing the usage of a call"):
        usage_attributes(answer, record.usage, record.operation, {}, export_estimates=False)
    return answer


def cost_attributes(answer: Attributes, cost: Cost) -> None:
    """Add what the call cost and what is known about that: on our spans and on those we enrich."""
    answer[semconv.COST_STATUS] = cost.status
    _add_amounts(answer, cost)
    if cost.amount is not None:
        answer[semconv.COST_CURRENCY] = cost.currency
        if cost.source != "book":
            answer[semconv.COST_SOURCE] = cost.source
        if cost.flags and (gaps := [flag for flag in cost.flags if flag.startswith(VENDOR_GAP)]):
            answer[semconv.COST_FLAG] = gaps[0]
    answer.update(_of_offer(cost.offer))
    if cost.covered_by is not None:
        answer[semconv.COST_COVERED_BY] = text(cost.covered_by)
    if cost.status == "unpriced" and cost.reason is not None:
        answer[semconv.COST_REASON] = text(cost.reason)


def converted_attributes(answer: Attributes, converted: Converted) -> None:
    """Add a cost at the user's own rate, beside the original and naming the rate, its day and who said so."""
    answer[semconv.COST_CONVERTED] = plain(converted.amount.amount)
    answer[semconv.COST_CONVERTED_CURRENCY] = converted.amount.currency
    rate = converted.rate
    answer[semconv.COST_RATE] = plain(rate.rate)
    answer[semconv.COST_RATE_PAIR] = text(rate.pair)
    answer[semconv.COST_RATE_DATE] = rate.day.isoformat()
    answer[semconv.COST_RATE_SOURCE] = text(rate.source)


def _of_offer(offer: Offer) -> Attributes:
    """What all costs of one entry of the price book have in common, made once."""
    known = _offers.get(id(offer))
    if known is not None and known[0] is offer:
        return known[1]
    began = offer.effective_from
    attributes = {
        name: text(value)
        for name, value in (
            (semconv.COST_DATING, offer.dating),
            (semconv.COST_EFFECTIVE_FROM, None if began is None else began.isoformat()),
            (semconv.COST_BOOK, offer.book),
            (semconv.COST_MODEL, offer.model),
        )
        if value is not None
    }
    if offer.rate_id is not None and len(_offers) < _OFFERS_MOST:  # others are of one call
        _offers[id(offer)] = (offer, attributes)
    return attributes
