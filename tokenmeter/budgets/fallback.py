"""What happens while a budget store cannot be reached: calls go on or are refused, and nothing spent is forgotten.

With `open`, a call goes on without a hold. With `closed`, it is refused. Either way what calls cost meanwhile is kept
in memory and pushed, in order, when the store is back. After a failure the store is left alone for a moment, so calls
do not wait for their deadline one after another; a background job looks whether it is back.
"""

from __future__ import annotations

import functools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

from tokenmeter._support.fork import on_fork
from tokenmeter._support.guard import logger
from tokenmeter._support.ids import new_id
from tokenmeter._support.worker import worker
from tokenmeter.budgets.contract import (
    BudgetAsk,
    BudgetCharge,
    BudgetRefusal,
    BudgetStore,
    StoreError,
    WindowOver,
    WindowSpend,
)

__all__ = ["FallbackStore", "StoreAway"]

_T = TypeVar("_T")
_Kept = tuple[str, tuple[BudgetCharge, ...] | None]
"""A call and what it is charged; None where its hold is withdrawn."""
_KEPT: Final = 100_000
_FIRST_WAIT: Final = 0.1
_LONGEST_WAIT: Final = 5.0


class StoreAway(Exception):
    """The store cannot be reached, and calls are refused meanwhile."""


class _NotAsked(StoreError):
    """The store was not asked, since it was away a moment ago."""


class FallbackStore:
    """A store that may go away. `opens` says that calls go on without it."""

    def __init__(self, store: BudgetStore, *, opens: bool) -> None:
        self.store = store
        self.waits = store.waits
        self._opens = opens
        self.forked()
        on_fork(self)

    def forked(self) -> None:
        """In a child process: what the parent has yet to push is the parent's."""
        self._lock = threading.RLock()  # of what is noted here, never taken while the store is asked
        self._pushing = threading.Lock()
        self._away_until = 0.0
        self._wait = _FIRST_WAIT
        self._kept: deque[_Kept] = deque()
        self._looking = False
        self.lost = 0
        """Charges that were dropped because too many waited."""

    @property
    def away(self) -> bool:
        """Whether the store is not asked now."""
        return self._away_until > time.monotonic()

    def _try(self, act: Callable[[], _T]) -> _T:
        """Run an operation, unless the store was just found away. Raises StoreError."""
        if self.away:
            raise _NotAsked("it was away a moment ago")
        try:
            result = act()
        except StoreError as error:
            self._failed(error)
            raise
        if self._away_until:
            self._away_until, self._wait = 0.0, _FIRST_WAIT
            logger.warning("the budget store is back; %d charges are being pushed", len(self._kept))
        return result

    def _failed(self, error: StoreError) -> None:
        with self._lock:
            if not self._away_until:
                goes = "calls go on without it" if self._opens else "calls are refused"
                logger.warning("the budget store is away (%s); %s until it is back", error, goes)
            if not self.away:  # calls that failed at the same time count as one failure
                self._away_until = time.monotonic() + self._wait
                self._wait = min(self._wait * 2, _LONGEST_WAIT)
            self._look_again()

    def _look_again(self) -> None:
        if not self._looking and worker.start():
            self._looking = True
            worker.after(max(0.05, self._away_until - time.monotonic()), self._look)

    def _look(self) -> None:
        self._looking = False
        done = self.push()
        with self._lock:
            if not done or self._kept or self._away_until:
                self._look_again()

    # The contract -----------------------------------------------------------------------------------------------

    def now(self) -> int:
        return self.store.now()

    def reserve(self, call: str, asks: Sequence[BudgetAsk], lease: float) -> BudgetRefusal | WindowOver | None:
        try:
            return self._try(lambda: self.store.reserve(call, asks, lease))
        except StoreError as error:
            if self._opens:
                return None
            if not isinstance(error, _NotAsked):  # it may have held, and only its answer is lost
                self._keep(call, None)
            raise StoreAway(str(error)) from None

    def extend(self, call: str, asks: Sequence[BudgetAsk]) -> BudgetRefusal | None:
        try:
            return self._try(lambda: self.store.extend(call, asks))
        except StoreError:
            return None

    def settle(self, call: str, charges: Sequence[BudgetCharge]) -> tuple[int, ...] | None:
        try:
            return self._try(lambda: self.store.settle(call, charges))
        except StoreError:
            self._keep(call, charges)
            return None

    def release(self, call: str) -> bool:
        return self.settle(call, ()) is not None

    def charge(self, charges: Sequence[BudgetCharge]) -> None:
        # Under an id, so that a charge whose answer was lost is not made twice.
        self.settle(f"charge {new_id()}", charges)

    def _keep(self, call: str, charges: Sequence[BudgetCharge] | None) -> None:
        with self._lock:
            if len(self._kept) >= _KEPT:
                self._kept.popleft()
                self.lost += 1
                if self.lost == 1:
                    logger.warning("the budget store is away for long: the oldest charges are dropped from here on")
            self._kept.append((call, tuple(charges) if charges is not None else None))
            self._look_again()

    def push(self) -> bool:
        """Push what was kept, in order; whether all of it was."""
        if not self._pushing.acquire(blocking=False):
            return False
        try:
            return self._push_all()
        except StoreError:
            return False
        finally:
            self._pushing.release()

    def _push_all(self) -> bool:
        while self._kept:
            with self._lock:
                kept = self._kept.popleft()
            try:
                self._try(functools.partial(self._push, *kept))
            except StoreError:
                with self._lock:
                    self._kept.appendleft(kept)
                raise
        if self._away_until:
            self._try(lambda: self.store.read("", 0, 1))
        return True

    def _push(self, call: str, charges: tuple[BudgetCharge, ...] | None) -> None:
        if charges is None:
            self.store.withdraw(call)
        else:
            self.store.settle(call, charges)

    def withdraw(self, call: str) -> None:
        try:
            self._try(lambda: self.store.withdraw(call))
        except StoreError:
            self._keep(call, None)

    def once(self, key: str, until: int) -> bool:
        try:
            return self._try(lambda: self.store.once(key, until))
        except StoreError:
            return True  # rather twice than never

    def renew(self, calls: Iterable[str], lease: float) -> None:
        try:
            self._try(lambda: self.store.renew(calls, lease))
        except StoreError:
            return

    def read(self, series: str, bucket: int, span: int) -> WindowSpend:
        return self._try(lambda: self.store.read(series, bucket, span))

    def reset(self, series: str) -> None:
        self._try(lambda: self.store.reset(series))

    def series(self, prefix: str) -> list[str]:
        return self._try(lambda: self.store.series(prefix))

    def close(self) -> None:
        self.push()
        self.store.close()
