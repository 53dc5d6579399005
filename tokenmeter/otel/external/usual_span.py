"""Makes a usual call of a span that states the same as one before it, but for its numbers, ids and times.

A program's instrumentation gives its spans the same attributes with the same names, models and providers. The first of
such spans goes the general way (`Recorder.record`), and what they share is taken over from its record. Those that
follow become a `UsualSpan`: its token counts are read by position, and spans, sums and cost attributes need no record.

A span with anything more to it goes the general way: counts that do not agree with one another or with a total, an
error, an object written as text, cached tokens that may stand beside the input.
"""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from tokenmeter._support.bounded import BoundedDict
from tokenmeter.calls.usual_call import UsualCall, UsualForm
from tokenmeter.otel import semconv
from tokenmeter.record import End, Record
from tokenmeter.usage import TOKEN_FIELDS, Source, Usage, usage_of

if TYPE_CHECKING:
    from tokenmeter.otel.external.receiver import Receiver
    from tokenmeter.otel.external.span_data import Layout, SpanData

__all__ = ["UsualSpan", "UsualSpans"]

_FORMS_MOST: Final = 1000
_OF_ONE: Final = ("response_id", "time_to_first_chunk", "total_tokens")
"""Facts that say something of one call alone."""
_INPUT: Final = TOKEN_FIELDS.index("input_tokens")
_OUTPUT: Final = TOKEN_FIELDS.index("output_tokens")
_READ: Final = TOKEN_FIELDS.index("cache_read_input_tokens")
_WRITE: Final = TOKEN_FIELDS.index("cache_write_input_tokens")
_INT: Final = frozenset((int,))
_new: Final = Record.__new__


class UsualSpan(UsualCall):
    """A usual call that another instrumentation's span stands for."""

    __slots__ = ("span_id", "trace_id")
    tries = 0

    def __init__(self, form: UsualForm, span: SpanData, id: str, usage: Usage, response_id: str | None) -> None:
        self.form = form
        self.operation = form.operation
        self.usage = usage
        self.response_id = response_id
        self.started_ns, self.ended_ns = span.started_ns, span.ended_ns
        self.tags = span.tags
        self.scope = ()
        self.telemetry = "enriched"
        self.trace_id: str | None = span.trace_id
        self.span_id: str | None = span.span_id
        self.time_to_first_chunk = None
        self.known_id = id
        self._bill = False
        self._record = None

    def _made(self) -> Record:
        record = _new(Record)
        facts = record.__dict__
        facts.update(self.form.facts)
        facts.update(
            id=self.known_id,
            started_ns=self.started_ns,
            ended_ns=self.ended_ns,
            usage=self.usage,
            response_id=self.response_id,
            tags=self.tags,
            scope=self.scope,
            trace_id=self.trace_id,
            span_id=self.span_id,
            telemetry=self.telemetry,
        )
        return record


class UsualSpans:
    """The forms of usual spans that one `Recorder` has seen, for one meter at a time."""

    def __init__(self) -> None:
        self._meter: object = None
        self._forms: BoundedDict[tuple[Any, ...], UsualForm | None] = BoundedDict(_FORMS_MOST)
        self._plans: BoundedDict[Layout, _Plan | None] = BoundedDict(_FORMS_MOST)

    def read(self, meter: Receiver, layout: Layout, span: SpanData, id: str) -> UsualSpan | None:
        """The call of a span like one before; None where it goes the general way."""
        plan = self._plans.get(layout)
        if plan is None or meter is not self._meter or span.failed:
            return None
        attributes = span.attributes
        try:
            form = self._forms.get((layout, span.scope, *plan.shared(attributes)))
        except TypeError:  # a list among the attributes
            return None
        usage = None if form is None else plan.usage(attributes)
        if form is None or usage is None:
            return None
        named = plan.response_id
        response_id = None if named is None else attributes[named]
        if response_id is not None and (type(response_id) is not str or not response_id):
            return None
        return UsualSpan(form, span, id, usage, response_id)

    def learn(self, meter: Receiver, layout: Layout, span: SpanData, record: Record, *, beside: bool) -> None:
        """Take over what the spans of a form share from the record of the first.

        `beside`: cached tokens may stand beside the input on spans of this instrumentation.
        """
        if meter is not self._meter:
            self._forms.clear()
            self._meter = meter
        if layout not in self._plans:
            self._plans.put(layout, _Plan.of(layout))
        plan = self._plans[layout]
        usage = record.usage
        if plan is None or beside or record.end is not End.COMPLETE or record.flags or record.vendor_cost is not None:
            return
        if usage.source is not Source.REPORTED or usage != plan.usage(span.attributes):
            return
        if record.operation in semconv.INFERENCE:
            with contextlib.suppress(TypeError):
                self._forms.put((layout, span.scope, *plan.shared(span.attributes)), meter.form_of(record))


class _Plan:
    """Which attributes of a layout say what: what its spans share, and their counts by position."""

    __slots__ = ("_counts", "_order", "_parts", "_total", "response_id", "shared")

    def __init__(self, layout: Layout) -> None:
        """Raises ValueError for a layout whose spans say more than can be read so."""
        facts = {fact: names for fact, *names in layout.facts}
        counts = {field: names[0] for field, *names in layout.tokens}
        if layout.within or "raw" in facts or "time_to_first_chunk" in facts or not counts.keys() <= set(TOKEN_FIELDS):
            raise ValueError(layout)
        told = [name for fact, names in facts.items() if fact not in _OF_ONE for name in names]
        told += [name for name, _ in semconv.KINDS if name in layout.names]
        if len(told) < 2 or len(counts) < 2 or any(len(facts.get(fact, ())) > 1 for fact in _OF_ONE):
            raise ValueError(layout)
        self.shared: Callable[[Mapping[str, Any]], tuple[Any, ...]] = operator.itemgetter(*told)
        self.response_id = facts["response_id"][0] if "response_id" in facts else None
        self._total = facts["total_tokens"][0] if "total_tokens" in facts else None
        self._counts: Callable[[Mapping[str, Any]], tuple[Any, ...]] = operator.itemgetter(*counts.values())
        places = {field: place for place, field in enumerate(counts)}
        order = [places.get(field, len(places)) for field in TOKEN_FIELDS]
        self._order: Callable[[Sequence[Any]], tuple[int | None, ...]] = operator.itemgetter(*order)
        inside = {field: _OUTPUT if "output" in field else _INPUT for field in counts}
        self._parts = tuple((TOKEN_FIELDS.index(field), whole) for field, whole in inside.items())

    @classmethod
    def of(cls, layout: Layout) -> _Plan | None:
        try:
            return cls(layout)
        except ValueError:
            return None

    def usage(self, attributes: Mapping[str, Any]) -> Usage | None:
        """The usage that a span states; None where it is more than counts that agree with one another."""
        counts = self._counts(attributes)
        if not _INT.issuperset(map(type, counts)):
            return None
        tokens = self._order((*counts, None))
        fresh, said = tokens[_INPUT], tokens[_OUTPUT]
        if not fresh or not said:
            return None
        if self._total is not None and attributes[self._total] != fresh + said:
            return None
        for part, whole in self._parts:
            if not 0 <= tokens[part] <= tokens[whole]:  # type: ignore[operator]
                return None
        if (tokens[_READ] or 0) + (tokens[_WRITE] or 0) > fresh:
            return None
        return usage_of(tokens)
