"""`EndedCalls`: counts each call once whose spans have ended, as they arrive in batches.

Batches come from several processes, in any order, and some come twice. Of several spans for one call the innermost with
usage counts:

-   a span that carries a call metered by tokenmeter (`tokenmeter.call.id`, a cost) does not count, nor do those around
    it; a ledger may keep that call (`metered_calls`);
-   a span around one that counts is the same call seen from outside, also through spans between and across processes;
-   a span inside one that has counted does not count: the outer came in an earlier batch;
-   a span without usage belongs to a call around or inside it. If its ancestors are not all in the batch, it waits
    `PATIENCE` for them, and is a call of unknown cost if none of them is a call;
-   of two spans side by side for one call (`same_call`) one counts;
-   a span that arrives again, because a sender repeated a batch, gets the same attributes and is not counted again. Its
    call has the same id, so a ledger that outlives the process has it once, too.

Within a batch all of this is exact. Across batches it holds while the last `REMEMBERED` spans are remembered, and if
spans arrive in the order in which they end (as every exporter sends them) or begin. One case cannot be known: the
outer span has counted in an earlier batch, the inner one arrives before the spans between them, and the two share no
response id.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from tokenmeter._support.empty import EMPTY
from tokenmeter._support.guard import guard
from tokenmeter.otel import semconv
from tokenmeter.otel.external.cost_attributes import CostAttributes
from tokenmeter.otel.external.metered_calls import carries_call, metered_call
from tokenmeter.otel.external.model_calls import is_priced
from tokenmeter.otel.external.records import Recorder, call_id
from tokenmeter.otel.external.same_call import remember
from tokenmeter.usage import Source

if TYPE_CHECKING:
    from tokenmeter.calls.usual_call import Settled
    from tokenmeter.otel.external.receiver import Receiver
    from tokenmeter.otel.external.span_data import SpanData, SpanKey
    from tokenmeter.record import Record

__all__ = ["PATIENCE", "REMEMBERED", "EndedCalls"]

REMEMBERED: Final = 100_000
"""The most spans remembered of each kind; about 20 MB in all when full."""
PATIENCE: Final = 30.0
"""Seconds that a span without usage waits for its ancestors."""
_DEPTH_MOST: Final = 200
_WAITING_MOST: Final = 10_000


class EndedCalls:
    """Counts each call of the spans in batches once. Arguments are those of `Recorder`.

    `clock` gives monotonic seconds. `count=False` makes no records, where a processor elsewhere counts the calls.
    `keep` takes the records of calls that other processes metered, each time that a span carries one: a ledger knows
    them by their ids. Their metrics are those of the processes.
    """

    def __init__(
        self,
        meter: Receiver | None,
        scopes: Iterable[str] = (),
        providers: Mapping[str, str] | None = None,
        *,
        count: bool = True,
        keep: Callable[[Record], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._recorder = Recorder(meter, scopes, providers)
        self.knows = self._recorder.knows
        self._to_sinks = count
        self._keep = keep
        self._clock = clock
        self._counted: OrderedDict[SpanKey, None] = OrderedDict()
        self._around: OrderedDict[SpanKey, None] = OrderedDict()  # ancestors of counted spans
        self._blank: OrderedDict[SpanKey, None] = OrderedDict()  # counted without usage: a call inside still counts
        self._inside: OrderedDict[SpanKey, None] = OrderedDict()  # spans of calls that another span has counted
        self._waiting: list[tuple[float, SpanKey, SpanData, Settled]] = []  # until, next ancestor, span, record

    def batch(
        self, parents: Mapping[SpanKey, SpanKey | None], spans: Sequence[SpanData]
    ) -> Iterator[tuple[int, CostAttributes | None]]:
        """Decide on every span of a batch that may be a call. Yields its position and the attributes it gets, if any.

        `parents` has the parent of every span of the batch, also of those that are no calls.
        """
        self._follow(parents)
        paths = [self._path(span, parents) for span in spans]
        without: list[tuple[int, Settled]] = []
        # What is deeper is nearer to the vendor; of two side by side, the one that ended first.
        for position in sorted(range(len(spans)), key=lambda one: (-len(paths[one]), spans[one].ended_ns)):
            span, path = spans[position], paths[position]
            if is_priced(span.attributes):
                if span.attributes.get(semconv.USAGE_SOURCE) != Source.NONE:
                    self._mark(path)
                if self._keep is not None and carries_call(span.attributes):
                    self._keep_metered(span, self._keep)
                yield position, None
                continue
            record = None if span.key in self._around else self._recorder.record(span, call_id(span))
            if record is None:
                yield position, None
            elif record.usage.source is Source.NONE:
                without.append((position, record))
            elif span.key in self._counted:  # it arrives again
                self._mark(path)
                yield position, self._recorder.count(record, to_sinks=False)
            elif span.key in self._inside or any(one in self._counted or one in self._inside for one in path):
                yield position, None
            else:
                self._mark(path)
                if self._recorder.is_counted(span, record):
                    remember(self._inside, span.key, None, REMEMBERED)  # it may arrive again
                    yield position, None
                else:
                    yield position, self._count(span, record)
        for position, record in without:
            yield position, self._without_usage(spans[position], paths[position], record, parents)
        self.look(parents)

    def release(self) -> None:
        """Count the calls that wait for their ancestors."""
        waiting, self._waiting = self._waiting, []
        for _, _, span, record in waiting:
            if span.key not in self._blank:
                self._blank_call(span, record)

    def _keep_metered(self, span: SpanData, keep: Callable[[Record], object]) -> None:
        with guard("reading the span of a metered call"):
            record = metered_call(span, self._recorder.meter())
            if record is not None:
                keep(record)

    # One span for each call ------------------------------------------------------------------------------------------

    def _follow(self, parents: Mapping[SpanKey, SpanKey | None]) -> None:
        """Extend what is known of earlier spans to their ancestors and descendants in this batch."""
        around, counted, inside = self._around, self._counted, self._inside
        if not around and not counted:
            return
        for key, parent in parents.items():
            if parent is None:
                continue
            if key in around and parent not in around:
                self._mark(self._up(parent, parents))
            if (parent in counted or parent in inside) and key not in inside:
                remember(inside, key, None, REMEMBERED)

    def _path(self, span: SpanData, parents: Mapping[SpanKey, SpanKey | None]) -> list[SpanKey]:
        return [] if span.parent is None else self._up(span.parent, parents)

    @staticmethod
    def _up(first: SpanKey, parents: Mapping[SpanKey, SpanKey | None]) -> list[SpanKey]:
        """A span and its ancestors, up to the first that is not in the batch."""
        path = [first]
        above = parents.get(first)
        while above is not None and len(path) < _DEPTH_MOST:  # bounded, since ids may form a circle
            path.append(above)
            above = parents.get(above)
        return path

    def _mark(self, path: Iterable[SpanKey]) -> None:
        for key in path:
            if key not in self._around:
                remember(self._around, key, None, REMEMBERED)

    def _count(self, span: SpanData, record: Settled) -> CostAttributes:
        remember(self._counted, span.key, None, REMEMBERED)
        return self._recorder.count(record, span, to_sinks=self._to_sinks)

    # Spans without usage ------------------------------------------------------------------------------------

    def _without_usage(
        self, span: SpanData, path: list[SpanKey], record: Settled, parents: Mapping[SpanKey, SpanKey | None]
    ) -> CostAttributes | None:
        """Decide on a span without usage, once those with usage are decided."""
        if span.key in self._blank:
            return self._recorder.count(record, to_sinks=False)
        if self._is_another(span, path, record):
            return None
        if not path or parents.get(path[-1], path) is None:
            return self._blank_call(span, record)
        if len(self._waiting) >= _WAITING_MOST:
            _, _, oldest, waiting = self._waiting.pop(0)
            self._blank_call(oldest, waiting)
        self._waiting.append((self._clock() + PATIENCE, path[-1], span, record))
        return None

    def look(self, parents: Mapping[SpanKey, SpanKey | None] = EMPTY) -> None:
        """Drop waiting spans whose call has arrived, and count those that have waited long enough.

        Called with every batch; call it regularly where batches may be rare.
        """
        now = self._clock()
        waiting, self._waiting = self._waiting, []
        for until, above, span, record in waiting:
            path = self._up(above, parents)
            if self._is_another(span, path, record):
                continue
            if now < until:
                self._waiting.append((until, path[-1], span, record))
            elif span.key not in self._blank:
                self._blank_call(span, record)

    def _is_another(self, span: SpanData, path: list[SpanKey], record: Settled) -> bool:
        """Whether another span has counted the call of a span without usage."""
        return (
            span.key in self._around
            or any(one in self._counted or one in self._inside for one in path)
            or self._recorder.is_counted(span, record)
        )

    def _blank_call(self, span: SpanData, record: Settled) -> CostAttributes:
        remember(self._blank, span.key, None, REMEMBERED)
        return self._recorder.count(record, span, to_sinks=self._to_sinks)
