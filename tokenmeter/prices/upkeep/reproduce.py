"""Measures how much of a base of dated price facts the book reproduces.

Each fact (a line of JSON: vendor, model, kind, price, tier, condition, dates) is put to the book as a question: at the
fact's own date, does the model's card hold this price for this component? The card answers, not the compiler that
made it, so this measure is independent of the compiler's own account (`coverage`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from tokenmeter.errors import ConfigurationError
from tokenmeter.money import EXACT
from tokenmeter.prices.book import Book
from tokenmeter.prices.components import load_schema
from tokenmeter.prices.price_file import Rate, Validity, instant_of
from tokenmeter.prices.provider_prices import ProviderPrices

__all__ = ["HELD", "outcomes", "reproduced"]

HELD: Final = "held"


def outcomes(book: Book, facts: Path) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Provider, outcome and fact: `held`, or why the book has another price at the fact's date.

    Raises ConfigurationError if the file cannot be read.
    """
    try:
        lines = facts.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ConfigurationError(f"--coverage: cannot read {facts}: {error.strerror}") from None
    opened: dict[str, ProviderPrices | str] = {}
    for line in filter(None, lines):
        fact = json.loads(line)
        vendor = fact["vendor"]
        if vendor not in opened:
            known = vendor in book.providers
            opened[vendor] = book.provider_prices(vendor) if known else "no price file of this provider"
        prices = opened[vendor]
        yield vendor, prices if isinstance(prices, str) else _outcome(prices, fact), fact


def _outcome(prices: ProviderPrices, fact: Mapping[str, Any]) -> str:
    if fact.get("converted"):
        return "converted from another currency: no list price"
    if fact["unit"].startswith("per_") and fact["unit"].split("_")[1] in ("month", "year", "quarter", "pack"):
        known = any(
            str(fact["price"]) == str(plan.get("price")) for file in prices.files for plan in file.plans.values()
        )
        return HELD if known else "a plan that is not in the book"
    instants = list(_instants(fact, prices))
    if not instants:
        return "no date"
    price = Decimal(fact["price"])
    seen = False
    for instant in instants:
        for rate in _rates(prices, fact["model"], fact["currency"], instant):
            seen = True
            if price in set(_figures(rate)):
                return HELD
    return "another price is held at its date" if seen else "the model has no rate at its date"


def _instants(fact: Mapping[str, Any], prices: ProviderPrices) -> Iterator[float]:
    """Moments at which the fact has its price in force: its beginning, the days it was seen, the day before its end."""
    for key in ("effective_from_utc", "effective_from", "observed_to", "observed_from"):
        if fact.get(key):
            yield instant_of(fact[key], prices.zone) + (43_200 if len(fact[key]) == 10 else 0)
    for key in ("effective_to_utc", "effective_to"):
        if fact.get(key):
            yield instant_of(fact[key], prices.zone) - 60


def _rates(prices: ProviderPrices, model: str, currency: str, instant: float) -> Iterator[Rate]:
    match = prices.names.find(model, instant, Validity())
    if match is None:
        return
    for file in prices.files:
        timeline = file.timeline(match.model, currency)
        rate = None if timeline is None else timeline.in_force(instant, Validity())
        if rate is not None:
            yield rate


def _figures(rate: Rate) -> Iterator[Decimal]:
    """Every price of a card, cases multiplied out, for one and for a thousand or a million."""
    prices = rate.prices()
    schema = load_schema()
    figures = list(prices.base.items())
    if prices.free:
        figures.append(("input", Decimal(0)))
    factors = [
        factor for case in prices.cases for factor in (case.factor, *case.factors.values()) if factor is not None
    ]
    for case in prices.cases:
        figures += case.sets.items()
    for name, price in figures:
        component = schema.component(name)
        per = prices.per.get(name) or (1 if component is None else component.per)
        for figure in (price, *(EXACT.multiply(price, factor) for factor in factors)):
            yield figure
            if per == 1000:
                yield EXACT.divide(figure, Decimal(1000))
    yield from factors


def reproduced(book: Book, facts: Path) -> dict[str, Counter[str]]:
    """By provider: how many facts the book holds, and how many it does not, by what it says instead."""
    by_provider: dict[str, Counter[str]] = {}
    for provider, outcome, _ in outcomes(book, facts):
        by_provider.setdefault(provider, Counter())[outcome] += 1
    return by_provider
