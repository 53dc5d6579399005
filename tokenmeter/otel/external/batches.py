"""Calls of spans that are over: they come in batches, from several processes, in any order, some of them twice.

Each call is counted once. Of the spans that tell of one call, the innermost that has usage counts:

-   a span that carries a call of ours (`tokenmeter.call.id`, a cost) never does, and neither does what is around it;
-   a span around one that counts is that call seen from further out, through whatever is between them and across
    processes, and does not count;
-   a span inside one that has counted does not: its outer came first, in a batch before;
-   a span without usage belongs to a call around or inside it. Where the spans around it are not all in its batch it
    waits `PATIENCE` for them, and is a call of unknown cost if none of them is one;
-   spans of two instrumentations that carry one response id and overlap in time are one call; so are two of which one
    has no id, if they are alike in all else (`foreign_records`);
-   a span that comes again, since a sender or a collector between sends a batch twice, is told the same and not
    counted again. Its call has the same id as before, so a ledger that outlives this process has it once, too.

Within a batch all of this is certain. Across batches it is as long as what is needed is remembered: the last
`REMEMBERED` spans that counted or are around one, and if spans come in the order in which they end, as every exporter
sends them, or begin. What cannot be known: that an inner span belongs to an outer one that counted in a batch before,
if there are spans between them that come later still and the two share no response id.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from tokenmeter.otel import semconv
from tokenmeter.otel.external.cost_attributes import Description
from tokenmeter.otel.external.records import Recorder, call_id, remember
from tokenmeter.otel.external.usage import is_ours
from tokenmeter.record import Record
from tokenmeter.usage import Source

if TYPE_CHECKING:
    from tokenmeter.otel.external.receiver import Receiver
    from tokenmeter.otel.external.span_data import SpanKey, Told

__all__ = ["PATIENCE", "REMEMBERED", "EndedCalls"]

REMEMBERED: Final = 100_000
"""Spans that are remembered at most, of each kind; about 20 MB in all when full."""
PATIENCE: Final = 30.0
"""Seconds for which a span without usage waits for the spans around it."""
_DEPTH_MOST: Final = 200
_WAITING_MOST: Final = 10_000


class EndedCalls:
    """Sees to it that each call is counted once. Arguments are those of `Recorder`.

    `clock` gives steady seconds. With `count` False calls get no record: a processor elsewhere counts them.
    """

    def __init__(
        self,
        meter: Receiver | None,
        scopes: Iterable[str] = (),
        providers: Mapping[str, str] | None = None,
        *,
        count: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._recorder = Recorder(meter, scopes, providers)
        self.knows = self._recorder.knows
        self._to_sinks = count
        self._clock = clock
        self._counted: OrderedDict[SpanKey, None] = OrderedDict()
        self._around: OrderedDict[SpanKey, None] = OrderedDict()  # spans, come or not, that have a counted one inside
        self._blank: OrderedDict[SpanKey, None] = OrderedDict()  # counted, without usage: a call inside still counts
        self._inside: OrderedDict[SpanKey, None] = OrderedDict()  # spans of calls that another span counted for
        self._waiting: list[tuple[float, SpanKey, Told, Record]] = []  # without usage, by the next span around

    def batch(
        self, parents: Mapping[SpanKey, SpanKey | None], spans: Sequence[Told]
    ) -> Iterator[tuple[int, Description | None]]:
        """Decide about every span of a batch that may be a call: its position, and what it should be told, if anything.

        `parents` has every span of the batch, also those that are no calls, with the one around it.
        """
        self._follow(parents)
        paths = [self._path(span, parents) for span in spans]
        without: list[tuple[int, Record]] = []
        # What is deeper is nearer to the vendor; of two side by side, the one that ended first.
        for position in sorted(range(len(spans)), key=lambda one: (-len(paths[one]), spans[one].ended_ns)):
            span, path = spans[position], paths[position]
            if is_ours(span.attributes):
                if span.attributes.get(semconv.USAGE_SOURCE) != Source.NONE:
                    self._mark(path)
                yield position, None
                continue
            record = None if span.key in self._around else self._recorder.record(span, call_id(span))
            if record is None:
                yield position, None
            elif record.usage.source is Source.NONE:
                without.append((position, record))
            elif span.key in self._counted:  # it comes again
                self._mark(path)
                yield position, self._recorder.count(record, to_sinks=False)
            elif span.key in self._inside or any(one in self._counted or one in self._inside for one in path):
                yield position, None
            else:
                self._mark(path)
                if self._recorder.seen(span, record):
                    remember(self._inside, span.key, None, REMEMBERED)  # it may come again
                    yield position, None
                else:
                    yield position, self._count(span, record)
        for position, record in without:
            yield position, self._without_usage(spans[position], paths[position], record, parents)
        self.look(parents)

    def release(self) -> None:
        """Count the calls that wait for spans around them."""
        waiting, self._waiting = self._waiting, []
        for _, _, span, record in waiting:
            if span.key not in self._blank:
                self._blank_call(span, record)

    # One owner ----------------------------------------------------------------------------------------------

    def _follow(self, parents: Mapping[SpanKey, SpanKey | None]) -> None:
        """Carry what is known of spans on to the spans around and inside them that have come now."""
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

    def _path(self, span: Told, parents: Mapping[SpanKey, SpanKey | None]) -> list[SpanKey]:
        return [] if span.parent is None else self._up(span.parent, parents)

    @staticmethod
    def _up(first: SpanKey, parents: Mapping[SpanKey, SpanKey | None]) -> list[SpanKey]:
        """A span and those around it, up to the first that is not in the batch."""
        path = [first]
        above = parents.get(first)
        while above is not None and len(path) < _DEPTH_MOST:  # the bound ends a circle
            path.append(above)
            above = parents.get(above)
        return path

    def _mark(self, path: Iterable[SpanKey]) -> None:
        for key in path:
            if key not in self._around:
                remember(self._around, key, None, REMEMBERED)

    def _count(self, span: Told, record: Record) -> Description:
        remember(self._counted, span.key, None, REMEMBERED)
        return self._recorder.count(record, span, to_sinks=self._to_sinks)

    # Spans without usage ------------------------------------------------------------------------------------

    def _without_usage(
        self, span: Told, path: list[SpanKey], record: Record, parents: Mapping[SpanKey, SpanKey | None]
    ) -> Description | None:
        """What to do about a span without usage, now that those with usage are decided."""
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

    def look(self, parents: Mapping[SpanKey, SpanKey | None] = MappingProxyType({})) -> None:
        """Drop waiting spans whose call has come, follow those around which more has, count those for whom it is time.

        Done with every batch; where none may come for long, call it now and then.
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

    def _is_another(self, span: Told, path: list[SpanKey], record: Record) -> bool:
        """Whether a span without usage is a call that another span has told of."""
        return (
            span.key in self._around
            or any(one in self._counted or one in self._inside for one in path)
            or self._recorder.seen(span, record)
        )

    def _blank_call(self, span: Told, record: Record) -> Description:
        remember(self._blank, span.key, None, REMEMBERED)
        return self._recorder.count(record, span, to_sinks=self._to_sinks)
