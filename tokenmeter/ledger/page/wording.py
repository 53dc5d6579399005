"""Numbers and names as people read them: amounts beside their exact value, shares, instants, ticks of an axis."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Final

from tokenmeter._support.text_tables import cut
from tokenmeter.ledger.page.groups import Group
from tokenmeter.ledger.page.markup import Markup, element
from tokenmeter.ledger.page.words import Words
from tokenmeter.ledger.report.render import share_of
from tokenmeter.money import plain

__all__ = [
    "amount",
    "exact",
    "instant",
    "log_ticks",
    "named",
    "percent",
    "places_of",
    "ratio",
    "seconds",
    "ticks",
    "whole",
]

_SHOW: Final = Context(prec=60, rounding=ROUND_HALF_EVEN)
_NAME: Final = 48
"""Columns of a name in legends and tables."""


def amount(value: Decimal | None, places: int = 2) -> str:
    """An amount with so many decimals, small ones with three digits: nothing but free looks like 0."""
    if value is None:
        return "?"
    if value and value.adjusted() < 0:
        places = max(places, 2 - value.adjusted())
    return f"{_SHOW.quantize(value, Decimal(1).scaleb(-places)):,f}"


def places_of(values: Iterable[Decimal | None]) -> int:
    """The decimals of a column of amounts: two, or up to four where the smallest needs them."""
    least = min((value.adjusted() for value in values if value), default=0)
    return min(4, max(2, 2 - least if least < 0 else 2))


def exact(value: Decimal | None, places: int = 2, *, signed: bool = False, kind: str | None = None) -> Markup:
    """A cell with an amount, and its exact value where that is rounded; `signed` writes the sign of more, too."""
    if value is None:
        return element("td", "–", class_=kind)
    sign, shown, whole = "+" if signed and value > 0 else "", amount(value, places), plain(value)
    return element("td", sign + shown, title=None if shown.replace(",", "") == whole else whole, class_=kind)


def whole(value: int | None) -> str:
    """A count with separators."""
    return "–" if value is None else f"{value:,}"


def percent(part: Decimal | None, of: Decimal | None) -> str:
    """A share for show; never 0% of something, nor 100% where something is left."""
    if not part or not of:
        return "0%"
    share = share_of(part, of)
    if share < Decimal("0.001"):
        return "<0.1%"
    if Decimal("0.9995") <= share and part < of:
        return ">99.9%"
    return f"{_SHOW.multiply(share, Decimal(100)):.1f}%"


def seconds(value: float | None) -> str:
    """Seconds with a digit or two behind the point."""
    if value is None:
        return "–"
    return f"{value:,.1f}" if value >= 10 else f"{value:.2f}"


def instant(at: datetime) -> str:
    """Date and minute on the page's clock."""
    return f"{at:%Y-%m-%d %H:%M}"


def named(group: Group, groups: Sequence[Group], words: Words) -> str:
    """A group's name: its last value, with the others behind it where that alone is said twice."""
    if not group:
        return words.say("others", count=0)
    last = group[-1]
    name = words.say("unset") if last is None else last
    same = [one for one in groups if one and one[-1] == last]
    if len(same) > 1:
        name += f" ({', '.join(words.say('unset') if part is None else part for part in group[:-1])})"
    return cut(name, _NAME)


def ratio(part: Decimal, whole: Decimal) -> float:
    """A part of a whole, for drawing only."""
    return float(_SHOW.divide(part, whole)) if whole else 0.0


def ticks(most: Decimal, about: int = 5) -> list[Decimal]:
    """Round numbers from 0 to at least `most`, for an axis."""
    if most <= 0:
        return [Decimal(0), Decimal(1)]
    unit = Decimal(1).scaleb(most.adjusted() - 1)
    steps = (_SHOW.multiply(unit, Decimal(factor)) for factor in (1, 2, 5, 10, 20, 25, 50))
    step = next(one for one in steps if _SHOW.multiply(one, Decimal(about)) >= most)
    lines = [Decimal(0)]
    while lines[-1] < most:
        lines.append(_SHOW.add(lines[-1], step))
    return lines


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers inside a range, for a logarithmic axis: 1, 2, 5 of each power of ten; 1 alone in a wide range."""
    factors = (1, 2, 5) if high / low < 300 else (1,)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [factor * 10.0**power for power in powers for factor in factors]
    return [one for one in found if low <= one <= high]
