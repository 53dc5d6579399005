"""One provider's price file: its head, and for each model the timeline of its rates.

The file is indexed by model when it is opened and nothing more: a rate is read when a call first needs it, so the
first price does not pay for the whole book. Whether the file is sound is for `check` to say, which reads everything.

Dating. A rate begins at the vendor's own instant (`effective`: official), else at midnight of the first day a source
carried it (`observed`), else, known only by its end (`until`: open), where the rate before it was last known. The
latest beginning not after an instant is in force; so a later entry never changes an earlier answer.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Any, Final

from tokenmeter._support.lazy import LazyMapping
from tokenmeter.cost import STALE
from tokenmeter.prices.components import load_schema
from tokenmeter.prices.conditions import Prices, number, prices_of, read_case
from tokenmeter.prices.rate_lines import by_model
from tokenmeter.prices.time_windows import Window, as_date, zone_of

__all__ = ["OWN", "PriceFile", "Rate", "Timeline", "Validity", "instant_of"]

EVER: Final = math.inf
OWN: Final = "own"
"""The dating and the confidence of a price that is the user's own (`own_rates.py`)."""
STALE_AFTER: Final = 180
"""Days after which a price that no source has shown since is flagged, unless a file's head says another number."""
_ENTRIES: Final = frozenset({"rate", "alias", "form", "plan", "discount", "contract"})  # what is not head


class Validity:
    """The time over which an answer stays the same, narrowed by everything it was derived from."""

    __slots__ = ("since", "until")

    def __init__(self) -> None:
        self.since, self.until = -EVER, EVER

    def narrow(self, since: float, until: float) -> None:
        self.since, self.until = max(self.since, since), min(self.until, until)


def instant_of(value: date | str, zone: tzinfo) -> float:
    """Seconds since 1970 (UTC) of a day's midnight in `zone`, or of an instant with its own offset.

    Raises ValueError for a time without offset.
    """
    if isinstance(value, str):
        value = date.fromisoformat(value) if len(value) == 10 else datetime.fromisoformat(value)
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"{value} has no offset: write {value.isoformat()}+08:00, or the day alone")
        return value.timestamp()
    return datetime.combine(value, time(), zone).timestamp()


class Rate:
    """One entry of a price file, dated: in force from `start` until the next entry's."""

    __slots__ = ("_prices", "dating", "entry", "file", "last_known", "start", "until")

    def __init__(
        self, entry: Mapping[str, Any], file: PriceFile, start: float, dating: str, until: float, last_known: float
    ) -> None:
        self.entry, self.file, self.start, self.dating = entry, file, start, dating
        self.until, self.last_known = until, last_known
        self._prices: Prices | None = None

    @property
    def model(self) -> str:
        model: str = self.entry["model"]
        return model

    @property
    def list(self) -> str:
        return self.file.list_of(self.entry)

    @property
    def withdrawn(self) -> bool:
        return bool(self.entry.get("withdrawn", False))

    @property
    def confidence(self) -> str | None:
        return self.entry.get("confidence")

    @property
    def starts_at(self) -> datetime | None:
        """Where the book lets this rate begin, in the provider's zone; None if it has no beginning."""
        return None if math.isinf(self.start) else datetime.fromtimestamp(self.start, self.file.zone)

    @property
    def id(self) -> str:
        """`provider/model@start`, with `#list` where it is not the provider's default one."""
        start = self.starts_at
        if self.dating == OWN:
            return f"{self.file.provider}/{self.model}@{OWN}"
        if self.dating == "open":
            when = f"..{_short(datetime.fromtimestamp(self.until, self.file.zone))}"
        else:
            when = "" if start is None else _short(start)
        suffix = "" if self.list == self.file.currency else f"#{self.list}"
        return f"{self.file.provider}/{self.model}@{when}{suffix}"

    def review_by(self) -> date | None:
        value = self.entry.get("review_by")
        return None if value is None else as_date(value)

    def last_seen(self) -> date | None:
        """The last day on which a source showed the entry; None if the entry does not say."""
        if "seen" in self.entry:
            return as_date(self.entry["seen"])
        observed = self.entry.get("observed")
        return None if observed is None else as_date(observed[1])

    def stale_from(self, seen: date | None, after: int) -> float:
        """The instant from which a price last seen on a day is stale: `after` days later."""
        return EVER if seen is None else instant_of(seen + timedelta(days=after + 1), self.file.zone)

    def announced(self) -> float:
        """The instant from which another price was announced that no source has confirmed since."""
        value = self.entry.get("announced")
        return EVER if value is None else instant_of(value, self.file.zone)

    def prices(self) -> Prices:
        """What the entry says, read from its table."""
        if self._prices is None:
            self._prices = _read_prices(self)
        return self._prices

    def flags(self, instant: float, next_start: float, stale_after: int) -> Iterator[str]:
        """What a reader of this answer should know about its date; `stale_after` is in days."""
        if instant >= self.until:
            yield "past_until"
        elif self.dating == "observed" and self.last_known <= instant and next_start < EVER:
            yield "between_observations"
        review = self.review_by()
        if review is not None and instant >= instant_of(review + timedelta(days=1), self.file.zone):
            yield "past_review"
        if instant >= self.announced():
            yield "announced"
        if instant >= self.stale_from(self.last_seen(), stale_after):
            yield STALE

    def turns(self, stale_after: int) -> Iterator[float]:
        """Instants at which the flags change."""
        yield self.stale_from(self.last_seen(), stale_after)
        yield self.until
        yield self.last_known
        yield self.announced()
        review = self.review_by()
        if review is not None:
            yield instant_of(review + timedelta(days=1), self.file.zone)


def _short(moment: datetime) -> str:
    return moment.date().isoformat() if moment.time() == time() else moment.isoformat(timespec="minutes")[:16]


def _read_prices(rate: Rate) -> Prices:
    entry, head, schema = rate.entry, rate.file.head, load_schema()
    return Prices(
        base=prices_of(entry, schema),
        cases=tuple(read_case(case, schema) for case in entry.get("case", ())),
        stand_in={**head.get("stand_in", {}), **entry.get("stand_in", {})},
        assume={**head.get("assume", {}), **entry.get("assume", {})},
        per=entry.get("per", {}),
        step={name: number(value) for name, value in entry.get("step", {}).items()},
        minimum={name: number(value) for name, value in entry.get("minimum", {}).items()},
        free=entry.get("free", False),
        k=tuple(entry.get("k", head.get("k", ()))),
        seen_by={name: as_date(day) for name, day in entry.get("seen_by", {}).items()},
    )


class Timeline:
    """The rates of one model in one list, by beginning."""

    def __init__(self, entries: list[Mapping[str, Any]], file: PriceFile) -> None:
        self.rates = sorted(_dated(entries, file), key=lambda rate: rate.start)
        self._starts = [rate.start for rate in self.rates]

    def in_force(self, instant: float, validity: Validity) -> Rate | None:
        """The rate in force at an instant, withdrawn ones included; None before the first."""
        index = bisect_right(self._starts, instant)
        since = self._starts[index - 1] if index else -EVER
        until = self._starts[index] if index < len(self._starts) else EVER
        validity.narrow(since, until)
        return self.rates[index - 1] if index else None

    def after(self, rate: Rate) -> float:
        """When the rate following this one begins."""
        index = self.rates.index(rate) + 1
        return self._starts[index] if index < len(self._starts) else EVER


def _dated(entries: list[Mapping[str, Any]], file: PriceFile) -> Iterator[Rate]:
    zone = file.zone
    dated, open_ended = [], []
    for entry in entries:
        if file.own:
            yield Rate(entry, file, -EVER, OWN, EVER, EVER)
            continue
        until = instant_of(entry["until"], zone) if "until" in entry else EVER
        observed = entry.get("observed")
        known = -EVER if observed is None else instant_of(as_date(observed[1]) + timedelta(days=1), zone)
        if "effective" in entry:
            start = instant_of(entry["effective"], zone)
            day = datetime.fromtimestamp(start, zone).date()
            known = max(known, instant_of(day + timedelta(days=1), zone))
            dated.append(Rate(entry, file, start, "official", until, min(known, until)))
        elif observed is not None:
            dated.append(Rate(entry, file, instant_of(observed[0], zone), "observed", until, min(known, until)))
        else:
            open_ended.append((entry, until))
    yield from dated
    known_ends = [(rate.start, rate.until if rate.until < EVER else rate.last_known) for rate in dated]
    for entry, until in sorted(open_ended, key=lambda pair: pair[1]):
        # It reaches back to where the rate before it was last known, or without limit.
        before = [end for start, end in known_ends if start < until]
        start = min(max(before, default=-EVER), until)
        if start < until:
            known_ends.append((start, until))
            yield Rate(entry, file, start, "open", until, until)


class PriceFile:
    """A price file, opened. `below` is the file of the same provider it is laid over, whose head it inherits.

    `own` marks the user's own prices (`own_rates.py`), which have no dates.
    """

    head: dict[str, Any]

    def __init__(self, data: Mapping[str, Any], below: PriceFile | None = None) -> None:
        self.data = data
        inherited = {} if below is None else below.head
        own = {key: value for key, value in data.items() if key not in _ENTRIES}
        self.head = {**inherited, **own}
        self.head["exception"] = [*inherited.get("exception", ()), *data.get("exception", ())]
        self.head["windows"] = {**inherited.get("windows", {}), **data.get("windows", {})}
        self.provider: str = self.head["provider"]
        self.currency: str = self.head["currency"]
        self.zone = zone_of(self.head["timezone"])
        self.stale_after: int = self.head.get("stale_after", STALE_AFTER)
        self.contract = bool(data.get("contract", False))
        self.own = bool(data.get(OWN, False))
        self.discounts: list[Mapping[str, Any]] = data.get("discount", [])
        self.plans = {plan["id"]: plan for plan in data.get("plan", [])}
        models = by_model(data.get("rate", ()))
        self.entries: Mapping[str, Mapping[str, list[Mapping[str, Any]]]] = LazyMapping(
            models, lambda model: self._by_list(models[model])
        )
        """The entries of each model, by list."""
        self._timelines: dict[tuple[str, str], Timeline] = {}
        self._windows: dict[str, Window] = {}

    def _by_list(self, entries: Iterable[Mapping[str, Any]]) -> Mapping[str, list[Mapping[str, Any]]]:
        found: dict[str, list[Mapping[str, Any]]] = {}
        for entry in entries:
            found.setdefault(self.list_of(entry), []).append(entry)
        return found

    def list_of(self, entry: Mapping[str, Any]) -> str:
        """The list (currency) an entry belongs to."""
        name: str = entry.get("currency", self.currency)
        return name

    def lists(self, model: str) -> list[str]:
        """The lists that price a model."""
        return list(self.entries.get(model, ()))

    def timeline(self, model: str, name: str) -> Timeline | None:
        """The dated rates of a model in a list, or None if it has none there."""
        found = self._timelines.get((model, name))
        if found is None and (entries := self.entries.get(model, {}).get(name)):
            found = self._timelines[model, name] = Timeline(entries, self)
        return found

    def window(self, name: str) -> Window:
        """A window of the head. Raises KeyError if there is none of this name."""
        found = self._windows.get(name)
        if found is None:
            found = Window.read(name, self.head["windows"][name], self.head["timezone"])
            self._windows[name] = found
        return found
