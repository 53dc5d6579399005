"""What a budget store must do, in the fewest lines: the model that the stores are compared with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tokenmeter.budgets.contract import BudgetAsk, BudgetCharge, BudgetRefusal, WindowOver, WindowSpend

__all__ = ["BudgetModel"]

_Key = tuple[str, int]


class BudgetModel:
    """A budget store of one thread that forgets nothing. `now` is set by the test, and never goes backwards."""

    def __init__(self, now: int) -> None:
        self.now = now
        self.spent: Counter[_Key] = Counter()
        self.holds: dict[str, tuple[int, list[BudgetAsk]]] = {}  # until when, and what
        self.lost: dict[str, Counter[_Key]] = {}  # of calls whose lease ended
        self.done: set[str] = set()
        self.keys: dict[str, int] = {}

    def held(self, key: _Key) -> int:
        return sum(ask.amount for _, asks in self.holds.values() for ask in asks if (ask.series, ask.bucket) == key)

    def sweep(self) -> None:
        for call in [call for call, (until, _) in self.holds.items() if until <= self.now]:
            for ask in self.holds.pop(call)[1]:
                self.lost.setdefault(call, Counter())[ask.series, ask.bucket] += ask.lost
                self.spent[ask.series, ask.bucket] += ask.lost

    def misfit(self, asks: Sequence[BudgetAsk], *, timely: bool) -> BudgetRefusal | WindowOver | None:
        for place, ask in enumerate(asks):
            if timely and not ask.start <= self.now < ask.end:
                return WindowOver(self.now)
            spent, held, _, _ = self.read(ask.series, ask.bucket, ask.span)
            if ask.amount > ask.limit - spent - held or spent + held >= ask.limit:
                keys = [(ask.series, at) for at in range(ask.bucket - ask.span + 1, ask.bucket + 1)]
                oldest = next((key[1] for key in keys if self.spent[key] or self.held(key)), None)
                return BudgetRefusal(place, spent, held, oldest)
        return None

    def reserve(self, call: str, asks: Sequence[BudgetAsk], lease: int) -> BudgetRefusal | WindowOver | None:
        self.sweep()
        refused = self.misfit(asks, timely=True)
        if refused is None:
            self.holds[call] = (self.now + lease, [*self.holds.get(call, (0, []))[1], *asks])
        return refused

    def extend(self, call: str, asks: Sequence[BudgetAsk]) -> BudgetRefusal | WindowOver | None:
        if call in self.done:
            return None
        refused = self.misfit(asks, timely=False)
        if refused is None:
            until, held = self.holds.get(call, (self.now + 3_600_000, []))
            self.holds[call] = (until, [*held, *asks])
        return refused

    def settle(self, call: str, charges: Sequence[BudgetCharge]) -> tuple[int, ...] | None:
        if call in self.done:
            return None
        self.done.add(call)
        self.holds.pop(call, None)
        self.spent.subtract(self.lost.pop(call, Counter()))
        self.charge(charges)
        return tuple(self.read(one.series, one.bucket, one.span).spent for one in charges)

    def charge(self, charges: Sequence[BudgetCharge]) -> None:
        for one in charges:
            self.spent[one.series, one.bucket] += one.amount

    def reset(self, series: str) -> None:
        for key in [key for key in self.spent if key[0] == series]:
            del self.spent[key]
        for lost in self.lost.values():
            for key in [key for key in lost if key[0] == series]:
                del lost[key]

    def once(self, key: str, until: int) -> bool:
        first = self.keys.get(key, 0) <= self.now
        self.keys[key] = until if first else self.keys[key]
        return first

    def read(self, series: str, bucket: int, span: int) -> WindowSpend:
        keys = [(series, at) for at in range(bucket - span + 1, bucket + 1)]
        lost = [calls[key] for calls in self.lost.values() for key in keys if key in calls]
        return WindowSpend(sum(self.spent[key] for key in keys), sum(map(self.held, keys)), sum(lost), len(lost))
