"""Settles a usual call by what it has in common with the calls before it.

Calls to one address with the same request model, response model, parameters and end differ in numbers, times and ids
alone. The first of them takes the general way (`settle.make_record`), and what they share is taken over from its
record, as a `UsualForm`. Of those that follow only a `UsualCall` is made: the form and the few values of this call. It
is what spans and sums read, its cost in whole parts (`prices/whole_prices.py`), and it makes the record where a scope,
a ledger or a sink asks for one. Readers keep what they make of a form in its `notes`.

A call with anything unusual about it takes the general way: another attempt, an error, an early end, a flag, a part of
a batch or of a hand-made call, a usage that was not reported in full, a price that the vendor states.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tokenmeter._support.bounded import BoundedDict
from tokenmeter._support.guard import absorbed
from tokenmeter._support.ids import new_id
from tokenmeter.record import Attempt, End, Record
from tokenmeter.usage import TOKEN_FIELDS, Source
from tokenmeter.wire.extracted import raw_usage

if TYPE_CHECKING:
    from tokenmeter.calls.billing import Billing
    from tokenmeter.calls.opencall import OpenCall
    from tokenmeter.calls.response import Reading
    from tokenmeter.cost import Cost
    from tokenmeter.prices.quote import Quote
    from tokenmeter.prices.whole_prices import WholePrices
    from tokenmeter.usage import Usage
    from tokenmeter.wire.extracted import Extracted

__all__ = ["Bill", "Settled", "UsualCall", "UsualCalls", "UsualForm", "record_of"]

FormKey = tuple[Any, ...]
_new: Final = Record.__new__
_new_tuple: Final = tuple.__new__
_COMPLETE: Final = End.COMPLETE
_CLOSED_EARLY: Final = End.CLOSED_EARLY
_REPORTED: Final = Source.REPORTED
_FORMS_MOST: Final = 1000
_PLAIN: Final = frozenset(
    ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_write_input_tokens", "reasoning_output_tokens")
)
_beside: Final = operator.attrgetter(
    *(name for name in TOKEN_FIELDS if name not in _PLAIN), "cache_writes", "cached_media", "quantities"
)
_SHARED: Final = (
    "provider", "otel_provider", "api", "operation", "host", "port", "region", "account", "request_model",
    "response_model", "end", "stream", "unknown_fields", "error_type", "status_code", "service_tier", "finish_reasons",
    "flags", "reason", "params", "budget_window", "tool_definition_tokens",
)  # fmt: skip
"""The fields of a record that are equal for all calls of one form."""


class Bill(NamedTuple):
    """What a usual call costs: amount and cache savings in parts of `prices`. Savings of None are not known."""

    quote: Quote
    prices: WholePrices
    amount: int
    saved: int | None


class UsualForm:
    """What usual calls of one kind have in common, and what prices them."""

    __slots__ = ("_billing", "by_start", "facts", "notes", "operation", "quote")

    def __init__(self, first: Record, billing: Billing) -> None:
        self.facts: dict[str, Any] = {name: getattr(first, name) for name in _SHARED}
        self.facts.update(_form=self, pricer=self.price)
        self.operation = first.operation
        self.notes: dict[Any, Any] = {}
        self._billing = billing
        self.by_start = billing.bills_by_start(first.provider)
        self.quote: Quote | None = None

    def price(self, record: Record) -> Cost:
        """What a record of this form costs, and what a record that was made of one costs."""
        quote = self.quote
        if record._form is not self:
            return self._billing.price(record)
        if quote is not None:
            at = record.started_ns if self.by_start else record.ended_ns
            instant = at // 1000 / 1_000_000
            if quote.since <= instant < quote.until:
                cost = quote.price(record.usage, at, instant)
                if cost.amount is not None:
                    return cost
        cost = self._billing.price(record)
        self.quote = self._billing.quote(record, cost)
        return cost


class UsualCall:
    """A usual call that has settled, and what spans and sums read of it. Its record is made when first asked for."""

    __slots__ = (
        "_attempt", "_bill", "_raw", "_record", "ended_ns", "form", "known_id", "operation", "response_id", "scope",
        "span", "started_ns", "tags", "telemetry", "time_to_first_chunk", "usage",
    )  # fmt: skip
    end: Final = _COMPLETE
    error_type: Final = None
    tries: int = 1
    """HTTP requests."""

    def __init__(self, call: OpenCall, form: UsualForm, said: Extracted, usage: Usage) -> None:
        self.form = form
        self.operation = form.operation
        self.usage = usage
        self.response_id = said.response_id
        self._raw = said.raw
        self._attempt = call.attempts[0]
        started = self.started_ns = call.started_ns
        self.ended_ns = started + call.ended_mono - call.started_mono
        self.tags = call.tags
        self.scope = () if call.scope is None else call.scope.path
        span = self.span = call.span
        self.telemetry = "own" if span is None else span.telemetry
        first = call.first_chunk_ns if call.stream else None
        self.time_to_first_chunk = None if first is None else (first - call.started_mono) / 1e9
        self.known_id = call.known_id
        self._bill: Bill | bool | None = False
        self._record: Record | None = None

    @property
    def bill(self) -> Bill | None:
        """What it costs, in whole parts; None where its record must be asked."""
        bill = self._bill
        if bill is False:
            bill = self._bill = self._billed()
        return bill  # type: ignore[return-value]

    def _billed(self) -> Bill | None:
        form, usage = self.form, self.usage
        quote = form.quote
        if quote is None or any(_beside(usage)):
            return None
        instant = (self.started_ns if form.by_start else self.ended_ns) // 1000 / 1_000_000  # as a datetime's
        if not quote.since <= instant < quote.until:
            return None
        prices = quote.steady or quote.whole(usage, instant)
        billed = None if prices is None else prices.bill(usage)
        return None if billed is None else _new_tuple(Bill, (quote, prices, *billed))

    def take_id(self) -> None:
        """Fix the id: the record may be made on several threads."""
        if self.known_id is None:
            self.known_id = new_id()

    @property
    def record(self) -> Record:
        """The record that the general way makes of the call."""
        record = self._record
        if record is None:
            record = self._record = self._made()
        return record

    def _made(self) -> Record:
        record = _new(Record)
        facts = record.__dict__
        facts.update(self.form.facts)
        facts["id"] = self.known_id or new_id()
        facts["started_ns"] = self.started_ns
        facts["ended_ns"] = self.ended_ns
        facts["usage"] = self.usage
        facts["usage_raw"] = raw_usage(self._raw)
        facts["response_id"] = self.response_id
        facts["tags"] = self.tags
        facts["attempts"] = (_new_tuple(Attempt, (*self._attempt[:5], True, None)),)
        facts["time_to_first_chunk"] = self.time_to_first_chunk
        facts["scope"] = self.scope
        span = self.span
        if span is not None:
            facts["trace_id"], facts["span_id"], facts["telemetry"] = span.trace_id, span.span_id, span.telemetry
        return record

    @property
    def request_model(self) -> str | None:
        """The model that was asked for."""
        return self.form.facts["request_model"]  # type: ignore[no-any-return]

    @property
    def response_model(self) -> str | None:
        """The model that answered."""
        return self.form.facts["response_model"]  # type: ignore[no-any-return]

    @property
    def duration(self) -> float:
        """Seconds."""
        return (self.ended_ns - self.started_ns) / 1e9

    @property
    def trace_id(self) -> str | None:
        """Hex; None where nothing is recorded."""
        return None if self.span is None else self.span.trace_id

    @property
    def span_id(self) -> str | None:
        """Hex; None where nothing is recorded."""
        return None if self.span is None else self.span.span_id


def _in_full(reading: Reading) -> Extracted | None:
    """What a complete answer says; None where that is not all, or where there is more to it."""
    usage, reason = reading.usage(_COMPLETE)
    end = reading.end(_COMPLETE)
    said = reading.extracted
    if said is None or reason is not None or end is not _COMPLETE or reading.flags or reading.error is not None:
        return None
    if usage.input_tokens is None or usage.output_tokens is None or usage.source is not _REPORTED:
        return None
    if usage.sources or usage.quantities or said.vendor_cost is not None or said.params:
        return None
    return said


Settled = Record | UsualCall
"""A settled call, as it is handed on."""


def record_of(settled: Settled) -> Record:
    """The record of a settled call."""
    return settled.record if isinstance(settled, UsualCall) else settled


class UsualCalls:
    """The forms of usual calls that one meter has seen."""

    def __init__(self, billing: Billing) -> None:
        self._billing = billing
        self._forms: BoundedDict[FormKey, UsualForm] = BoundedDict(_FORMS_MOST)

    def read(self, call: OpenCall, end: End) -> UsualCall | FormKey | None:
        """Read the answer of a call that is over.

        The settled call; the key of its form where that is new, for `learn`; None where the call is unusual.
        """
        reading = call.reading
        attempts = call.attempts
        if (
            reading is None
            or (end is not _COMPLETE and end is not _CLOSED_EARLY)  # SDKs close a stream at its terminator
            or len(attempts) != 1
            or call.parent is not None
            or call.children
            or call.by_hand
            or call.usage_override is not None
            or call.error_type is not None
            or call.awaits
            or call.budget is not None
            or reading.packed
        ):
            return None
        try:
            said = reading.plain() or _in_full(reading)
        except BaseException as error:
            if not absorbed("reading usage", error):
                raise
            return None
        if said is None or said.usage is None:
            return None
        params = call.params
        form_key = (
            call.route, call.request_model, call.stream, call.status_code, attempts[0].status,
            said.model, said.service_tier, said.finish_reasons, said.api, said.unknown_fields,
            None if params is None else tuple(params.items()), call.account, call.offers_tools,
        )  # fmt: skip
        form = self._forms.get(form_key)
        return form_key if form is None else UsualCall(call, form, said, said.usage)

    def learn(self, form_key: FormKey, record: Record) -> None:
        """Take over what the calls of a form share from the record of the first."""
        self._forms.put(form_key, UsualForm(record, self._billing))
