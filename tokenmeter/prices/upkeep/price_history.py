"""Price histories as people read them: rates in force, their past, and the changes between two days.

Everything here is for showing and comparing; pricing never uses it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from tokenmeter.errors import CatalogError
from tokenmeter.money import plain
from tokenmeter.prices.book import Book
from tokenmeter.prices.components import load_schema
from tokenmeter.prices.conditions import BOTH
from tokenmeter.prices.price_file import PriceFile, Rate, Validity

__all__ = ["PriceChange", "changes", "component_prices", "histories", "in_force", "percent"]


def component_prices(rate: Rate) -> dict[str, str]:
    """Component to price, conditions spelled out: `{"output": "2", "output [thinking]": "8"}`."""
    if rate.withdrawn:
        return {"withdrawn": "yes"}
    prices = dict(_prices(rate.entry))
    if rate.entry.get("free"):
        prices = {"input": "0", "output": "0", **prices}
    for case in rate.entry.get("case", ()):
        when = _when(case["when"])
        for name, price in _prices(case):
            prices[f"{name} [{when}]"] = price
        multiply = case.get("multiply")
        stacks = " on top" if case.get("stack") else ""
        for name, factor in (multiply if isinstance(multiply, Mapping) else {"all": multiply}).items():
            if factor is not None:
                prices[f"{name} [{when}]"] = f"x{plain(Decimal(factor))}{stacks}"
        for name in case.get("drop", ()):
            prices[f"{name} [{when}]"] = "none"
    return prices


def _prices(entry: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    schema = load_schema()
    for name, price in entry.items():
        if name == BOTH:
            yield "input", plain(Decimal(price))
            yield "output", plain(Decimal(price))
        elif schema.component(name) is not None:
            yield name, plain(Decimal(price))


def _when(conditions: Mapping[str, Any]) -> str:
    words = []
    for name, value in conditions.items():
        if value is True:
            words.append(name)
        elif value is False:
            words.append(f"not {name}")
        elif isinstance(value, list):
            words.append(f"{name} {'|'.join(map(str, value))}")
        else:
            words.append(f"{name} {value}")
    return ", ".join(words)


def files_of(book: Book, provider: str) -> list[PriceFile]:
    """A provider's price files, topmost first; the user's own prices are above them.

    Raises CatalogError if there are none.
    """
    prices = book.provider_prices(provider)
    if isinstance(prices, str):
        raise CatalogError([prices])
    return prices.files if prices.own is None else [prices.own, *prices.files]


def in_force(book: Book, provider: str, instant: float) -> Iterator[Rate]:
    """Every rate of a provider in force at an instant, withdrawn models left out."""
    seen = set()
    for file in files_of(book, provider):
        for model in file.entries:
            for name in file.lists(model):
                timeline = file.timeline(model, name)
                rate = None if timeline is None else timeline.in_force(instant, Validity())
                if rate is not None and (model, name) not in seen:
                    seen.add((model, name))
                    if not rate.withdrawn:
                        yield rate


def histories(book: Book, provider: str, model: str) -> Iterator[list[Rate]]:
    """The dated rates of a model, one run per list, oldest first; overlays after what they lie on."""
    for file in files_of(book, provider)[::-1]:
        for name in file.lists(model):
            timeline = file.timeline(model, name)
            if timeline is not None:
                yield timeline.rates


@dataclass(frozen=True, slots=True)
class PriceChange:
    """What became of one model's prices between two instants: `(component, before, after)`, None where absent."""

    provider: str
    model: str
    list: str
    prices: tuple[tuple[str, str | None, str | None], ...]
    since: datetime | None
    dating: str


def _sold(provider: str, book: Book, instant: float) -> Iterator[Rate]:
    return in_force(book, provider, instant) if provider in book.providers else iter(())


def changes(provider: str, first: tuple[Book, float], last: tuple[Book, float]) -> Iterator[PriceChange]:
    """The models of a provider whose prices differ between two books, each at an instant."""
    before, after = ({(rate.model, rate.list): rate for rate in _sold(provider, *side)} for side in (first, last))
    for model, name in dict.fromkeys([*before, *after]):
        old, new = before.get((model, name)), after.get((model, name))
        was, now = {} if old is None else component_prices(old), {} if new is None else component_prices(new)
        if was != now:
            moved = [(key, was.get(key), now.get(key)) for key in dict.fromkeys([*was, *now])]
            rate = new or old
            if rate is not None:
                prices = tuple(one for one in moved if one[1] != one[2])
                yield PriceChange(provider, model, name, prices, rate.starts_at, rate.dating)


def percent(before: str | None, after: str | None) -> str:
    """A change in percent, `-97.5%`; empty where one of them is no plain price."""
    try:
        old, new = Decimal(before or ""), Decimal(after or "")
    except ArithmeticError:
        return ""
    if not old:
        return ""
    change = (new - old) / old * 100
    return f"{change:+.1f}%".replace(".0%", "%")
