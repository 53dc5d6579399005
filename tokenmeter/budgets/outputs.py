"""Recent lengths of answers by model: what to hold for a request that sets no limit, or for a stream at its start."""

from __future__ import annotations

import threading
from collections import deque
from typing import Final

from tokenmeter._support.bounded import BoundedDict
from tokenmeter._support.fork import on_fork

__all__ = ["Outputs"]

_KEPT: Final = 1_000
_LEAST: Final = 20
"""Below so many answers a quantile says nothing."""
_FRESH: Final = 50


class _Recent:
    __slots__ = ("added", "lengths", "ordered")

    def __init__(self) -> None:
        self.lengths: deque[int] = deque(maxlen=_KEPT)
        self.ordered: list[int] = []
        self.added = 0


class Outputs:
    """Lengths in tokens of the last 1,000 answers of each model."""

    def __init__(self) -> None:
        self._models: BoundedDict[tuple[str | None, str | None], _Recent] = BoundedDict(1_000)
        self.forked()
        on_fork(self)

    def forked(self) -> None:
        self._lock = threading.RLock()

    def add(self, provider: str | None, model: str | None, tokens: int) -> None:
        """Note the length of one answer."""
        with self._lock:
            recent = self._models.get((provider, model))
            if recent is None:
                recent = self._models.put((provider, model), _Recent())
            recent.lengths.append(tokens)
            recent.added += 1

    def quantile(self, provider: str | None, model: str | None, share: float) -> int | None:
        """The length that this share of recent answers does not exceed; None where too few are known."""
        with self._lock:
            recent = self._models.get((provider, model))
            if recent is None or len(recent.lengths) < _LEAST:
                return None
            if not recent.ordered or recent.added >= _FRESH:
                recent.ordered, recent.added = sorted(recent.lengths), 0
            return recent.ordered[min(len(recent.ordered) - 1, int(len(recent.ordered) * share))]
