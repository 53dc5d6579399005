"""A budget store in the memory of one process: one lock, counters in a dict, and a heap of leases.

What it remembers is bounded: counters of windows that are over are forgotten after `KEEP`, and of settled calls the
newest, at least `_SETTLED`.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from tokenmeter._support.fork import on_fork
from tokenmeter.budgets.contract import BudgetAsk, BudgetCharge, BudgetRefusal, WindowOver, WindowSpend

__all__ = ["KEEP", "MemoryBudgetStore"]

KEEP: Final = 3_600_000
"""For how many ms a counter is kept after its window's end, for calls that settle late."""
_SETTLED: Final = 50_000
_SWEPT: Final = 100
_SOON: Final = 60_000
_STALE: Final = 1_000
"""Leases of calls that have ended by now are cleared when they are so many, and more than those of open calls."""
_DONE: Final[dict[tuple[str, int], int]] = {}
"""Marks a call as settled or released."""
_SPENT, _HELD, _LOST, _LOST_CALLS, _UNTIL = range(5)


class _Hold:
    __slots__ = ("asks", "until")

    def __init__(self, asks: list[tuple[str, int, int, int]], until: int) -> None:
        self.asks = asks  # (series, bucket, amount, lost)
        self.until = until


class MemoryBudgetStore:
    """Counters of this process. A forked child begins with the parent's counters and none of its holds."""

    waits = False

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        self._clock = clock
        self._latest = 0
        self._counters: dict[str, dict[int, list[int]]] = {}
        self._holds: dict[str, _Hold] = {}
        self._leases: list[tuple[int, str]] = []
        # `_DONE` for a settled call, for a swept one what was charged as lost: the newest, and those before them.
        self._done: dict[str, dict[tuple[str, int], int]] = {}
        self._done_before: dict[str, dict[tuple[str, int], int]] = {}
        self._once: dict[str, int] = {}
        self._prune_at = 0
        self._lock = threading.RLock()  # a stream that the garbage collector closes may settle inside an operation
        on_fork(self)

    def forked(self) -> None:
        self._lock = threading.RLock()
        for hold in self._holds.values():
            self._unhold(hold)
        self._holds, self._leases = {}, []

    def now(self) -> int:
        return max(self._clock() // 1_000_000, self._latest)

    def _tick(self) -> int:
        """The time, noted so that it never goes back. Inside the lock."""
        self._latest = now = max(self._clock() // 1_000_000, self._latest)
        return now

    def reserve(self, call: str, asks: Sequence[BudgetAsk], lease: float) -> BudgetRefusal | WindowOver | None:
        with self._lock:
            now = self._tick()
            if self._leases and self._leases[0][0] <= now:
                self._sweep(now)
            refused = self._misfit(asks, now)
            if refused is not None:
                return refused
            until = now + round(lease * 1000)
            self._hold(call, asks, until).until = until
            if now >= self._prune_at:
                self._prune(now)
            elif len(self._leases) > _STALE + 2 * len(self._holds):
                self._clear_leases()
        return None

    def _misfit(self, asks: Sequence[BudgetAsk], now: int | None) -> BudgetRefusal | WindowOver | None:
        for index, ask in enumerate(asks):
            if now is not None and not ask.start <= now < ask.end:
                return WindowOver(now)
            spent, held, oldest = self._sums(ask.series, ask.bucket, ask.span)
            left = ask.limit - spent - held
            if ask.amount > left or left <= 0:
                return BudgetRefusal(index, spent, held, oldest)
        return None

    def _sums(self, series: str, bucket: int, span: int) -> tuple[int, int, int | None]:
        counters = self._counters.get(series)
        if not counters:
            return 0, 0, None
        if span == 1:
            counter = counters.get(bucket)
            if counter is None:
                return 0, 0, None
            spent, held = counter[_SPENT], counter[_HELD]
            return spent, held, bucket if spent or held else None
        inside = [(at, one) for at in range(bucket - span + 1, bucket + 1) if (one := counters.get(at)) is not None]
        oldest = min((at for at, one in inside if one[_SPENT] or one[_HELD]), default=None)
        return sum(one[_SPENT] for _, one in inside), sum(one[_HELD] for _, one in inside), oldest

    def extend(self, call: str, asks: Sequence[BudgetAsk]) -> BudgetRefusal | None:
        with self._lock:
            if self._settled(call) is _DONE:
                return None
            refused = self._misfit(asks, None)
            if isinstance(refused, BudgetRefusal):
                return refused
            self._hold(call, asks, self._tick() + KEEP)
        return None

    def settle(self, call: str, charges: Sequence[BudgetCharge]) -> tuple[int, ...] | None:
        with self._lock:
            lost = self._settled(call)
            if lost is _DONE:
                return None
            self._mark(call, _DONE)
            hold = self._holds.pop(call, None)
            if hold is not None:
                self._unhold(hold)
            self._add(charges)
            for (series, bucket), amount in (lost or {}).items():
                self._lose(series, bucket, -amount, -1)
            return tuple(self._sums(one.series, one.bucket, one.span)[0] for one in charges)

    def release(self, call: str) -> bool:
        return self.settle(call, ()) is not None

    def withdraw(self, call: str) -> None:
        with self._lock:
            hold = self._holds.pop(call, None)
            if hold is not None:
                self._unhold(hold)

    def once(self, key: str, until: int) -> bool:
        with self._lock:
            if self._once.get(key, 0) > self._tick():
                return False
            self._once[key] = until
        return True

    def renew(self, calls: Iterable[str], lease: float) -> None:
        with self._lock:
            until = self._tick() + round(lease * 1000)
            for call in calls:
                hold = self._holds.get(call)
                if hold is not None:
                    hold.until = until  # the heap's entry finds out when it is due

    def read(self, series: str, bucket: int, span: int) -> WindowSpend:
        with self._lock:
            self._sweep(self._tick())
            counters = self._counters.get(series, {})
            inside = [one for at in range(bucket - span + 1, bucket + 1) if (one := counters.get(at)) is not None]
            return WindowSpend(*(sum(one[field] for one in inside) for field in (_SPENT, _HELD, _LOST, _LOST_CALLS)))

    def charge(self, charges: Sequence[BudgetCharge]) -> None:
        with self._lock:
            self._add(charges)

    def reset(self, series: str) -> None:
        with self._lock:
            for counter in self._counters.get(series, {}).values():
                counter[_SPENT] = counter[_LOST] = counter[_LOST_CALLS] = 0
            # What is forgotten is not given back when a vanished call settles after all.
            for call, lost in [*self._done_before.items(), *self._done.items()]:
                if any(key[0] == series for key in lost):
                    self._mark(call, {key: amount for key, amount in lost.items() if key[0] != series})

    def end_series(self, series: str) -> None:
        """Forget a series soon, such as that of a scope whose run is over, once nothing is held in it."""
        with self._lock:
            for counter in self._counters.get(series, {}).values():
                counter[_UNTIL] = self._tick() - KEEP + _SOON

    def series(self, prefix: str) -> list[str]:
        with self._lock:
            return sorted(name for name in self._counters if name.startswith(prefix))

    def close(self) -> None:
        return

    # Inside the lock ------------------------------------------------------------------------------------------

    def _counter(self, series: str, bucket: int, until: int) -> list[int]:
        counters = self._counters.get(series)
        if counters is None:
            counters = self._counters[series] = {}
        counter = counters.get(bucket)
        if counter is None:
            counter = counters[bucket] = [0, 0, 0, 0, until]
        return counter

    def _hold(self, call: str, asks: Sequence[BudgetAsk], until: int) -> _Hold:
        """Add to what a call holds; a new hold lives until `until`."""
        hold = self._holds.get(call)
        if hold is None:
            hold = self._holds[call] = _Hold([], until)
        if until >= hold.until:
            heapq.heappush(self._leases, (until, call))
        for ask in asks:
            self._counter(ask.series, ask.bucket, ask.until)[_HELD] += ask.amount
            hold.asks.append((ask.series, ask.bucket, ask.amount, ask.lost))
        return hold

    def _lose(self, series: str, bucket: int, amount: int, calls: int) -> None:
        """Charge what a vanished call may have cost, or take that back; a counter that is forgotten stays so."""
        counter = self._counters.get(series, {}).get(bucket)
        if counter is not None:
            counter[_SPENT] += amount
            counter[_LOST] += amount
            counter[_LOST_CALLS] += calls

    def _add(self, charges: Sequence[BudgetCharge]) -> None:
        for charge in charges:
            self._counter(charge.series, charge.bucket, charge.until)[_SPENT] += charge.amount

    def _unhold(self, hold: _Hold) -> None:
        for series, bucket, amount, _ in hold.asks:
            self._counter(series, bucket, 0)[_HELD] -= amount

    def _settled(self, call: str) -> dict[tuple[str, int], int] | None:
        """`_DONE` for a settled call, what was charged for a swept one; None for others."""
        lost = self._done.get(call)
        return lost if lost is not None else self._done_before.get(call)

    def _mark(self, call: str, lost: dict[tuple[str, int], int]) -> None:
        self._done[call] = lost
        if len(self._done) >= _SETTLED:
            self._done_before, self._done = self._done, {}

    def _sweep(self, now: int) -> None:
        """End the holds whose lease is over, the most overdue first, and charge what each is given as lost."""
        for _ in range(_SWEPT):
            if not self._leases or self._leases[0][0] > now:
                return
            _, call = heapq.heappop(self._leases)
            hold = self._holds.get(call)
            if hold is None:
                continue
            if hold.until > now:
                heapq.heappush(self._leases, (hold.until, call))
                continue
            del self._holds[call]
            self._unhold(hold)
            before = self._settled(call) or {}  # a call whose hold grew after it had expired is swept again
            lost: dict[tuple[str, int], int] = {}
            for series, bucket, _, amount in hold.asks:
                lost[series, bucket] = lost.get((series, bucket), 0) + amount
            for key, amount in lost.items():
                self._lose(*key, amount, 0 if key in before else 1)
            self._mark(call, {**before, **{key: before.get(key, 0) + amount for key, amount in lost.items()}})

    def _clear_leases(self) -> None:
        self._leases = [(hold.until, call) for call, hold in self._holds.items()]
        heapq.heapify(self._leases)

    def _prune(self, now: int) -> None:
        """Forget counters of windows that are long over and hold nothing, and the leases of settled calls."""
        self._prune_at = now + KEEP // 60
        self._clear_leases()
        self._once = {name: end for name, end in self._once.items() if end > now}
        for series, counters in list(self._counters.items()):
            spans = [at for at, one in counters.items() if one[_UNTIL] < now - KEEP and not one[_HELD]]
            for bucket in spans:
                del counters[bucket]
            if not counters:
                del self._counters[series]
