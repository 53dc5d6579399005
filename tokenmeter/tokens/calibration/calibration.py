"""Learns how far our counts are off for each provider, model, kind of call and script, and corrects them by it.

Off unless asked for (`configure(calibrate=True)`, `calibration="file"`). Pairs of our count and the vendor's come in by
`learn`; `correct` gives a count with what they say, and notes it in `TokenCount.calibrated`. What a vendor reported is
never touched. The tokens of tools and of media are learnt apart from the text around them, which is corrected as text
alone is. A correction is used only while it predicts past calls better than our count does. Where reported counts leave
the range that those before them set, and stay out, learning begins anew; with more than a handful of calls before, the
vendor has changed how it counts, which is logged once and noted on records for two weeks.

    arithmetic: fit    proof: trial    pairs kept: store    calls chosen: tokenmeter.calls.calibrator
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from tokenmeter._support.guard import logger
from tokenmeter._version import __version__
from tokenmeter.token_count import TokenCount
from tokenmeter.tokens.calibration.fit import AS_IS, HANDFUL, LEAST_PAIRS, Fit, Line, Pair, fit
from tokenmeter.tokens.calibration.store import Change, Key, MemoryStore, Store
from tokenmeter.tokens.calibration.trial import judged, shifted

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
            "overhead": round(known.line.overhead, 2),
            "factor": round(known.line.factor, 4),
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
        self._fits: dict[Key, Fit] = {}
        self._unread: dict[Key, list[Pair]] = {key: found for key, found in pairs.items() if found}
        self._changes: dict[Key, int] = {}
        for change in changes:
            if change.noted:
                self._changes[change.key] = change.at

    def forked(self) -> None:
        """Renew the lock in a child process: a thread of the parent may own it."""
        self._lock = threading.Lock()

    def _now(self) -> int:
        return int(self._clock() * 1_000_000)

    def learn(
        self,
        count: TokenCount,
        reported: int,
        *,
        provider: str,
        model: str,
        script: str,
        part: str,
        own: int | None = None,
    ) -> bool:
        """Add a pair of our count, before correction, and the vendor's; returns whether the vendor has changed.

        `own` is how many of the counted tokens are tools or media, where the part is about those.
        """
        if count.tokens is None:
            return False
        key = _key(count, provider, model, script, part)
        with self._lock:
            inside = (count.low or 0) <= reported <= (count.high or 0)
            base = self._base(key)
            pairs = self.store.add(key, Pair(self._now(), count.tokens, reported, inside, own))
            at = shifted(pairs, base)
            if at is not None:
                old = [pair for pair in pairs if pair.at < at]
                pairs = [pair for pair in pairs if pair.at >= at]
                change = Change(key, at, noted=len(old) >= LEAST_PAIRS)
                if self.store.mark(change) and change.noted:
                    self._warn(change, fit(old, base), fit(pairs, base))
                if change.noted:
                    self._changes[key] = at
            self._unread.pop(key, None)
            self._fits[key] = judged(pairs, base, prompts=_of_prompts(key))
        return at is not None

    def _known(self, key: Key) -> Fit | None:
        """The fit of a key; made when it is first asked for, since a stored file may hold a thousand models."""
        pairs = self._unread.get(key)
        if pairs is not None:
            self._fits.setdefault(key, judged(pairs, self._base(key), prompts=_of_prompts(key)))
            self._unread.pop(key, None)
        return self._fits.get(key)

    def _base(self, key: Key) -> Line:
        """How the text around tools or media is corrected."""
        if key.part not in ("input_tools", "input_media"):
            return AS_IS
        counted_by = key.counted_by.rpartition(" ")[0]
        for method in ("exact", "template", "stand-in"):
            known = self._known(key._replace(part="input", counted_by=f"{counted_by} {method}"))
            if known is not None and known.holds(self._now()):
                return known.line
        return AS_IS

    def taught(self, provider: str, model: str) -> bool:
        """Whether a handful of calls of the model has been learnt from."""
        sizes = [(key, len(pairs)) for key, pairs in list(self._unread.items())]
        sizes += [(key, known.pairs) for key, known in list(self._fits.items())]
        return any(
            size >= HANDFUL
            and (key.provider, key.model, key.counted_by.partition(" ")[0]) == (provider, model, __version__)
            for key, size in sizes
        )

    def _warn(self, change: Change, before: Fit, after: Fit) -> None:
        key = change.key
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

    def correct(
        self,
        count: TokenCount,
        *,
        provider: str | None,
        model: str,
        script: str,
        part: str,
        own: int | None = None,
    ) -> TokenCount:
        """The count, corrected by the pairs of its key; unchanged where those are too few, or prove no better."""
        if count.tokens is None or provider is None:
            return count
        known = self._known(_key(count, provider, model, script, part))
        if known is None or not known.holds(self._now()) or not known.reaches(count.tokens):
            return count
        tokens, low, high = known.range(count.tokens, count.low or 0, count.high or count.tokens, own)
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
        keys = sorted(
            {*self._fits, *self._unread, *self._changes},
            key=lambda key: (key.provider, key.model, key.part, key.script),
        )
        found = []
        for key in keys:
            known = self._known(key)
            used = known is not None and known.holds(now) and key.counted_by.startswith(f"{__version__} ")
            found.append(Entry(key, known, used, self._changes.get(key)))
        return found


def _key(count: TokenCount, provider: str, model: str, script: str, part: str) -> Key:
    return Key(provider, model, script, part, f"{__version__} {count.family} {count.method}")


def _of_prompts(key: Key) -> bool:
    return key.part.startswith("input")


def _in_words(known: Fit) -> str:
    """`+12 tokens`, `×1.04`, or both, of the tokens learnt apart; then of the text around them, where that differs."""
    words = _line_in_words(known.line)
    return words if known.base == AS_IS else f"{words}, text {_line_in_words(known.base)}"


def _line_in_words(line: Line) -> str:
    parts = []
    if round(line.overhead):
        parts.append(f"{round(line.overhead):+d} tokens")
    if line.factor != 1.0 or not parts:
        parts.insert(0, f"×{line.factor:.3g}")
    return " ".join(parts)


def instant_text(at: int | None) -> str | None:
    """An instant of a pair or change as RFC 3339, in UTC."""
    if at is None:
        return None
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at // 1_000_000, UTC).isoformat().replace("+00:00", "Z")
