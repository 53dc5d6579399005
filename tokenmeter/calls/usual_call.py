"""Makes the record of a usual call from what it has in common with the calls before it.

Calls to one address with the same request model, response model, parameters and end differ in numbers, times and ids
alone. The first of them takes the general way (`settle.make_record`), and what they share is taken over from its
record, as a `UsualForm`. For those that follow it is copied, and their cost comes from the quote that priced the first,
for as long as that is good. Readers of records keep what they make of a form in its `notes`.

A call with anything unusual about it takes the general way: another attempt, an error, an early end, a flag, a part of
a batch or of a hand-made call, a usage that was not reported in full, a price that the vendor states.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tokenmeter._support.bounded import BoundedDict
from tokenmeter._support.guard import absorbed
from tokenmeter.record import Attempt, End, Record
from tokenmeter.usage import Source

if TYPE_CHECKING:
    from tokenmeter.calls.billing import Billing
    from tokenmeter.calls.opencall import OpenCall
    from tokenmeter.cost import Cost
    from tokenmeter.prices.quote import Quote

__all__ = ["UsualCalls", "UsualForm"]

FormKey = tuple[Any, ...]
_new: Final = Record.__new__
_new_attempt: Final = tuple.__new__
_COMPLETE: Final = End.COMPLETE
_CLOSED_EARLY: Final = End.CLOSED_EARLY
_REPORTED: Final = Source.REPORTED
_FORMS_MOST: Final = 1000
_SHARED: Final = (
    "provider", "otel_provider", "api", "operation", "host", "port", "region", "request_model", "response_model", "end",
    "stream", "unknown_fields", "error_type", "status_code", "service_tier", "finish_reasons", "flags", "reason",
    "params", "budget_window",
)  # fmt: skip
"""The fields of a record that are equal for all calls of one form."""


class UsualForm:
    """What the records of usual calls of one kind have in common, and what prices them."""

    __slots__ = ("_billing", "_by_start", "_quote", "facts", "notes")

    def __init__(self, first: Record, billing: Billing) -> None:
        values = first.__dict__
        self.facts: dict[str, Any] = {name: values[name] for name in _SHARED}
        self.facts.update(_form=self, pricer=self.price)
        self.notes: dict[str, Any] = {}
        self._billing = billing
        self._by_start = billing.bills_by_start(first.provider)
        self._quote: Quote | None = None

    def price(self, record: Record) -> Cost:
        """What a record of this form costs, and what a record that was made of one costs."""
        quote = self._quote
        if record._form is not self:
            return self._billing.price(record)
        if quote is not None:
            at = record.started_ns if self._by_start else record.ended_ns
            instant = at // 1000 / 1_000_000  # in microseconds, as that of a datetime
            if quote.since <= instant < quote.until:
                cost = quote.price(record.usage, at, instant)
                if cost.amount is not None:
                    return cost
        cost = self._billing.price(record)
        self._quote = self._billing.quote(record, cost)
        return cost


class UsualCalls:
    """The forms of usual calls that one meter has seen."""

    def __init__(self, billing: Billing) -> None:
        self._billing = billing
        self._forms: BoundedDict[FormKey, UsualForm] = BoundedDict(_FORMS_MOST)

    def read(self, call: OpenCall, end: End) -> FormKey | None:
        """Read the answer of a call, and say what form the call has; None where it is unusual."""
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
            usage, reason = reading.usage(end)
            end = reading.end(end)
        except BaseException as error:
            if not absorbed("reading usage", error):
                raise
            return None
        said = reading.extracted
        if said is None or reason is not None or end is not _COMPLETE or reading.flags or reading.error is not None:
            return None
        if usage.input_tokens is None or usage.output_tokens is None or usage.source is not _REPORTED:
            return None
        if usage.sources or usage.quantities or said.vendor_cost is not None or said.params:
            return None
        params = call.params
        return (
            call.route, call.request_model, call.stream, call.status_code, attempts[0].status,
            said.model, said.service_tier, said.finish_reasons, said.api, said.unknown_fields,
            None if params is None else tuple(params.items()),
        )  # fmt: skip

    def record(self, call: OpenCall, form_key: FormKey) -> Record | None:
        """The record of a call that was read; None where none of its form came before."""
        form = self._forms.get(form_key)
        reading = call.reading
        if form is None or reading is None or reading.extracted is None:
            return None
        said = reading.extracted
        record = _new(Record)
        facts = record.__dict__
        facts.update(form.facts)
        facts["id"] = call.id
        facts["started_ns"] = started = call.started_ns
        facts["ended_ns"] = started + call.ended_mono - call.started_mono
        facts["usage"] = said.usage
        facts["usage_raw"] = said.raw
        facts["response_id"] = said.response_id
        facts["tags"] = call.tags
        attempt = call.attempts[0]
        facts["attempts"] = (_new_attempt(Attempt, (*attempt[:5], True, None)),)
        if call.stream and call.first_chunk_ns is not None:
            facts["time_to_first_chunk"] = (call.first_chunk_ns - call.started_mono) / 1e9
        if call.scope is not None:
            facts["scope"] = call.scope.path
        span = call.span
        if span is not None:
            facts["trace_id"], facts["span_id"], facts["telemetry"] = span.trace_id, span.span_id, span.telemetry
        return record

    def learn(self, form_key: FormKey, record: Record) -> None:
        """Take over what the calls of a form share from the record of the first."""
        self._forms.put(form_key, UsualForm(record, self._billing))
