"""`Sampler`: chooses the calls that calibration counts: the first few of each model, then one in fifty."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Final

from tokenmeter._support.bounded import BoundedDict

__all__ = ["CALLS", "FIRST", "PAUSE", "SPREAD", "Sampler"]

FIRST: Final = 12
"""So many calls of a model are counted at first, unless it is known from before: enough for a handful of each kind."""
CALLS: Final = 50
"""Of so many calls of a model in a row at most one is counted from then on."""
SPREAD: Final = 12
"""Up to so many more are passed over, by chance: traffic with a rhythm would show one kind of call only."""
PAUSE: Final = 1_000_000_000
"""Nanoseconds between two calls of a model that are counted."""
_MODELS_MOST: Final = 1000


class _Pace:
    """How many of a model's first calls are still to be counted, and how far it is from the next one after them."""

    __slots__ = ("first", "last", "left")

    def __init__(self, first: int, left: int) -> None:
        self.first = first
        self.left = left
        self.last: int | None = None


class Sampler:
    """Says of each call whether it is to be counted. `known(provider, model)` spares a model its first calls."""

    def __init__(
        self,
        known: Callable[[str, str], bool],
        *,
        monotonic: Callable[[], int] = time.perf_counter_ns,
        chance: random.Random | None = None,
    ) -> None:
        self._known = known
        self._monotonic = monotonic
        self._chance = chance or random.Random()
        self._pace: BoundedDict[tuple[str, str], _Pace] = BoundedDict(_MODELS_MOST)
        self._lock = threading.Lock()

    def forked(self) -> None:
        """Renew the lock in a child process: a thread of the parent may own it."""
        self._lock = threading.Lock()

    def due(self, provider: str, model: str) -> bool:
        """Whether this call of the model is one to be counted."""
        with self._lock:
            pace = self._pace.get((provider, model))
            if pace is None:
                pace = _Pace(0 if self._known(provider, model) else FIRST, self._gap())
                if not self._pace.keep((provider, model), pace):
                    return False
            if not pace.first:
                pace.left -= 1
                if pace.left > 0:
                    return False
            now = self._monotonic()
            if pace.last is not None and now - pace.last < PAUSE:
                return False
            pace.first, pace.left, pace.last = max(0, pace.first - 1), self._gap(), now
            return True

    def _gap(self) -> int:
        return CALLS + self._chance.randint(0, SPREAD)
