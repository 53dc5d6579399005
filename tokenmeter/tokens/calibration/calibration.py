"""Learns how far our counts are off for each provider, model and script, and corrects them by it.

Off unless asked for (`configure(calibrate=True)`, `calibration="file"`). Pairs of our count and the vendor's come in by
`learn`; `correct` gives a count with what they say, and notes it in `TokenCount.calibrated`. What a vendor reported is
never touched. Where reported counts leave the range that those before them set, and stay out, the vendor has changed
how it counts: that is logged once, noted on records for two weeks, and learning begins anew.

    arithmetic: fit    pairs kept: store    calls chosen: tokenmeter.calls.calibrator
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from tokenmeter._support.guard import logger
from tokenmeter._version import __version__
from tokenmeter.tokens.calibration.fit import Fit, Pair, fit, shifted
from tokenmeter.tokens.calibration.store import Change, Key, MemoryStore, Store
from tokenmeter.usage import TokenCount

__all__ = ["Calibration", "Entry", "instant_text"]

NOTED: Final = 14 * 86_400_000_000
"""Microseconds for which records say that a vendor changed how it counts."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of one key: its fit, whether that is used now, and the vendor's last change."""

    key: Key
    fit: Fit | None
    used: bool
    changed_at: int | None

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON; instants as RFC 3339 in UTC."""
        known = self.fit
        answer: dict[str, Any] = {**self.key._asdict(), "used": self.used, "changed_at": instant_text(self.changed_at)}
        if known is None:
            return {**answer, "pairs": 0}
        return {
            **answer,
            "pairs": known.pairs,
            "overhead": round(known.overhead, 2),
            "factor": round(known.factor, 4),
            "inside": round(known.inside, 3),
            "tokens_off": round(known.tokens_off, 1),
            "share_off": round(known.share_off, 4),
            "range_by": "share" if known.by_share else "tokens",
            "counted": [known.least, known.most],
            "since": instant_text(known.since),
            "until": instant_text(known.until),
        }


class Calibration:
    """Learns from pairs and corrects counts. `now` gives seconds since the epoch. Threads may share it."""

    def __init__(self, store: Store | None = None, *, now: Callable[[], float] = time.time) -> None:
        self.store: Final[Store] = store if store is not None else MemoryStore()
        self._clock = now
        self._lock = threading.Lock()
        pairs, changes = self.store.load()
        self._fits: dict[Key, Fit] = {key: fit(found) for key, found in pairs.items() if found}
        self._changes: dict[Key, int] = {}
        for change in changes:
            self._changes[change.key] = change.at

    def forked(self) -> None:
        """Renew the lock in a child process: a thread of the parent may own it."""
        self._lock = threading.Lock()

    def _now(self) -> int:
        return int(self._clock() * 1_000_000)

    def learn(self, count: TokenCount, reported: int, *, provider: str, model: str, script: str, part: str) -> bool:
        """Add a pair of our count, before correction, and the vendor's; returns whether the vendor has changed."""
        if count.tokens is None:
            return False
        key = _key(count, provider, model, script, part)
        with self._lock:
            inside = (count.low or 0) <= reported <= (count.high or 0)
            pairs = self.store.add(key, Pair(self._now(), count.tokens, reported, inside))
            at = shifted(pairs)
            if at is not None:
                self._note(Change(key, at), pairs)
                pairs = [pair for pair in pairs if pair.at >= at]
            self._fits[key] = fit(pairs)
        return at is not None

    def _note(self, change: Change, pairs: list[Pair]) -> None:
        key = change.key
        self._changes[key] = change.at
        if not self.store.mark(change):
            return
        before = fit([pair for pair in pairs if pair.at < change.at] or pairs)
        after = fit([pair for pair in pairs if pair.at >= change.at])
        logger.warning(
            "%s counts %s tokens of %s (%s) in another way since %s: %s before, %s now. Its tokenizer or what it adds "
            "to a request has changed; counts of ours are not corrected for it until enough calls have been seen",
            key.provider,
            key.part,
            key.model,
            key.script,
            instant_text(change.at),
            _in_words(before),
            _in_words(after),
        )

    def correct(self, count: TokenCount, *, provider: str | None, model: str, script: str, part: str) -> TokenCount:
        """The count, corrected by the pairs of its key; unchanged where those are too few."""
        if count.tokens is None or provider is None:
            return count
        known = self._fits.get(_key(count, provider, model, script, part))
        if known is None or not known.holds(self._now()):
            return count
        tokens, low, high = known.range(count.tokens, count.low or 0, count.high or count.tokens)
        correction = f"{_in_words(known)}, from {known.pairs} calls"
        return replace(count, tokens=tokens, low=low, high=high, calibrated=correction)

    def changes(self, provider: str, model: str) -> tuple[str, ...]:
        """What to note on a record of this model: the parts whose reported counts changed of late."""
        if not self._changes:
            return ()
        recent = self._now() - NOTED
        return tuple(
            f"calibration: {key.part} tokens ({key.script}) are counted in another way since {instant_text(at)}"
            for key, at in list(self._changes.items())
            if at > recent and key.provider == provider and key.model == model
        )

    def entries(self) -> list[Entry]:
        """Everything known, by provider, model, part and script."""
        now = self._now()
        keys = sorted({*self._fits, *self._changes}, key=lambda key: (key.provider, key.model, key.part, key.script))
        found = []
        for key in keys:
            known = self._fits.get(key)
            used = known is not None and known.holds(now) and key.counted_by.startswith(f"{__version__} ")
            found.append(Entry(key, known, used, self._changes.get(key)))
        return found


def _key(count: TokenCount, provider: str, model: str, script: str, part: str) -> Key:
    return Key(provider, model, script, part, f"{__version__} {count.family} {count.method}")


def _in_words(known: Fit) -> str:
    """`+12 tokens`, `×1.04`, or both."""
    parts = []
    if round(known.overhead):
        parts.append(f"{round(known.overhead):+d} tokens")
    if known.factor != 1.0 or not parts:
        parts.insert(0, f"×{known.factor:.3g}")
    return " ".join(parts)


def instant_text(at: int | None) -> str | None:
    """An instant of a pair or change as RFC 3339, in UTC."""
    if at is None:
        return None
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at // 1_000_000, UTC).isoformat().replace("+00:00", "Z")
