"""Latency against cost: one point for each model on two logarithmic scales, with lines from the median to 95%."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tokenmeter.ledger.page.charts import HEIGHT, percents
from tokenmeter.ledger.page.markup import Markup, element
from tokenmeter.ledger.page.wording import log_ticks

__all__ = ["Point", "scatter"]

_LINE: Final = 5.5
"""The least distance of two names above each other, in percent of the plot's height."""
_ASIDE: Final = 26
"""Names whose points are closer than this, in percent of the width, may cover each other."""


@dataclass(frozen=True)
class Point:
    """A median and a 95% of two numbers above zero; the class of its colour, its name and its tooltip."""

    x: tuple[float, float]
    y: tuple[float, float]
    colour: str
    name: str
    title: str


class _Scale:
    """Places of numbers on a logarithmic scale, from 0 to 1, with a margin at both ends."""

    def __init__(self, values: Sequence[float]) -> None:
        low, high = min(values), max(values)
        margin = 1.25
        self.low, self.high = low / margin, max(high * margin, low * 3)

    def __call__(self, value: float) -> float:
        return (math.log(value) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))

    def ticks(self) -> list[float]:
        return log_ticks(self.low, self.high)


def scatter(points: Sequence[Point], *, label: str) -> Markup:
    """The plot, with its names beside the points; a narrow window leaves them to the legend."""
    across = _Scale([value for point in points for value in point.x])
    up = _Scale([value for point in points for value in point.y])
    width = HEIGHT
    grid = "".join(f"M0 {HEIGHT - round(up(one) * HEIGHT)}h{width}" for one in up.ticks())
    grid += "".join(f"M{round(across(one) * width)} 0v{HEIGHT}" for one in across.ticks())
    drawn = [element("path", class_="grid", d=Markup(grid))]
    for point in points:
        x, far = (round(across(one) * width) for one in point.x)
        y, high = (HEIGHT - round(up(one) * HEIGHT) for one in point.y)
        drawn.append(
            element(
                "g",
                element("title", point.title),
                element("path", class_=point.colour, d=f"M{x} {y}H{far}M{x} {y}V{high}"),
                element("path", class_=f"dot {point.colour}", d=f"M{x} {y}h0"),
            )
        )
    svg = element(
        "svg", *drawn, viewBox=f"0 0 {width} {HEIGHT}", preserveAspectRatio="none", role="img", aria_label=label
    )
    labels = [element("span", f"{one:g}", class_="y", style=f"bottom:{percents(up(one))}") for one in up.ticks()]
    labels += [element("span", f"{one:g}", class_="x", style=f"left:{percents(across(one))}") for one in across.ticks()]
    places = [(100 * across(point.x[0]), 100 - 100 * up(point.y[0])) for point in points]
    labels += [
        element("span", point.name, class_="name", style=_place(x, y))
        for point, (x, _), y in zip(points, places, _apart(places), strict=True)
    ]
    return element("div", svg, element("div", *labels, aria_hidden="true"), class_="plot dots")


def _place(x: float, y: float) -> str:
    side = f"left:calc({x:.1f}% + 13px)" if x < 72 else f"right:calc({100 - x:.1f}% + 13px)"
    return f"{side};top:{y:.1f}%"


def _apart(places: Sequence[tuple[float, float]]) -> list[float]:
    """The heights of names, moved down where they would cover the name of a point near by."""
    found = [y for _, y in places]
    for place in sorted(range(len(places)), key=lambda one: places[one][1]):
        near = [
            found[other]
            for other in range(len(places))
            if other != place
            and places[other][1] <= places[place][1]
            and abs(places[other][0] - places[place][0]) < _ASIDE
        ]
        for y in sorted(near):
            if abs(found[place] - y) < _LINE:
                found[place] = y + _LINE
    return found
