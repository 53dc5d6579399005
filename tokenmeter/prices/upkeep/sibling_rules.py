"""Reports prices of one model's names that contradict each other: a slip by ten, an alias apart from its snapshot.

`gpt-x`, `gpt-x-latest` and `gpt-x-2026-05-01` are names of one model. Only rates in force that were seen within half a
year of the file's last reading are held against each other, and by ten only those of one half year: an old snapshot
keeps the price of its days.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from itertools import combinations
from typing import Final

from tokenmeter.prices.price_file import PriceFile, Rate
from tokenmeter.prices.time_windows import as_date

__all__ = ["SIBLING_RULES", "broken_between"]

SIBLING_RULES: Final = {
    "sibling-by-ten": "a price is ten times another's of the same model",
    "alias-snapshot": "the alias and its newest snapshot have different prices",
}
_DATED: Final = re.compile(r"(.+?)[-@](\d{4}-\d{2}-\d{2}|\d{8}|\d{6}|\d{4}|latest)")
_TEXT: Final = ("input", "output")
_RECENT: Final = timedelta(days=180)
_TEN: Final = Decimal(10)


def broken_between(file: PriceFile) -> Iterator[tuple[Rate, str, str]]:
    """Each rule that the rates of one model's names break, with the rate and the figures."""
    for names in _siblings(file).values():
        snapshots = [rate for tag, rate in names.items() if tag not in ("", "latest")]
        newest = max(snapshots, key=lambda rate: (rate.start, rate.model), default=None)
        for tag in ("", "latest"):
            if newest is not None and tag in names and (tag or _called_the_same(file, names[tag], newest)):
                yield from _apart(names[tag], newest)
        for one, two in combinations(sorted(names.values(), key=lambda rate: rate.model), 2):
            if abs(one.start - two.start) < _RECENT.total_seconds():
                yield from _by_ten(one, two)


def _siblings(file: PriceFile) -> dict[tuple[str, str], dict[str, Rate]]:
    """The rates in force by model and list, each under what its name adds: a date, `latest` or nothing."""
    found: dict[tuple[str, str], dict[str, Rate]] = {}
    read = file.head.get("read")
    for model in file.entries:
        for name in file.lists(model):
            timeline = file.timeline(model, name)
            rate = timeline.rates[-1] if timeline is not None and timeline.rates else None
            seen = None if rate is None else rate.last_seen()
            if rate is None or rate.withdrawn or (seen and read and as_date(read) - seen > _RECENT):
                continue
            match = _DATED.fullmatch(model)
            found.setdefault((match[1] if match else model, name), {})[match[2] if match else ""] = rate
    return found


def _called_the_same(file: PriceFile, alias: Rate, snapshot: Rate) -> bool:
    """Whether an alias of the file joins the two, in whatever time: elsewhere the undated name is the older model."""
    names = {alias.model, snapshot.model}
    return any({entry["model"], entry["of"]} == names for entry in file.data.get("alias", ()))


def _apart(alias: Rate, snapshot: Rate) -> Iterator[tuple[Rate, str, str]]:
    one, two = alias.prices().base, snapshot.prices().base
    differ = [name for name in _TEXT if name in one and name in two and one[name] != two[name]]
    if differ:
        shown = ", ".join(f"{name} {one[name]} beside {two[name]}" for name in differ)
        yield alias, "alias-snapshot", f"{shown} of {snapshot.model}"


def _by_ten(one: Rate, two: Rate) -> Iterator[tuple[Rate, str, str]]:
    first, second = one.prices().base, two.prices().base
    pairs = [(name, first[name], second[name]) for name in _TEXT if first.get(name) and second.get(name)]
    apart = [f"{name} {a} beside {b}" for name, a, b in pairs if max(a, b) >= min(a, b) * _TEN]
    if apart:
        yield one, "sibling-by-ten", f"{', '.join(apart)} of {two.model}"
