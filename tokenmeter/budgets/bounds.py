"""`Bounds`: the bound of each call that budgets ask for, by a meter's price book; quick rates are remembered."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from tokenmeter._support.bounded import BoundedDict
from tokenmeter.budgets.bound import QuickRates, bound, quick_rates
from tokenmeter.budgets.bound_values import Bound
from tokenmeter.budgets.lines import CallFacts
from tokenmeter.wire.request_body import request_body

if TYPE_CHECKING:
    from tokenmeter.cost import Cost
    from tokenmeter.prices.book import Book
    from tokenmeter.usage import Usage

__all__ = ["Bounds"]

_QUARTER: Final = 900 * 10**9
"""For how long quick rates hold, in ns: prices by the hour change at quarters at the earliest."""


class Bounds:
    """Bounds by a book, which is loaded when it is first needed. `models` are the user's names of models."""

    def __init__(self, book: Callable[[], Book], models: Mapping[str, str], clock: Callable[[], int]) -> None:
        self._book = book
        self._models = models
        self._clock = clock
        self._seen: BoundedDict[str, None] = BoundedDict(1_000)
        self._quick: BoundedDict[tuple[Any, ...], QuickRates | None] = BoundedDict(1_000)

    def of(self, facts: CallFacts, exact: bool) -> Bound:
        """The bound of a call: its input counted, or bounded by its bytes."""
        provider, model = facts.provider, facts.model
        if provider is None or model is None:
            return Bound(None, None, (), False, "neither a provider nor a model is known")
        model = self._models.get(model, model)
        if model not in self._seen:
            self._warm(model)
        body = request_body(facts.body)
        price = functools.partial(self._price, provider, model)
        quick = None if exact else functools.partial(self._rates, provider, model)
        return bound(body or {}, provider=provider, model=model, api=facts.api, price=price, quick=quick)

    def _warm(self, model: str) -> None:
        """Load a model's vocabulary in the background, before a call has to be counted: that takes up to a second."""
        self._seen.put(model, None)
        from tokenmeter.tokens import preload

        preload(model)

    def _price(self, provider: str, model: str, usage: Usage, params: Mapping[str, Any]) -> Cost:
        return self._book().price(usage, provider=provider, model=model, at=None, params=params)

    def _rates(self, provider: str, model: str, params: Mapping[str, Any], writes: bool) -> QuickRates | None:
        key = (provider, model, writes, self._clock() // _QUARTER, *sorted(map(str, params.items())))
        if key not in self._quick:
            price = functools.partial(self._price, provider, model)
            self._quick.put(key, quick_rates(price, params, provider, writes=writes))
        return self._quick[key]
