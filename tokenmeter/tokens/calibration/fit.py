"""Fits pairs of our count and the vendor's: to an overhead, a factor and a range.

    reported ≈ overhead + factor × counted

The simplest account that explains the pairs wins: our count as it is, tokens added to each request alone (a hidden
prompt), a factor alone, and only then both, so that a handful of requests of one length does not invent a factor.
Medians throughout: one request with a hidden page in it moves nothing. A pair's weight halves in `HALF_LIFE`, so what
is no longer seen fades until it is not used. Both figures are bounded: beyond the bounds it is not our count that is
off.

A pair may say which of its tokens are the kind's `own` (tools, media). Then overhead and factor are fitted to those
alone, and the rest, which is text, is taken as the line of text (`base`) has it.

The range is that of the pairs themselves: as far as 95% of them lie from the line, in tokens or as a share, whichever
is narrower where requests of that size were seen, and the wider of the two elsewhere. Few pairs never make a range
narrower than our own. Where our count is right as it is and our own range holds, that range stays, until there are
pairs enough to say that it may be narrower.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

__all__ = ["AS_IS", "FACTOR", "HALF_LIFE", "HANDFUL", "LEAST_PAIRS", "OVERHEAD", "WINDOW", "Fit", "Line", "Pair", "fit"]

HALF_LIFE: Final = 14 * 86_400_000_000
"""Microseconds in which a pair loses half its weight."""
WINDOW: Final = 128
"""Pairs kept, the newest ones."""
HANDFUL: Final = 5
"""Pairs before a count is corrected: the fewest of which four can say what the fifth will be, five times over."""
LEAST_PAIRS: Final = 20
"""Pairs before a range may be other than our own: 19 are the fewest whose greatest distance bounds 95% of the next."""
LEAST_WEIGHT: Final = 5.0
"""Decayed pairs below which a correction is no longer used; a quarter of the pairs, where that is fewer."""
OVERHEAD: Final = (-512.0, 8192.0)
"""Bounds of the overhead, in tokens: no vendor's hidden prompt seen so far is longer."""
FACTOR: Final = (0.4, 2.5)
"""Bounds of the factor: no two vocabularies differ by more on one script."""

_COVER: Final = 0.97  # a little above 95%: the line was drawn through the same pairs
_HOLDS: Final = 0.95
_NARROWS: Final = 60  # decayed pairs from which a range may be narrower than our own
_AS_IS: Final = 1.3  # how much worse than the best account our count as it is may be, and half a token
_SIMPLER: Final = 1.25  # how much worse than both figures one of them alone may be, and half a token
_SLACK: Final = 0.5  # counts are whole numbers
_SLOPES: Final = 24  # pairs of each end of the order whose slopes are taken, at most


class Pair(NamedTuple):
    """One call: when it settled (microseconds since the epoch), what we counted, and what was reported.

    `inside` says whether the reported count was in the range of ours; `own` is how many of the counted tokens are
    tools or media, where those are learnt apart from the text around them.
    """

    at: int
    counted: int
    reported: int
    inside: bool = False
    own: int | None = None


class Line(NamedTuple):
    """Tokens reported for tokens counted: `overhead + factor × counted`."""

    overhead: float
    factor: float

    def at(self, counted: float) -> float:
        """What is reported for so many tokens counted."""
        return self.overhead + self.factor * counted


AS_IS: Final = Line(0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Fit:
    """What a set of pairs says. `tokens_off` and `share_off` hold 95% of them; `weight` is as of `until`."""

    line: Line
    base: Line
    """The line of the text around what is learnt apart."""
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

    @property
    def corrects(self) -> bool:
        """Whether counts change, rather than their range alone."""
        return self.line != AS_IS or self.base != AS_IS

    def weight_at(self, now: float) -> float:
        """The decayed number of pairs at an instant."""
        return self.weight * float(0.5 ** (max(0.0, now - self.until) / HALF_LIFE))

    def holds(self, now: float) -> bool:
        """Whether there are pairs enough, and young enough, to correct by."""
        enough = HANDFUL if self.corrects else LEAST_PAIRS
        return self.pairs >= enough and self.weight_at(now) >= min(LEAST_WEIGHT, self.pairs / 4)

    def reaches(self, counted: int) -> bool:
        """Whether few pairs say something of a request of this size; a hidden prompt is the same at any size."""
        hidden = self.line.factor == 1.0 and self.line.overhead >= 0
        return hidden or self.pairs >= LEAST_PAIRS or self.least <= 2 * counted <= 4 * self.most

    def range(self, counted: int, low: int, high: int, own: int | None = None) -> tuple[int, int, int]:
        """The corrected count with low and high, given our own."""
        best, least, most = self.apply(counted, own)
        if self.pairs < LEAST_PAIRS:
            return best, max(0, min(least, best - (counted - low))), max(most, best + high - counted)
        if self.corrects or self.inside < _HOLDS:
            return best, least, most
        return (best, max(low, least), min(high, most)) if self.weight >= _NARROWS else (best, low, high)

    def apply(self, counted: int, own: int | None = None) -> tuple[int, int, int]:
        """The corrected count with the low and high that the pairs have."""
        best = _best(self.line, self.base, counted, own)
        by_share = self.share_off * best
        off = by_share if self.by_share else self.tokens_off
        if not self.least <= counted <= self.most:
            off = max(by_share, self.tokens_off)
        return round(best), max(0, math.floor(best - off)), math.ceil(best + off)


def fit(pairs: Sequence[Pair], base: Line = AS_IS, *, line: Line | None = None) -> Fit:
    """What some pairs (at least one) say, or how far they lie from a given line."""
    until = max(pair.at for pair in pairs)
    weights = [0.5 ** ((until - pair.at) / HALF_LIFE) for pair in pairs]
    line = line or _line([_point(pair, base) for pair in pairs], weights)
    lines = [max(1.0, _best(line, base, pair.counted, pair.own)) for pair in pairs]
    away = [abs(pair.reported - line) for pair, line in zip(pairs, lines, strict=True)]
    wider = 1 + 5 / len(pairs)  # the fewer pairs, the more the line has bent to meet them
    tokens_off = wider * _quantile(away, weights, _COVER) + _SLACK
    share_off = wider * _quantile([off / line for off, line in zip(away, lines, strict=True)], weights, _COVER)
    share_off += _SLACK / max(lines)
    return Fit(
        line=line,
        base=base,
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


class _Point(NamedTuple):
    """What a line is fitted to: tokens counted, and tokens reported for them."""

    counted: int
    reported: float


def _point(pair: Pair, base: Line) -> _Point:
    if pair.own is None:
        return _Point(pair.counted, pair.reported)
    return _Point(pair.own, pair.reported - base.at(pair.counted - pair.own))


def _best(line: Line, base: Line, counted: int, own: int | None) -> float:
    return max(0.0, line.at(counted) if own is None else base.at(counted - own) + line.at(own))


def _line(points: Sequence[_Point], weights: Sequence[float]) -> Line:
    """Overhead and factor: of one alone, the other alone, or both, the simplest that will do."""
    added = _within(_quantile([point.reported - point.counted for point in points], weights), OVERHEAD)
    with_text = [(point, weight) for point, weight in zip(points, weights, strict=True) if point.counted]
    if not with_text:
        return Line(added, 1.0)
    ratios = [point.reported / point.counted for point, _ in with_text]
    ratio = _quantile(ratios, [weight * point.counted for point, weight in with_text])
    off = _off(points, weights)
    best = min((AS_IS, Line(added, 1.0), Line(0.0, _within(ratio, FACTOR))), key=off)
    if off(best) <= _SLACK or len(points) < LEAST_PAIRS:
        return best  # nothing can be better; or too few to tell an overhead from a factor
    slope = _within(_slope(points, weights, ratio), FACTOR)
    rest = _quantile([point.reported - slope * point.counted for point in points], weights)
    both = Line(_within(rest, OVERHEAD), slope)
    if off(AS_IS) <= _AS_IS * min(off(best), off(both)) + _SLACK:
        return AS_IS
    return best if off(best) <= _SIMPLER * off(both) + _SLACK else both


def _off(points: Sequence[_Point], weights: Sequence[float]) -> Callable[[Line], float]:
    """How far the points lie from a line: three in four within this, so that the odd ones have no say."""

    def off(line: Line) -> float:
        return _quantile([abs(point.reported - line.at(point.counted)) for point in points], weights, 0.75)

    return off


def _slope(points: Sequence[_Point], weights: Sequence[float], otherwise: float) -> float:
    """The median slope between two points, the far apart weighing more (Theil and Sen's line)."""
    slopes: list[float] = []
    weigh: list[float] = []
    order = sorted(zip(points, weights, strict=True))
    half = len(order) // 2  # neighbours say little about the slope and are most of the work
    step = max(1, half // _SLOPES)
    for index, (one, weight) in enumerate(order[: len(order) - half : step]):
        for other, its in order[index * step + half :: step]:
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
