"""Charts as inline SVG: stacked columns over time, and bars.

A plot is stretched to the width of the window (`preserveAspectRatio="none"`), so its labels are HTML beside it, which
stays sharp at every width. Geometry is in whole numbers: a column is `_WIDE` wide and `HEIGHT` high. A page has
thousands of its pieces, so they are written relative to each other, and their common size is in the style sheet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import reduce
from typing import Final

from tokenmeter.ledger.page.markup import Markup, element, joined
from tokenmeter.ledger.page.wording import ratio, ticks
from tokenmeter.money import EXACT, plain

__all__ = ["HEIGHT", "StackedColumn", "bar", "diverging", "legend", "percents", "stacked", "swatch"]

HEIGHT: Final = 1000
_WIDE: Final = 10
_LEAST: Final = 7
"""Columns that a plot has room for at least, so that one alone is no wall."""


@dataclass(frozen=True)
class StackedColumn:
    """One period: its label below the plot, if any, its parts by the class of their colour, and its tooltip."""

    label: str
    parts: Mapping[str, Decimal]
    title: str

    @property
    def total(self) -> Decimal:
        """What is drawn of it: parts below zero are not."""
        return reduce(EXACT.add, (part for part in self.parts.values() if part > 0), Decimal(0))


def stacked(
    columns: Sequence[StackedColumn], classes: Sequence[str], *, label: str, marks: Sequence[tuple[float, str]] = (),
    limit: Decimal | None = None, axis: bool = True,
) -> Markup:  # fmt: skip
    """Columns of stacked parts in the order of `classes`, bottom first.

    `marks` are vertical lines at a place in columns, each with its number; `limit` is a horizontal one. Parts below
    zero are not drawn.
    """
    most = max((column.total for column in columns), default=Decimal(0))
    lines = ticks(max(most, limit or Decimal(0)))
    top = lines[-1]
    count = max(len(columns), _LEAST)
    wide = _WIDE * count
    drawn = (
        [element("path", class_="grid", d=Markup("".join(f"M0 {_y(line, top)}h{wide}" for line in lines)))]
        if axis
        else []
    )
    drawn.append(element("g", *_paths(columns, classes, top), class_="bars"))
    if limit is not None:
        drawn.append(element("path", class_="limit", d=f"M0 {_y(limit, top)}h{wide}"))
    drawn += [
        element(
            "g",
            *(
                element("rect", element("title", column.title), x=_WIDE * number)
                for number, column in enumerate(columns)
            ),
            class_="hover",
        )
    ]
    svg = element(
        "svg", *drawn, viewBox=f"0 0 {wide} {HEIGHT}", preserveAspectRatio="none", role="img", aria_label=label
    )
    around = _around(lines, top, columns, count) if axis else _ends(columns)
    flags = [
        element("div", element("b", number), class_="mark", style=f"left:{percents(at / count)}")
        for at, number in marks
    ]
    return element("div", svg, element("div", *around, *flags, aria_hidden="true"), class_="plot")


def percents(share: float) -> str:
    """A place as CSS has it, to a thousandth of the whole."""
    return f"{100 * share:.1f}".removesuffix(".0") + "%"


def _y(value: Decimal, top: Decimal) -> int:
    return HEIGHT - round(ratio(value, top) * HEIGHT)


def _paths(columns: Sequence[StackedColumn], classes: Sequence[str], top: Decimal) -> Iterable[Markup]:
    """One path for each class: its part of every column."""
    drawn: dict[str, list[str]] = {name: [] for name in classes}
    ends: dict[str, tuple[int, int]] = {}
    for number, column in enumerate(columns):
        below = Decimal(0)
        for name in classes:
            part = column.parts.get(name)
            if part is None or part <= 0:
                continue
            above = EXACT.add(below, part)
            low, high = _y(below, top), _y(above, top)
            below = above
            if low > high:
                at = _WIDE * number + 1, high
                drawn[name].append(f"{_moved(ends.get(name), at)}h{_WIDE - 2}v{low - high}h{2 - _WIDE}z")
                ends[name] = at
    return [element("path", class_=name, d=Markup("".join(parts))) for name, parts in drawn.items() if parts]


def _moved(before: tuple[int, int] | None, at: tuple[int, int]) -> str:
    """The move to a place, from where the piece before it began."""
    if before is None:
        return f"M{at[0]} {at[1]}"
    right, down = at[0] - before[0], at[1] - before[1]
    return f"m{right}{down}" if down < 0 else f"m{right} {down}"


def _around(lines: Sequence[Decimal], top: Decimal, columns: Sequence[StackedColumn], count: int) -> Iterable[Markup]:
    """The labels left of a plot and below it."""
    for line in lines:
        text = f"{line:,f}" if line == line.to_integral_value() else plain(line)
        yield element("span", text, class_="y", style=f"bottom:{percents(ratio(line, top))}")
    labelled = [number for number, column in enumerate(columns) if column.label]
    for place, number in enumerate(labelled):
        where = f"left:{percents((number + 0.5) / count)}"
        yield element("span", columns[number].label, class_="x odd" if place % 2 else "x", style=where)


def _ends(columns: Sequence[StackedColumn]) -> Iterable[Markup]:
    """The first and the last label alone."""
    yield element("span", columns[0].label, class_="x first")
    yield element("span", columns[-1].label, class_="x last")


def bar(parts: Sequence[tuple[str, Decimal]], whole: Decimal, title: str | None = None) -> Markup:
    """A bar of parts by the class of their colour, of a whole that is as wide as the bar."""
    x, drawn = Decimal(0), []
    for name, part in parts:
        if part > 0 and whole > 0:
            left = percents(ratio(x, whole)) if x else None
            drawn.append(element("rect", class_=name, x=left, width=percents(ratio(part, whole))))
            x = EXACT.add(x, part)
    head = None if title is None else element("title", title)
    return element("svg", head, *drawn, class_="bar", aria_hidden="true")


def diverging(value: Decimal, most: Decimal) -> Markup:
    """A bar to the right of the middle for more, to the left for less, of `most` at both ends."""
    middle = HEIGHT // 2
    end = middle + round(ratio(value, most) * middle)
    left, right = sorted((middle, end))
    shape = element("path", class_="more" if value > 0 else "less", d=Markup(f"M{left} 0H{right}V1H{left}z"))
    axis = element("path", class_="middle", d=f"M{middle} 0V1")
    return element(
        "svg", shape, axis, class_="bar", viewBox=f"0 0 {HEIGHT} 1", preserveAspectRatio="none", aria_hidden="true"
    )


def swatch(name: str) -> Markup:
    """The colour of a class beside a name."""
    return element("i", class_=name)


def legend(entries: Iterable[tuple[str, str, str]]) -> Markup:
    """Colours by class, each with its name and a figure."""
    return element(
        "ul",
        *(element("li", swatch(name), joined(text, " ", element("span", figure))) for name, text, figure in entries),
        class_="legend",
    )
