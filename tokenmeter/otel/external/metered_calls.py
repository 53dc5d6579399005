"""`metered_call`: makes the record of a call that another process metered from the span that carries it.

The program has metered the call, and its span says under which id, from when to when, and what it costs. That cost
stands: the program may have prices of its own. A ledger that gets the program's own record of the call, too, keeps
that one, which knows more (requests, charges, the vendor's usage as it came), and drops this one, whichever comes
first; `FROM_SPAN` among the flags is how it tells them apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final

from tokenmeter._support.empty import EMPTY
from tokenmeter.cost import Cost
from tokenmeter.money import Money
from tokenmeter.offers import Offer
from tokenmeter.otel import semconv
from tokenmeter.otel.external.billing_provider import billing_provider
from tokenmeter.otel.external.model_calls import operation_of
from tokenmeter.otel.external.span_data import Layout, layout_of, text, whole
from tokenmeter.otel.external.usage import usage_of
from tokenmeter.record import FROM_SPAN, End, Record
from tokenmeter.usage import TOKEN_FIELDS, Source, Usage, checked_usage

if TYPE_CHECKING:
    from tokenmeter.cost import Status
    from tokenmeter.otel.external.billing_provider import BillingProvider
    from tokenmeter.otel.external.receiver import Receiver
    from tokenmeter.otel.external.span_data import SpanData

__all__ = ["PREFIX", "carries_call", "metered_call"]

PREFIX: Final = "tokenmeter."
"""How the attributes begin that are read beside those of `span_data.RELEVANT`."""
_ENDS: Final[Mapping[str, End]] = {str(end): end for end in End}
_STATUSES: Final[Mapping[str, Status]] = {"priced": "priced", "free": "free", "unpriced": "unpriced"}
_LONGEST_ID: Final = 64


def carries_call(attributes: Mapping[str, Any]) -> bool:
    """Whether a span says all of a metered call: of the several that may name it, one does."""
    return semconv.CALL_ID in attributes and semconv.END in attributes


def metered_call(span: SpanData, meter: Receiver) -> Record | None:
    """The record of the call that a span carries; None where it carries none.

    `span.attributes` has all attributes that begin with `PREFIX`. `meter` gives providers, and prices the call where
    the span does not say what it costs.
    """
    attributes = span.attributes
    id, end = text(attributes.get(semconv.CALL_ID)), _ENDS.get(str(attributes.get(semconv.END)))
    if not id or len(id) > _LONGEST_ID or end is None:
        return None
    layout = layout_of(attributes)
    facts = layout.values(layout.facts, attributes)
    billing = billing_provider(facts, meter.providers)
    operation = text(attributes.get(semconv.CALL_OPERATION)) or operation_of(attributes) or "chat"
    provider = billing.provider
    started_ns = _instant(attributes.get(semconv.CALL_STARTED), span.started_ns)
    get = facts.get
    tier, region = text(attributes.get(semconv.SERVICE_TIER)) or text(get("service_tier")), billing.region
    error = text(get("error_type")) if end is End.ERROR else None
    return Record(
        id=id,
        provider=provider.id if provider is not None else text(attributes.get(semconv.SITE)),
        otel_provider=provider.otel_name if provider is not None else text(attributes.get(semconv.PROVIDER)),
        api=None,
        operation=operation,
        host=billing.host,
        port=billing.port,
        region=region,
        request_model=text(get("request_model")) or text(attributes.get(semconv.COST_MODEL)),
        response_model=text(get("response_model")),
        response_id=text(get("response_id")),
        finish_reasons=_texts(get("finish_reasons")),
        service_tier=tier,
        stream=get("stream") is True,
        time_to_first_chunk=_seconds(get("time_to_first_chunk")),
        started_ns=started_ns,
        ended_ns=max(started_ns, _instant(attributes.get(semconv.CALL_ENDED), span.ended_ns)),
        end=end,
        error_type=error,
        usage=_usage(span, layout, facts, billing, operation),
        flags=(*_texts(attributes.get(semconv.FLAGS)), FROM_SPAN),
        reason=text(attributes.get(semconv.REASON)),
        vendor_cost=_money(attributes, semconv.VENDOR_AMOUNT, semconv.VENDOR_CURRENCY),
        params={"region": region} if region is not None else EMPTY,
        tags=_tags(span),
        scope=_texts(attributes.get(semconv.SCOPE_PATH)) or _texts(attributes.get(semconv.SCOPE)),
        trace_id=span.trace_id,
        span_id=span.span_id,
        telemetry="suppressed",
        pricer=_pricer(attributes, meter),
    )


# Cost -----------------------------------------------------------------------------------------------------------


def _pricer(attributes: Mapping[str, Any], meter: Receiver) -> Callable[[Record], Cost]:
    status = _STATUSES.get(str(attributes.get(semconv.COST_STATUS)))
    if status is None:
        return meter.price_record

    def price(record: Record) -> Cost:
        """The cost as the span says it; where the book here makes the same of the call, with its charges."""
        said = _stated(record, attributes, status)
        if said.source != "book":
            return said
        made = meter.price_record(record)
        return made if _answer(made) == _answer(said) else said

    return price


def _answer(cost: Cost) -> tuple[object, ...]:
    """What two costs have in common that are the same price's answer."""
    said = (cost.status, cost.book, cost.effective_from, cost.covered_by, cost.amount)
    return (*said, cost.reason) if cost.amount is None else (*said, cost.currency, cost.list_total)


def _stated(record: Record, attributes: Mapping[str, Any], status: Status) -> Cost:
    get = attributes.get
    total = _money(attributes, semconv.COST_AMOUNT, semconv.COST_CURRENCY)
    listed = None if total is None else _decimal(get(semconv.COST_LIST_AMOUNT))
    saved = None if total is None else _decimal(get(semconv.COST_CACHE_SAVINGS))
    offer = Offer(
        provider=record.provider or "",
        model=text(get(semconv.COST_MODEL)),
        effective_from=_date(get(semconv.COST_EFFECTIVE_FROM)),
        dating=text(get(semconv.COST_DATING)),
        list=None if total is None else total.currency,
        book=text(get(semconv.COST_BOOK)),
    )
    reason = text(get(semconv.COST_REASON))
    if total is None and status != "unpriced":
        status, reason = "unpriced", "the span does not say what the call costs"
    return Cost(
        offer, status, None if total is None else total.amount, (), record.ended_ns, _texts(get(semconv.COST_FLAG)),
        reason, text(get(semconv.COST_COVERED_BY)), listed, saved,
        "vendor" if get(semconv.COST_SOURCE) == "vendor" else "book",
    )  # fmt: skip


def _money(attributes: Mapping[str, Any], amount: str, currency: str) -> Money | None:
    number, name = _decimal(attributes.get(amount)), text(attributes.get(currency))
    return None if number is None or not name else Money(number, name)


def _decimal(value: object) -> Decimal | None:
    """An exact amount, which is text; None for anything else."""
    if not isinstance(value, str) or len(value) > 100:
        return None
    try:
        number = Decimal(value)
    except InvalidOperation:
        return None
    return number if number.is_finite() and abs(number.adjusted()) < 50 else None


def _date(value: object) -> datetime | None:
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None


# Usage ----------------------------------------------------------------------------------------------------------


def _usage(span: SpanData, layout: Layout, facts: Mapping[str, Any], billing: BillingProvider, operation: str) -> Usage:
    """The usage as tokenmeter sent it, else as the instrumentation states it whose span was priced."""
    attributes = span.attributes
    stated = str(attributes.get(semconv.USAGE_SOURCE))
    ours = span.scope == semconv.SCOPE_NAME
    tokens: dict[str, int] = {}
    if ours:
        tokens = {name: number for name, value in layout.values(layout.tokens, attributes).items()
                  if name in TOKEN_FIELDS and (number := _count(value)) is not None}  # fmt: skip
    sources: dict[str, Source] = {}
    guess = Source.COUNTED if stated == Source.COUNTED else Source.ESTIMATED
    for prefix, source in ((semconv.OTHER_USAGE, None), (semconv.PARTIAL, Source.PARTIAL), (semconv.ESTIMATED, guess)):
        for name in TOKEN_FIELDS:
            number = _count(attributes.get(prefix + name))
            if number is not None:
                tokens[name] = number
                if source is not None:
                    sources[name] = source
    quantities = {
        name.removeprefix(semconv.QUANTITY): amount
        for name, value in attributes.items()
        if name.startswith(semconv.QUANTITY) and (amount := _quantity(value)) is not None
    }
    if not (ours or tokens or quantities or semconv.CALL_ENDED in attributes):
        return usage_of(span, layout, facts, billing, operation).usage
    if not tokens and not quantities:
        return Usage(source=Source.NONE)
    if operation == semconv.EMBEDDINGS:
        tokens.setdefault("output_tokens", 0)
    ranges = {}
    for name in TOKEN_FIELDS:
        low = _count(attributes.get(semconv.ESTIMATED_LOW + name))
        high = _count(attributes.get(semconv.ESTIMATED_HIGH + name))
        if low is not None and high is not None:
            ranges[name] = (low, high)
    general = next(iter(sources.values())) if sources and len(set(sources.values())) == 1 else Source.REPORTED
    if general is not Source.REPORTED and sources.keys() >= tokens.keys():
        sources = {}
    else:
        general = Source.REPORTED
    return replace(checked_usage(tokens, quantities=quantities, source=general, sources=sources), ranges=ranges)


def _count(value: object) -> int | None:
    """A number of tokens; text is one that 64 bits do not hold."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 30:
        return int(value)
    return whole(value) if not isinstance(value, bool) else None


def _quantity(value: object) -> int | Decimal | None:
    return value if type(value) is int else _decimal(value)


# The rest -------------------------------------------------------------------------------------------------------


def _tags(span: SpanData) -> Mapping[str, str]:
    """The tags of the program, and those that the receiver gives to all spans."""
    own = {
        name.removeprefix(semconv.TAG): value
        for name, value in span.attributes.items()
        if name.startswith(semconv.TAG) and isinstance(value, str)
    }
    return {**span.tags, **own} or EMPTY


def _instant(value: object, otherwise: int) -> int:
    return value if type(value) is int and value > 0 else otherwise


def _seconds(value: object) -> float | None:
    return float(value) if isinstance(value, float | int) and not isinstance(value, bool) and value >= 0 else None


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list | tuple) else ()
