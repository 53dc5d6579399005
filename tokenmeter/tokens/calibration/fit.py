"""Fits pairs of our count and the vendor's: to an overhead, a factor and a range.

    reported ≈ overhead + factor × counted

The simplest account that explains the pairs wins: our count as it is, tokens added to each request alone, a factor
alone, and only then both, so that a handful of requests of one length does not invent a factor. Medians throughout:
one request with a hidden page in it moves nothing. A pair's weight halves in `HALF_LIFE`, so what is no longer seen
fades until it is not used. Both figures are bounded: beyond the bounds it is not our count that is off.

The range is that of the pairs themselves: as far as 95% of them lie from the line, in tokens or as a share, whichever
is narrower where requests of that size were seen, and the wider of the two elsewhere. Where our count is right as it is
and our own range holds, that range stays, until there are pairs enough to say that it may be narrower.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

__all__ = ["FACTOR", "HALF_LIFE", "LEAST_PAIRS", "OVERHEAD", "WINDOW", "Fit", "Pair", "fit", "shifted"]

HALF_LIFE: Final = 14 * 86_400_000_000
"""Microseconds in which a pair loses half its weight."""
WINDOW: Final = 128
"""Pairs kept, the newest ones."""
LEAST_PAIRS: Final = 20
"""Pairs before anything is corrected: 19 are the fewest whose greatest distance bounds 95% of the next."""
LEAST_WEIGHT: Final = 5.0
"""Decayed pairs below which a correction is no longer used."""
OVERHEAD: Final = (-512.0, 8192.0)
"""Bounds of the overhead, in tokens: no vendor's hidden prompt seen so far is longer."""
FACTOR: Final = (0.4, 2.5)
"""Bounds of the factor: no two vocabularies differ by more on one script."""
RECENT: Final = 8
"""Newest pairs looked at for a change."""
RECENT_OFF: Final = 7
"""How many of them must lie beyond the range, on one side: by chance about once in 10¹⁰."""

_COVER: Final = 0.97  # a little above 95%: the line was drawn through the same pairs
_HOLDS: Final = 0.95
_NARROWS: Final = 60  # decayed pairs from which a range may be narrower than our own
_AS_IS: Final = 1.3  # how much worse than the best account our count as it is may be, and half a token
_SIMPLER: Final = 1.25  # how much worse than both figures one of them alone may be, and half a token
_SLACK: Final = 0.5  # counts are whole numbers


class Pair(NamedTuple):
    """One call: when it settled (microseconds since the epoch), what we counted, and what was reported.

    `inside` says whether the reported count was in the range of ours.
    """

    at: int
    counted: int
    reported: int
    inside: bool = False


@dataclass(frozen=True, slots=True)
class Fit:
    """What a set of pairs says. `tokens_off` and `share_off` hold 95% of them; `weight` is as of `until`."""

    overhead: float
    factor: float
    tokens_off: float
    share_off: float
    by_share: bool
    """Whether the share is the narrower range for requests of the size seen."""
    inside: float
    """The share of pairs whose reported count was in the range of ours."""
    pairs: int
    weight: float
    least: int
    most: int
    since: int
    until: int

    def weight_at(self, now: float) -> float:
        """The decayed number of pairs at an instant."""
        return self.weight * float(0.5 ** (max(0.0, now - self.until) / HALF_LIFE))

    def holds(self, now: float) -> bool:
        """Whether there are pairs enough, and young enough, to correct by."""
        return self.pairs >= LEAST_PAIRS and self.weight_at(now) >= LEAST_WEIGHT

    def range(self, counted: int, low: int, high: int) -> tuple[int, int, int]:
        """The corrected count with low and high, given our own."""
        best, least, most = self.apply(counted)
        if self.overhead or self.factor != 1.0 or self.inside < _HOLDS:
            return best, least, most
        return (best, max(low, least), min(high, most)) if self.weight >= _NARROWS else (best, low, high)

    def apply(self, counted: int) -> tuple[int, int, int]:
        """The corrected count with the low and high that the pairs have."""
        best = max(0.0, self.overhead + self.factor * counted)
        by_share = self.share_off * best
        off = by_share if self.by_share else self.tokens_off
        if not self.least <= counted <= self.most:
            off = max(by_share, self.tokens_off)
        return round(best), max(0, math.floor(best - off)), math.ceil(best + off)


def fit(pairs: Sequence[Pair]) -> Fit:
    """What some pairs (at least one) say; whether they are enough is `Fit.holds`."""
    until = max(pair.at for pair in pairs)
    weights = [0.5 ** ((until - pair.at) / HALF_LIFE) for pair in pairs]
    overhead, factor = _line(pairs, weights)
    lines = [max(1.0, overhead + factor * pair.counted) for pair in pairs]
    away = [abs(pair.reported - line) for pair, line in zip(pairs, lines, strict=True)]
    wider = 1 + 5 / len(pairs)  # the fewer pairs, the more the line has bent to meet them
    tokens_off = wider * _quantile(away, weights, _COVER) + _SLACK
    share_off = wider * _quantile([off / line for off, line in zip(away, lines, strict=True)], weights, _COVER)
    share_off += _SLACK / max(lines)
    return Fit(
        overhead=overhead,
        factor=factor,
        tokens_off=tokens_off,
        share_off=share_off,
        by_share=share_off * _mean(lines, weights) < tokens_off,
        inside=_mean([float(pair.inside) for pair in pairs], weights),
        pairs=len(pairs),
        weight=sum(weights),
        least=min(pair.counted for pair in pairs),
        most=max(pair.counted for pair in pairs),
        since=min(pair.at for pair in pairs),
        until=until,
    )


def shifted(pairs: Sequence[Pair]) -> int | None:
    """The instant from which reported counts left the range that those before them set; None if they did not."""
    before, recent = pairs[:-RECENT], pairs[-RECENT:]
    if len(before) < LEAST_PAIRS:
        return None
    known = fit(before)
    ranges = [known.apply(pair.counted) for pair in recent]
    for beyond in (
        [pair.reported > high + 1 for pair, (_, _, high) in zip(recent, ranges, strict=True)],
        [pair.reported < low - 1 for pair, (_, low, _) in zip(recent, ranges, strict=True)],
    ):
        if sum(beyond) >= RECENT_OFF:
            return recent[beyond.index(True)].at
    return None


def _line(pairs: Sequence[Pair], weights: Sequence[float]) -> tuple[float, float]:
    """Overhead and factor: of one alone, the other alone, or both, the simplest that will do."""
    added = _quantile([pair.reported - pair.counted for pair in pairs], weights)
    with_text = [(pair, weight) for pair, weight in zip(pairs, weights, strict=True) if pair.counted]
    if not with_text:
        return _within(added, OVERHEAD), 1.0
    ratios = [pair.reported / pair.counted for pair, _ in with_text]
    ratio = _quantile(ratios, [weight * pair.counted for pair, weight in with_text])
    off = _off(pairs, weights)
    best = min(((0.0, 1.0), (_within(added, OVERHEAD), 1.0), (0.0, _within(ratio, FACTOR))), key=off)
    if off(best) <= _SLACK:
        return best  # nothing can be better
    slope = _within(_slope(pairs, weights, ratio), FACTOR)
    rest = _quantile([pair.reported - slope * pair.counted for pair in pairs], weights)
    both = (_within(rest, OVERHEAD), slope)
    if off((0.0, 1.0)) <= _AS_IS * min(off(best), off(both)) + _SLACK:
        return 0.0, 1.0
    return best if off(best) <= _SIMPLER * off(both) + _SLACK else both


def _off(pairs: Sequence[Pair], weights: Sequence[float]) -> Callable[[tuple[float, float]], float]:
    """How far the pairs lie from a line: three in four within this, so that the odd ones have no say."""

    def off(line: tuple[float, float]) -> float:
        return _quantile([abs(pair.reported - line[0] - line[1] * pair.counted) for pair in pairs], weights, 0.75)

    return off


def _slope(pairs: Sequence[Pair], weights: Sequence[float], otherwise: float) -> float:
    """The median slope between two pairs, the far apart weighing more (Theil and Sen's line)."""
    slopes: list[float] = []
    weigh: list[float] = []
    order = sorted(zip(pairs, weights, strict=True), key=lambda item: (item[0].counted, item[0].reported))
    half = len(order) // 2  # neighbours say little about the slope and are most of the work
    for index, (one, weight) in enumerate(order[: len(order) - half]):
        for other, its in order[index + half :]:
            apart = other.counted - one.counted
            if apart:
                slopes.append((other.reported - one.reported) / apart)
                weigh.append(weight * its * apart)
    return _quantile(slopes, weigh) if slopes else otherwise


def _within(value: float, bounds: tuple[float, float]) -> float:
    return min(max(value, bounds[0]), bounds[1])


def _mean(values: Iterable[float], weights: Sequence[float]) -> float:
    return sum(value * weight for value, weight in zip(values, weights, strict=True)) / sum(weights)


def _quantile(values: Sequence[float], weights: Sequence[float], share: float = 0.5) -> float:
    """The least value that has this share of the weight at or below it."""
    order = sorted(zip(values, weights, strict=True))
    wanted = share * sum(weights)
    seen = 0.0
    for value, weight in order:
        seen += weight
        if seen >= wanted:
            return value
    return order[-1][0]
