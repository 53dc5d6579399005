"""The colours of both themes: contrast (WCAG 2.2), and difference for readers without one kind of cone."""

from __future__ import annotations

import math
import re
from itertools import combinations
from pathlib import Path

import pytest

from tokenmeter.ledger.page import style

SHEET = Path(style.__file__).with_name("page.css").read_text("utf-8")
LIGHT, DARK = (dict(re.findall(r"--([\w]+): (#[0-9a-f]{6});", part)) for part in SHEET.split("@media", 2)[:2])
SERIES = [f"c{number}" for number in range(7)]
SIGHTS = {  # Machado, Oliveira, Fernandes (2009), severity 1, over linear RGB
    "all cones": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "no red": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "no green": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.01182, 0.04294, 0.968881)),
    "no blue": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.3039)),
}
both_themes = pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])


def linear(colour: str) -> list[float]:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    return [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]


def contrast(one: str, other: str) -> float:
    light, dark = sorted(
        (sum(f * p for f, p in zip((0.2126, 0.7152, 0.0722), linear(c), strict=True)) for c in (one, other)),
        reverse=True,
    )
    return (light + 0.05) / (dark + 0.05)


def oklab(colour: str, sight: str) -> tuple[float, ...]:
    red, green, blue = (max(0.0, sum(f * p for f, p in zip(row, linear(colour), strict=True))) for row in SIGHTS[sight])
    cones = [
        math.cbrt(0.4122214708 * red + 0.5363325363 * green + 0.0514459929 * blue),
        math.cbrt(0.2119034982 * red + 0.6806995451 * green + 0.1073969566 * blue),
        math.cbrt(0.0883024619 * red + 0.2817188376 * green + 0.6299787005 * blue),
    ]
    rows = (
        (0.2104542553, 0.793617785, -0.0040720468), (1.9779984951, -2.428592205, 0.4505937099),
        (0.0259040371, 0.7827717662, -0.808675766),
    )  # fmt: skip
    return tuple(sum(f * cone for f, cone in zip(row, cones, strict=True)) for row in rows)


@both_themes
def test_text_and_colours_stand_out_from_the_page(theme: dict[str, str]) -> None:
    assert all(contrast(theme[name], theme["bg"]) >= 4.5 for name in ("ink", "soft", "warn"))
    too_weak = {name: contrast(theme[name], theme["bg"]) for name in SERIES if contrast(theme[name], theme["bg"]) < 3}
    assert too_weak == {}


@both_themes
@pytest.mark.parametrize("sight", SIGHTS)
def test_colours_of_series_differ_for_every_reader(theme: dict[str, str], sight: str) -> None:
    near = {
        (one, other): math.dist(oklab(theme[one], sight), oklab(theme[other], sight))
        for one, other in combinations(SERIES, 2)
    }
    assert {pair: round(far, 3) for pair, far in near.items() if far < 0.085} == {}
    neighbours = {(SERIES[n], SERIES[n + 1]): near[SERIES[n], SERIES[n + 1]] for n in range(6)}
    assert {pair: round(far, 3) for pair, far in neighbours.items() if far < 0.1} == {}


def test_the_sheet_is_one_line_and_loads_nothing() -> None:
    text = style.sheet()
    assert "\n" not in text
    assert "/*" not in text
    assert not re.search(r"url\(|@import|<", text)
    assert text.count("{") == text.count("}") == re.sub(r"/\*.*?\*/", "", SHEET, flags=re.DOTALL).count("{")
    assert ".plot .x{top:calc(100% + 9px);transform:translateX(-50%)}" in text
    assert "@media screen and (prefers-color-scheme: dark){:root{--bg:#101317;" in text
