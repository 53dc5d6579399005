"""The answer to one form of request over a period: prices a usage by the state of its time-of-day windows.

`provider_prices` finds the rate, makes the quote and keeps it; a warm call goes through `Quote.price` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from datetime import date, datetime
from heapq import merge

from tokenmeter.cost import STALE, Cost
from tokenmeter.offers import Line, Offer
from tokenmeter.prices.charges import Table
from tokenmeter.prices.price_file import Validity
from tokenmeter.prices.resolved_rate import ResolvedRate, TokenRange
from tokenmeter.prices.time_windows import INSIDE, UNKNOWN, Window
from tokenmeter.prices.whole_prices import WholePrices
from tokenmeter.usage import Usage

__all__ = ["Quote", "Resolved"]

#: What bills, the public list's rate where that differs, and the flags of both.
Resolved = tuple[ResolvedRate, "ResolvedRate | None", tuple[str, ...]]


class Quote:
    """The answer to one form of request from `since` until `until`: rates by the state of its windows, or a reason."""

    __slots__ = (
        "_make", "_older", "_resolved", "_stale_from", "_windows", "covered_by", "flags", "offer", "reason", "since",
        "steady", "until",
    )  # fmt: skip

    def __init__(
        self,
        validity: Validity,
        offer: Offer,
        make: Callable[[Collection[str]], Resolved] | None = None,
        *,
        windows: tuple[Window, ...] = (),
        flags: tuple[str, ...] = (),
        reason: str | None = None,
        covered_by: str | None = None,
        stale_from: Callable[[date], float] | None = None,
    ) -> None:
        """`stale_from` gives the instant from which a price last seen on a day is stale."""
        self._stale_from = stale_from
        self.since, self.until = validity.since, validity.until
        self.offer, self.reason, self.covered_by, self.flags = offer, reason, covered_by, flags
        self._make, self._windows = make, windows
        self._resolved: dict[tuple[int, ...], Resolved | str] = {}
        self._older: dict[date, Offer] = {}
        self.steady: WholePrices | None = None
        """The answer of `whole` where it is always the same, once it is known."""

    def price(self, usage: Usage, at: datetime | int, instant: float) -> Cost:
        """The cost of a usage at an instant this quote is good for, `at` as `Cost` takes it."""
        windows = self._windows
        state = tuple([window.state(instant) for window in windows]) if windows else ()
        resolved = self._resolved.get(state)
        if resolved is None:
            resolved = self._resolved[state] = self._decide(state)
        if isinstance(resolved, str):
            return self._unpriced(at, resolved)
        rate, list_rate, flags = resolved
        table = rate.table(usage)
        if isinstance(table, str):
            return self._unpriced(at, table)
        amount, lines, more, reason = table.bill(usage)
        if more:
            flags += more
        if rate.edges:
            length = usage.input_tokens or 0
            flags += tuple(name for low, high, name in rate.edges if low < length <= high)
        offer = self.offer
        if table.older:
            offer, flags = self._oldest(lines, instant, flags)
        if amount is None:
            return Cost(offer, "unpriced", None, lines, at, flags, reason, self.covered_by)
        free = not amount and (table.free or (bool(lines) and not any(price.rate for price, _, _ in lines)))
        list_amount = None
        if list_rate is not None and isinstance(listed := list_rate.table(usage), Table):
            list_amount = listed.bill(usage)[0]
        return Cost(
            offer, "free" if free else "priced", amount, lines, at, flags, None, self.covered_by, list_amount,
            (table, usage),
        )  # fmt: skip

    def whole(self, usage: Usage, instant: float) -> WholePrices | None:
        """The prices as whole numbers, for a usage of plain tokens at an instant this quote is good for.

        None where the cost says more than its amount, and until `price` has been asked for the like.
        """
        windows = self._windows
        state = tuple([window.state(instant) for window in windows]) if windows else ()
        resolved = self._resolved.get(state)
        if resolved is None or isinstance(resolved, str):
            return None
        rate, list_rate, flags = resolved
        if list_rate is not None or flags or rate.edges:
            return None
        table = rate.table(usage)
        found = None if isinstance(table, str) else table.whole
        if rate.steady and not windows:
            self.steady = found
        return found

    def table(self, usage: Usage, instant: float) -> Table | str:
        """What bills a usage at an instant this quote is good for; a text says why nothing does."""
        state = tuple([window.state(instant) for window in self._windows])
        resolved = self._resolved.get(state)
        if resolved is None:
            resolved = self._resolved[state] = self._decide(state)
        return resolved if isinstance(resolved, str) else resolved[0].table(usage)

    def only_table(self) -> Table | None:
        """What bills every usage at every instant this quote is good for; None where that depends on one of them."""
        if self._windows:
            return None
        resolved = self._resolved.get(())
        if resolved is None:
            resolved = self._resolved[()] = self._decide(())
        return None if isinstance(resolved, str) else resolved[0].only_table

    def rate_between(self, since: float, until: float) -> ResolvedRate | None:
        """The rate in force all the time between two instants; None where it changes meanwhile, or there is none.

        Windows begin and end at whole minutes.
        """
        if not (self.since <= since and until <= self.until):
            return None
        state = tuple([window.state(since) for window in self._windows])
        minutes = range(int(since // 60 + 1) * 60, int(until), 60)
        if any(
            window.state(minute) != one for window, one in zip(self._windows, state, strict=True) for minute in minutes
        ):
            return None
        resolved = self._resolved.get(state)
        if resolved is None:
            resolved = self._resolved[state] = self._decide(state)
        return None if isinstance(resolved, str) else resolved[0]

    @property
    def has_windows(self) -> bool:
        """Whether the price depends on the hour of the day."""
        return bool(self._windows)

    def spans(self, since: float, until: float) -> Iterator[tuple[float, float]]:
        """The time from `since` until `until` in spans over which every window is either inside or outside."""
        if not self._windows or since >= until:
            yield since, until
            return
        start, state = since, self._state(since)
        for edge in merge(*(window.edges(since, until) for window in self._windows)):
            if since < edge < until and (found := self._state(edge)) != state:
                yield start, edge
                start, state = edge, found
        yield start, until

    def cells(self, instant: float) -> Iterator[tuple[dict[str, TokenRange], Table]]:
        """The tables that bill at an instant, each with the ranges of tokens that it is for; none where unpriced."""
        state = self._state(instant)
        resolved = self._resolved.get(state)
        if resolved is None:
            resolved = self._resolved[state] = self._decide(state)
        if not isinstance(resolved, str):
            yield from resolved[0].cells()

    def _state(self, instant: float) -> tuple[int, ...]:
        return tuple([window.state(instant) for window in self._windows])

    def _oldest(self, lines: tuple[Line, ...], instant: float, flags: tuple[str, ...]) -> tuple[Offer, tuple[str, ...]]:
        """The offer and flags of charges of which some were last seen before the rate was."""
        oldest = min((price.seen for price, _, _ in lines if price.seen is not None), default=None)
        if oldest is None:
            return self.offer, flags
        if self._stale_from is not None and instant >= self._stale_from(oldest) and STALE not in flags:
            flags += (STALE,)
        offer = self._older.get(oldest)
        if offer is None:
            offer = self._older[oldest] = self.offer.seen_on(oldest)
        return offer, flags

    def _decide(self, state: tuple[int, ...]) -> Resolved | str:
        if self._make is None:
            return self.reason or ""
        try:
            rate, list_rate, flags = self._make(
                {w.name for w, s in zip(self._windows, state, strict=True) if s & INSIDE}
            )
        except ValueError as error:
            return str(error)
        unknown = ("calendar_unknown",) if any(one & UNKNOWN for one in state) else ()
        return rate, list_rate, self.flags + flags + unknown

    def _unpriced(self, at: datetime | int, reason: str) -> Cost:
        return Cost(self.offer, "unpriced", None, (), at, self.flags, reason, self.covered_by)
