"""Tries a correction on pairs that it was not fitted to, and finds where a vendor's counting has changed.

A correction is used only where it wins on the past: every pair is predicted from the others, and the predictions must
be nearer than our own counts in sum, in most of the pairs that they move, and in no fewer pairs within two tokens and
within five percent. Otherwise counts stay as they are and only their range may follow the pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from tokenmeter.tokens.calibration.fit import AS_IS, HANDFUL, LEAST_PAIRS, Fit, Line, Pair, fit

__all__ = ["judged", "shifted", "wins"]

RECENT: Final = 8
"""Newest pairs looked at for a change."""
RECENT_OFF: Final = 7
"""How many of them must lie beyond the range, on one side: by chance about once in 10¹⁰."""
RUN: Final = 5
"""Pairs in a row beyond the range, on one side, from which a correction of few pairs begins anew."""
CONSTANT: Final = 2
"""Sizes of request from which a difference that is the same in all, to a token, is taken for a hidden prompt."""

_FOLDS: Final = 8
_GAIN: Final = 0.7  # the share of our error that may be left
_DOUBT: Final = 2.5  # less by this over the number of witnesses
_MOST: Final = 2.0  # error of one pair, as a share of the reported tokens, that still counts


def judged(pairs: Sequence[Pair], base: Line = AS_IS, *, prompts: bool = True) -> Fit:
    """The fit of some pairs (at least one) of prompts or answers; our count as it is, where that predicts as well."""
    known = fit(pairs, base)
    if known.corrects and not wins(pairs, base, prompts=prompts):
        return fit(pairs, line=AS_IS)
    return known


def wins(pairs: Sequence[Pair], base: Line = AS_IS, *, prompts: bool = True) -> bool:
    """Whether corrections, each learnt from other pairs, are nearer to what was reported than our counts.

    Pairs of one size are one witness: they are left out together, and a handful of sizes is asked for. A prompt that
    the vendor adds shows itself in fewer, by the same difference in all.
    """
    sizes: dict[tuple[int, int | None], list[Pair]] = {}
    for pair in pairs:
        sizes.setdefault((pair.counted, pair.own), []).append(pair)
    if len(pairs) < HANDFUL or len(sizes) < CONSTANT:
        return False
    witnesses = list(sizes.values())
    trials: list[_Trial] = []
    folds = min(len(witnesses), _FOLDS)
    for fold in range(folds):
        others = [pair for index, same in enumerate(witnesses) if index % folds != fold for pair in same]
        known = fit(others, base)
        for same in witnesses[fold::folds]:
            pair = same[-1]
            trials.append(_Trial(pair.reported, pair.counted, known.apply(pair.counted, pair.own)[0]))
    if prompts and all(trial.after <= 1 and trial.before > 2 for trial in trials):
        return True
    if len(sizes) < HANDFUL:
        return False
    better = sum(trial.after < trial.before for trial in trials)
    worse = sum(trial.after > trial.before for trial in trials)
    left = _GAIN - _DOUBT / len(trials)
    return (
        better >= 2 * worse + 3
        and sum(trial.share(trial.after) for trial in trials)
        <= left * sum(trial.share(trial.before) for trial in trials)
        and sum(trial.after <= 2 for trial in trials) >= sum(trial.before <= 2 for trial in trials)
        and sum(trial.near(trial.after) for trial in trials) >= sum(trial.near(trial.before) for trial in trials)
    )


class _Trial(NamedTuple):
    """One pair, and what was said of it by a fit to the others."""

    reported: int
    counted: int
    predicted: int

    @property
    def before(self) -> int:
        return abs(self.reported - self.counted)

    @property
    def after(self) -> int:
        return abs(self.reported - self.predicted)

    def share(self, error: int) -> float:
        return min(_MOST, error / max(1, self.reported))

    def near(self, error: int) -> bool:
        return 20 * error <= self.reported


def shifted(pairs: Sequence[Pair], base: Line = AS_IS) -> int | None:
    """The instant from which reported counts left the range that those before them set; None if they did not."""
    if len(pairs) >= LEAST_PAIRS + RECENT:
        return _left(pairs[:-RECENT], pairs[-RECENT:], RECENT_OFF, base)
    return _left(pairs[:-RUN], pairs[-RUN:], RUN, base) if len(pairs) >= HANDFUL + RUN else None


def _left(before: Sequence[Pair], recent: Sequence[Pair], most: int, base: Line) -> int | None:
    known = fit(before, base)
    ranges = [known.apply(pair.counted, pair.own) for pair in recent]
    for beyond in (
        [pair.reported > high + 1 for pair, (_, _, high) in zip(recent, ranges, strict=True)],
        [pair.reported < low - 1 for pair, (_, low, _) in zip(recent, ranges, strict=True)],
    ):
        if sum(beyond) >= most:
            return recent[beyond.index(True)].at
    return None
