"""Exact sums of everything that was metered, read by observable counters.

Sums are kept here and not in synchronous instruments, because a counter of the SDK adds floats, costs about 10 µs
per call, and knows nothing of calls made before a `MeterProvider` was set. Money is summed as `Decimal`.

Taking a record costs an append. It is folded into the sums (and priced, if nobody asked before) when the sums are
read, or by a later call once `PENDING_MOST` are waiting: all of them at once, since work done in a row costs a third
of the same work done between two calls to a vendor. Writers never wait for the lock; only a reader does.

Sums are kept per set of attributes, and both are bounded: a model or tag that shows more than `values_most` values
becomes `OVERFLOW_VALUE` in further ones, and beyond `series_most` sets a call is summed under OpenTelemetry's own
`otel.metric.overflow`. Currency, source and component are no part of that bound, so an overflow never mixes yuan
with dollars, and totals stay exact.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from tokenmeter._guard import guard, logger
from tokenmeter.money import EXACT
from tokenmeter.record import End, Record
from tokenmeter.sinks import semconv
from tokenmeter.usage import Source, Usage

__all__ = ["Accumulator", "Folded", "Row", "disjoint", "exact_sum", "source_of_call"]

PENDING_MOST: Final = 64
_ZERO: Final = Decimal(0)
_INPUT_PARTS: Final = (
    ("cache_read", "cache_read_input_tokens"),
    ("cache_write", "cache_write_input_tokens"),
    ("audio_input", "audio_input_tokens"),
    ("image_input", "image_input_tokens"),
    ("video_input", "video_input_tokens"),
)
_OUTPUT_PARTS: Final = (
    ("reasoning_output", "reasoning_output_tokens"),
    ("audio_output", "audio_output_tokens"),
    ("image_output", "image_output_tokens"),
)
_KINDS: Final = (("input", "input_tokens", _INPUT_PARTS), ("output", "output_tokens", _OUTPUT_PARTS))
_MEDIA: Final = (
    ("input", "input_tokens", (("audio", "audio_input_tokens"), ("image", "image_input_tokens"))),
    ("output", "output_tokens", (("audio", "audio_output_tokens"), ("image", "image_output_tokens"))),
)
_STANDARD: Final = (
    ("cache_read", "cache_read_input_tokens"),
    ("cache_write", "cache_write_input_tokens"),
    ("reasoning", "reasoning_output_tokens"),
)

_Tables = dict[tuple[Any, ...], "int | Decimal"]
Row = tuple[Mapping[str, Any], "int | Decimal"]
"""One point of a counter: its attributes and its sum so far."""
Folded = tuple[Record, Mapping[str, Any]]
"""A record that was summed, and the standard attributes, bounded, under which it was."""


class _Series:
    """The sums of one set of attributes. Keys of `tables` are a table's name and its extra attributes' values."""

    __slots__ = ("attributes", "standard", "tables")

    def __init__(self, attributes: dict[str, Any], standard: dict[str, Any]) -> None:
        self.attributes = attributes
        self.standard = standard
        self.tables: _Tables = {}


_EXTRA: Final[Mapping[str, tuple[str, ...]]] = {
    "cost": (semconv.COST_CURRENCY, semconv.COST_SOURCE),
    "usage": (semconv.COMPONENT, semconv.TOKEN_TYPE, semconv.USAGE_SOURCE),
    "quantity": (semconv.COMPONENT, semconv.USAGE_SOURCE),
    "estimated": (semconv.TOKEN_TYPE, semconv.BOUND, semconv.USAGE_SOURCE),
    "calls": (semconv.END, semconv.COST_STATUS, semconv.USAGE_SOURCE),
    "attempts": (),
    "unpriced": (semconv.END,),
    "failures": (),
    "input": (semconv.MODALITY,),
    "output": (semconv.MODALITY,),
    "cache_read": (semconv.MODALITY,),
    "cache_write": (semconv.MODALITY,),
    "reasoning": (semconv.MODALITY,),
}
"""The extra attributes of each table, in the order of its keys."""
STANDARD_TABLES: Final = frozenset({"input", "output", "cache_read", "cache_write", "reasoning"})


class Accumulator:
    """Sums by attributes. `tags` names the tags that become metric attributes; None means all of them.

    Thread-safe; safe in a forked child, which starts from nothing so that no call is summed by two processes.
    """

    def __init__(self, *, tags: Iterable[str] | None = None, series_most: int = 1000, values_most: int = 200) -> None:
        self._tags = None if tags is None else frozenset(tags)
        self._series_most = series_most
        self._values_most = values_most
        self._clear()
        _forkable(self)

    def _clear(self) -> None:
        self._pending: deque[tuple[Record, bool]] = deque()
        self._lock = threading.Lock()
        self._quick: dict[tuple[Any, ...], _Series] = {}
        self._series: dict[tuple[Any, ...], _Series] = {}
        self._values: dict[str, set[str]] = {}
        self._overflow: _Series | None = None

    # Taking records -----------------------------------------------------------------------------------------

    def add(self, record: Record, *, ours: bool = True) -> list[Folded]:
        """Take a record; `ours` says whether its span is, so that standard counters may include it.

        Returns what this call folded: usually nothing.
        """
        self._pending.append((record, ours))
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
        while len(self._pending) > leave:
            record, ours = self._pending.popleft()
            series: _Series | None = None
            with guard("summing a call"):
                series = self._of(record)
                self._sum(series.tables, record, ours)
                folded.append((record, series.standard))
            if series is None:
                _add(self._overflowing().tables, ("failures",), 1)
        return folded

    def _sum(self, tables: _Tables, record: Record, ours: bool) -> None:
        if record.attempts:
            _add(tables, ("attempts",), len(record.attempts))
        end = record.end
        if end is End.DELEGATED:  # others carry what happened inside: not a call of its own
            return
        source = source_of_call(record)
        status = "unpriced"
        with guard("pricing a call"):
            cost = record.cost
            status = cost.status
            amount = cost.amount
            if amount is not None:
                key = ("cost", cost.currency, source)
                tables[key] = EXACT.add(tables.get(key, _ZERO), amount)
        _add(tables, ("calls", end, status, source), 1)
        if status == "unpriced":
            _add(tables, ("unpriced", end), 1)
        usage = record.usage
        for part in disjoint(usage):
            _add(tables, ("usage", part[0], part[1], part[2]), part[3])
        if usage.quantities or usage.ranges:
            _sum_rare(tables, usage)
        if ours and record.operation in semconv.INFERENCE:
            _sum_standard(tables, usage)

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
                attributes[semconv.TAG + tag] = self._bounded(semconv.TAG + tag, record.tags[tag])
        key = (*standard.items(), None, *attributes.items())
        series = self._series.get(key)
        if series is None:
            if len(self._series) >= self._series_most:
                return self._overflowing()
            series = self._series[key] = _Series(attributes, standard)
        return series

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
        """The points of one counter, folded or not yet: call `fold` before."""
        names = _EXTRA[table]
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

    def absorb(self, other: Accumulator) -> None:
        """Add another's sums to these, such as those of a closed sink: counters must not run backwards."""
        other.fold()
        with other._lock:
            theirs = [(key, series, dict(series.tables)) for key, series in other._series.items()]
            lost = dict(other._overflow.tables) if other._overflow is not None else {}
        with self._lock:
            for key, series, tables in theirs:
                mine = self._series.get(key)
                if mine is None and len(self._series) < self._series_most:
                    mine = self._series[key] = _Series(series.attributes, series.standard)
                _merge((mine or self._overflowing()).tables, tables)
            if lost:
                _merge(self._overflowing().tables, lost)


def disjoint(usage: Usage) -> list[tuple[str, str, Source, int]]:
    """Tokens by component so that they add up: (component, "input" or "output", source, tokens).

    A total is split into its known parts and the rest; where the parts contradict the total, the total stands whole.
    """
    answer: list[tuple[str, str, Source, int]] = []
    general, special, cached_media = usage.source, usage.sources, usage.cached_media
    for kind, field, parts in _KINDS:
        total = getattr(usage, field)
        if total is None or total < 0:
            continue
        rest, before, contradicted = total, len(answer), False
        for component, name in parts:
            tokens = getattr(usage, name)
            if not tokens:
                continue
            if cached_media and component != "cache_read":
                # Cached audio is inside both `cache_read` and `audio_input`: it counts as the former.
                tokens -= cached_media.get(component.partition("_")[0], 0)
            contradicted |= tokens < 0
            rest -= tokens
            answer.append((component, kind, special.get(name, general) if special else general, tokens))
        if rest < 0 or contradicted:
            del answer[before:]
            rest = total
        if rest or len(answer) == before:
            answer.append((kind, kind, special.get(field, general) if special else general, rest))
    return answer


def source_of_call(record: Record) -> Source:
    """`record.usage_source`, quickly for the common case."""
    usage = record.usage
    if usage.sources or usage.input_tokens is None or usage.output_tokens is None or record.end is End.DELEGATED:
        return record.usage_source
    return usage.source


def _sum_rare(tables: _Tables, usage: Usage) -> None:
    for name, amount in usage.quantities.items():
        if amount > 0:
            key = ("quantity", name, usage.source_of(name))
            tables[key] = EXACT.add(tables.get(key, _ZERO), amount)
    for name, (low, high) in usage.ranges.items():
        kind, source = name.partition("_")[0], usage.source_of(name)
        _add(tables, ("estimated", kind, "low", source), max(low, 0))
        _add(tables, ("estimated", kind, "high", source), max(high, 0))


def _sum_standard(tables: _Tables, usage: Usage) -> None:
    """The conventions' own counters: reported numbers only, by modality where the vendor told."""
    general, special = usage.source, usage.sources
    if not special and general is not Source.REPORTED:
        return
    for kind, field, media in _MEDIA:
        total = getattr(usage, field)
        if total is None or total < 0 or (special and special.get(field, general) is not Source.REPORTED):
            continue
        rest, told = total, []
        for medium, name in media:
            tokens = getattr(usage, name)
            if tokens is not None and tokens > 0:
                told.append((medium, tokens))
                rest -= tokens
        if rest < 0:
            rest, told = total, []
        for medium, tokens in told:
            _add(tables, (kind, medium), tokens)
        if rest or not told:
            _add(tables, (kind, "text" if told else "unknown"), rest)
    for table, field in _STANDARD:
        tokens = getattr(usage, field)
        if tokens and tokens > 0 and (not special or special.get(field, general) is Source.REPORTED):
            _add(tables, (table, "unknown"), tokens)


def _add(tables: _Tables, key: tuple[Any, ...], count: int) -> None:
    tables[key] = tables.get(key, 0) + count


def _merge(into: _Tables, tables: _Tables) -> None:
    for key, value in tables.items():
        into[key] = exact_sum(into.get(key, 0), value)


def exact_sum(one: int | Decimal, other: int | Decimal) -> int | Decimal:
    """Two counts or two amounts of money as one, in our own decimal context."""
    if isinstance(one, int) and isinstance(other, int):
        return one + other
    return EXACT.add(one, other)


# A forked child inherits its parent's sums, which the parent goes on reporting.
_alive: weakref.WeakSet[Accumulator] = weakref.WeakSet()
_watching = False


def _forkable(accumulator: Accumulator) -> None:
    global _watching
    _alive.add(accumulator)
    if not _watching and hasattr(os, "register_at_fork"):
        _watching = True
        os.register_at_fork(after_in_child=_forget)


def _forget() -> None:
    for accumulator in list(_alive):
        accumulator._clear()
