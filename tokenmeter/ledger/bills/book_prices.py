"""Looks a bill's price up in the price book: at other days, in other forms of request, under other names."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from tokenmeter.components import component_of
from tokenmeter.cost import Cost
from tokenmeter.money import EXACT
from tokenmeter.prices.book import Book
from tokenmeter.usage import TOKEN_FIELDS, Usage

__all__ = ["BookPrices"]

_NEAR_DAYS: Final = 45
"""How far from the day of a line a change of price is looked for."""
_HOURS: Final = (12, 3, 10, 20)
_SAMPLE: Final = 1000
"""Tokens: few enough for the lowest tier."""
_FORMS: Final[tuple[tuple[str, Mapping[str, Any]], ...]] = (
    ("batch", {"batch": True}),
    ("service tier flex", {"service_tier": "flex"}),
    ("service tier priority", {"service_tier": "priority"}),
)


class BookPrices:
    """One provider's prices in one currency, around the days of a bill."""

    def __init__(self, book: Book, provider: str, zone: tzinfo, currency: str) -> None:
        self._book, self._provider, self._zone, self._currency = book, provider, zone, currency
        self.at = lru_cache(8192)(self._at)
        self.around = lru_cache(512)(self._around)

    def model(self, name: str, day: str) -> str | None:
        """The model that the book knows under a name; None if it knows none."""
        if not self._book.knows(self._provider, name, self._noon(day)):
            return None
        return self._cost(name, Usage(input_tokens=1, output_tokens=1), self._noon(day), {}).model

    def hint(self, model: str, component: str, day: str) -> Decimal | None:
        """The price of one token or unit at noon of a day; None if the book has none."""
        return self.at(model, component, self._noon(day), None)

    def other(self, model: str, component: str, day: str) -> dict[Decimal, str]:
        """Prices that the same component has in other forms of request, and the form."""
        found: dict[Decimal, str] = {}
        for name, params in _FORMS:
            price = self.at(model, component, self._noon(day), tuple(params.items()))
            if price is not None:
                found.setdefault(price, name)
        return found

    def _around(self, model: str, component: str, day: str) -> dict[Decimal, str]:
        """Prices of the days around a day, nearest first, and the day on which each was seen."""
        found: dict[Decimal, str] = {}
        for away in range(_NEAR_DAYS + 1):
            for sign in (-1, 1) if away else (1,):
                for hour in _HOURS:
                    at = self._noon(day) + timedelta(days=sign * away, hours=hour - 12)
                    price = self.at(model, component, at, None)
                    if price is not None:
                        found.setdefault(price, f"{at:%Y-%m-%d}")
        return found

    def midnight(self, day: str) -> datetime:
        """The beginning of a day on the bill's clock."""
        return datetime.fromisoformat(day).replace(tzinfo=self._zone)

    def _noon(self, day: str) -> datetime:
        return self.midnight(day).replace(hour=12)

    def _at(
        self, model: str, component: str, at: datetime, params: tuple[tuple[str, Any], ...] | None
    ) -> Decimal | None:
        usage = _sample(component)
        if usage is None:
            return None
        cost = self._cost(model, usage, at, dict(params or ()))
        if cost.currency != self._currency:
            return None
        charge = next((one for one in cost.charges if one.component == component), None)
        if charge is None and params is None and cost.status == "priced" and len(cost.charges) == 1:
            charge = cost.charges[0]  # a stand-in prices it
        return None if charge is None else EXACT.divide(charge.rate, Decimal(charge.per))

    def _cost(self, model: str, usage: Usage, at: datetime, params: dict[str, Any]) -> Cost:
        return self._book.price(
            usage, provider=self._provider, model=model, at=at, params={**params, "currency": self._currency}
        )


@lru_cache
def _sample(component: str) -> Usage | None:
    """A usage that consists of one component; None for one that no usage can be made of."""
    found = component_of(component)
    if found is None:
        return None
    if found.usage not in TOKEN_FIELDS and found.inside is None:
        return Usage(quantities={found.usage: _SAMPLE})
    fields: dict[str, Any] = {}
    at = found
    while True:
        fields[at.usage] = _SAMPLE
        if at.inside is None:
            break
        above = component_of(at.inside)
        assert above is not None  # a component stands inside one of the table
        at = above
    return Usage.from_dict(fields)
