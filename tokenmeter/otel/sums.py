"""Exact sums of settled records by attributes, read by observable counters.

Sums are kept here and not in synchronous instruments, because a counter of the SDK adds floats, costs about 10 µs
per call, and knows nothing of calls made before a `MeterProvider` was set. Money is summed as `Decimal`.

Taking a record costs an append. It is folded into the sums (and priced, if it is not yet) when the sums are
read, or by a later call once `PENDING_MOST` are waiting: all of them at once, since work done in a row costs a third
of the same work done between two calls to a vendor. Writers never wait for the lock; only a reader does.

Sums are kept per set of attributes, and both are bounded: a model or tag that shows more than `values_most` values
becomes `OVERFLOW_VALUE` in further ones, and beyond `series_most` sets a call is summed under OpenTelemetry's own
`otel.metric.overflow`. Currency, source and component are no part of that bound, so an overflow never mixes yuan
with dollars, and totals stay exact. What a single record adds is said in `tallies`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from tokenmeter._support.fork import on_fork
from tokenmeter._support.guard import absorbed, logger
from tokenmeter.calls.usual_call import Settled, UsualCall, record_of
from tokenmeter.otel import semconv
from tokenmeter.otel.sum_tables import EXTRA, STANDARD_TABLES, Tables, UsualSums, add, merge, tally
from tokenmeter.record import Record

if TYPE_CHECKING:
    from decimal import Decimal

    from tokenmeter.calls.usual_call import Bill
    from tokenmeter.offers import Offer

__all__ = ["PRICE_FROM", "Accumulator", "Folded", "Row"]

PENDING_MOST: Final = 64
PRICE_FROM: Final = "price_from"
"""The table that is no sum: since when the prices in use hold."""
Row = tuple[Mapping[str, Any], "int | Decimal"]
"""One point of a counter: its attributes and its sum so far."""
Folded = tuple[Settled, Mapping[str, Any]]
"""A call that was summed, and the standard attributes, bounded, under which it was."""


class _Series:
    """The sums of one set of attributes. Keys of `tables` are a table's name and its extra attributes' values."""

    __slots__ = ("attributes", "standard", "tables")

    def __init__(self, attributes: dict[str, Any], standard: dict[str, Any]) -> None:
        self.attributes = attributes
        self.standard = standard
        self.tables: Tables = {}


class Accumulator:
    """Sums by attributes. `tags` names the tags that become metric attributes; None means all of them.

    Thread-safe; safe in a forked child, which starts from nothing so that no call is summed by two processes.
    """

    def __init__(self, *, tags: Iterable[str] | None = None, series_most: int = 1000, values_most: int = 200) -> None:
        self._tags = None if tags is None else frozenset(tags)
        self._series_most = series_most
        self._values_most = values_most
        self.forked()
        on_fork(self)

    def forked(self) -> None:
        """In a child process: empty, since the parent goes on reporting what was summed before."""
        self._pending: deque[tuple[Settled, bool]] = deque()
        self._lock = threading.Lock()
        self._quick: dict[tuple[Any, ...], _Series] = {}
        self._series: dict[tuple[Any, ...], _Series] = {}
        self._values: dict[str, set[str]] = {}
        self._overflow: _Series | None = None
        self._offers: dict[int, Offer] = {}
        self._starts: dict[tuple[str, str, str], float] = {}

    # Taking records -----------------------------------------------------------------------------------------

    def add(self, settled: Settled, *, ours: bool = True) -> list[Folded]:
        """Take a call; `ours` says whether its span is, so that standard counters may include it.

        Returns what this call folded: usually nothing.
        """
        self._pending.append((settled, ours))
        if len(self._pending) <= PENDING_MOST or not self._lock.acquire(blocking=False):
            return []
        try:
            return self._fold(0)
        finally:
            self._lock.release()

    @property
    def waiting(self) -> int:
        """How many records are taken and not yet folded."""
        return len(self._pending)

    def fold(self) -> list[Folded]:
        """Fold everything that is waiting, and return it."""
        if not self._pending:
            return []
        with self._lock:
            return self._fold(0)

    def _fold(self, leave: int) -> list[Folded]:
        folded: list[Folded] = []
        usual: dict[Any, tuple[_Series, UsualSums, UsualCall, Bill]] = {}
        try:
            while len(self._pending) > leave:
                settled, ours = self._pending.popleft()
                try:
                    if not isinstance(settled, UsualCall) or not self._fold_usual(settled, ours, usual, folded):
                        self._fold_one(record_of(settled), ours, folded)
                except BaseException as error:
                    if not absorbed("summing a call", error):
                        raise
                    add(self._overflowing().tables, ("failures",), 1)
        finally:  # also where an exception of the program's passes
            for key, (series, sums, one, bill) in usual.items():
                sums.add_to(series.tables, one, bill, ours=key[0])
        return folded

    def _fold_usual(
        self,
        one: UsualCall,
        ours: bool,
        usual: dict[Any, tuple[_Series, UsualSums, UsualCall, Bill]],
        folded: list[Folded],
    ) -> bool:
        """Take a usual call into the sums of its form and price; false where it is to be tallied by itself."""
        bill = one.bill
        if bill is None:
            return False
        tags = one.tags
        key: tuple[Any, ...] = (ours, one.form, bill.quote, bill.prices)
        if tags:
            key = (*key, *tags.items())
        known = usual.get(key)
        if known is None:
            known = usual[key] = (self._of(one.record), UsualSums(), one, bill)
        if not known[1].take(one.usage, bill):
            return False
        if id(bill.quote.offer) not in self._offers:
            self._note_price(bill.quote.offer)
        folded.append((one, known[0].standard))
        return True

    def _fold_one(self, record: Record, ours: bool, folded: list[Folded]) -> None:
        series = self._of(record)
        cost = tally(series.tables, record, ours)
        folded.append((record, series.standard))
        if cost is not None and cost.amount is not None and id(cost.offer) not in self._offers:
            self._note_price(cost.offer)

    def compare(self, *, provider: str, model: str, family: str, kind: str, counted: int, reported: int) -> None:
        """Take our own count of what a vendor reported; `kind` is input or output."""
        with self._lock:
            attributes = {
                semconv.SITE: self._bounded(semconv.SITE, provider),
                semconv.REQUEST_MODEL: self._bounded(semconv.REQUEST_MODEL, model),
            }
            tables = self._series_of(attributes, {}).tables
            add(tables, ("compared_counted", family, kind), counted)
            add(tables, ("compared_reported", family, kind), reported)

    def _note_price(self, offer: Offer) -> None:
        if len(self._offers) >= 4 * self._series_most:
            self._offers.clear()
        self._offers[id(offer)] = offer
        if offer.effective_from is None or offer.model is None or offer.list is None:
            return
        key = (offer.provider, offer.model, offer.list)
        if key in self._starts or len(self._starts) < self._series_most:
            start = offer.effective_from.timestamp()
            self._starts[key] = max(start, self._starts.get(key, start))

    # Finding the series ---------------------------------------------------------------------------------------

    def _of(self, record: Record) -> _Series:
        quick = (
            record.provider,
            record.otel_provider,
            record.operation,
            record.request_model,
            record.response_model,
            record.host,
            record.port,
            *record.tags.items(),
        )
        series = self._quick.get(quick)
        if series is None:
            series = self._find(record)
            if len(self._quick) < 4 * self._series_most:
                self._quick[quick] = series
        return series

    def _find(self, record: Record) -> _Series:
        standard: dict[str, Any] = {semconv.OPERATION: record.operation}
        for name, value in (
            (semconv.PROVIDER, record.otel_provider or record.provider),
            (semconv.REQUEST_MODEL, record.request_model),
            (semconv.RESPONSE_MODEL, record.response_model),
            (semconv.SERVER_ADDRESS, record.host),
        ):
            if value is not None:
                standard[name] = self._bounded(name, value)
        if record.port is not None and record.host is not None:
            standard[semconv.SERVER_PORT] = record.port
        attributes = {name: value for name, value in standard.items() if not name.startswith("server.")}
        if record.provider is not None:
            attributes[semconv.SITE] = record.provider
        for tag in sorted(record.tags):
            if self._tags is None or tag in self._tags:
                name = (semconv.TAG + tag).encode("utf-8", "replace").decode()
                attributes[name] = self._bounded(name, record.tags[tag])
        return self._series_of(attributes, standard)

    def _series_of(self, attributes: dict[str, Any], standard: dict[str, Any]) -> _Series:
        key = (*standard.items(), None, *attributes.items())
        series = self._series.get(key)
        if series is None:
            if len(self._series) >= self._series_most:
                return self._overflowing()
            series = self._series[key] = _Series(attributes, standard)
        return series

    def bounded(self, name: str, value: object) -> str:
        """A value of an attribute that is no part of the series, or `OVERFLOW_VALUE` if it has shown too many."""
        with self._lock:
            return self._bounded(name, value)

    def _bounded(self, name: str, value: object) -> str:
        text = value if isinstance(value, str) else str(value)
        text = text[:256].encode("utf-8", "replace").decode()
        seen = self._values.setdefault(name, set())
        if text not in seen:
            if len(seen) >= self._values_most:
                return semconv.OVERFLOW_VALUE
            seen.add(text)
            if len(seen) == self._values_most:
                logger.warning(
                    "metric attribute %s has shown %d values; further ones are summed as %s",
                    name,
                    self._values_most,
                    semconv.OVERFLOW_VALUE,
                )
        return text

    def _overflowing(self) -> _Series:
        if self._overflow is None:
            self._overflow = _Series({semconv.OVERFLOW: True}, {semconv.OVERFLOW: True})
        return self._overflow

    # Reading ------------------------------------------------------------------------------------------------

    def rows(self, table: str) -> list[Row]:
        """The points of one table, of what is folded: call `fold` before."""
        if table == PRICE_FROM:
            return self._price_starts()
        names = EXTRA[table]
        with self._lock:
            every = list(self._series.values())
            if self._overflow is not None:
                every.append(self._overflow)
            return [
                ({name: str(part) for name, part in zip(names, key[1:], strict=True)} | base, value)
                for series in every
                for base in (series.standard if table in STANDARD_TABLES else series.attributes,)
                for key, value in series.tables.items()
                if key[0] == table
            ]

    def _price_starts(self) -> list[Row]:
        names = (semconv.SITE, semconv.COST_MODEL, semconv.COST_CURRENCY)
        with self._lock:
            return [(dict(zip(names, key, strict=True)), int(start)) for key, start in self._starts.items()]

    def absorb(self, other: Accumulator) -> None:
        """Add another's sums to these, such as those of a closed sink: counters must not run backwards."""
        other.fold()
        with other._lock:
            taken = [(key, series, dict(series.tables)) for key, series in other._series.items()]
            lost = dict(other._overflow.tables) if other._overflow is not None else {}
            starts = dict(other._starts)
        with self._lock:
            self._starts = {**starts, **{key: max(at, starts.get(key, at)) for key, at in self._starts.items()}}
            for key, series, tables in taken:
                mine = self._series.get(key)
                if mine is None and len(self._series) < self._series_most:
                    mine = self._series[key] = _Series(series.attributes, series.standard)
                merge((mine or self._overflowing()).tables, tables)
            if lost:
                merge(self._overflowing().tables, lost)
