"""What a change of prices comes to in money: for typical use, and for the calls of a ledger.

Each call is priced by both books. With an instant it is priced as if made then (what would it cost from now on?),
without one at its own (what was it billed wrongly?).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final, Protocol

from tokenmeter.cost import Cost
from tokenmeter.money import EXACT
from tokenmeter.prices.book import Book
from tokenmeter.usage import Usage

__all__ = ["CALLS", "TYPICAL", "BillableCall", "Difference", "by_calls", "by_typical_use", "totals", "typical_spend"]

TYPICAL: Final = Usage(input_tokens=8_000, output_tokens=2_000)
"""A typical call, four fifths of it input: an assumption, for comparing models of which nothing is known."""
CALLS: Final = 100
"""How many of them make a million tokens; one call of a million would cost what only long ones cost."""
Side = tuple[Book, "str | None"]


class BillableCall(Protocol):
    """A call as it is priced; `at` is RFC 3339 text."""

    @property
    def provider(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def response_model(self) -> str | None: ...
    @property
    def usage(self) -> Usage: ...
    @property
    def params(self) -> Mapping[str, Any]: ...
    @property
    def at(self) -> str: ...


@dataclass(slots=True)
class Difference:
    """What some calls of a model cost by one book and by another; None where none of them is priced.

    `at_risk` sums the differences without their signs, so that a rise of one call does not hide a fall of another.
    """

    provider: str
    model: str
    currency: str | None
    calls: int = 0
    before: Decimal | None = None
    after: Decimal | None = None
    unpriced_before: int = 0
    unpriced_after: int = 0
    at_risk: Decimal = Decimal(0)

    @property
    def difference(self) -> Decimal | None:
        """What it costs more by the other book; None where one of the two does not price it."""
        return None if self.before is None or self.after is None else EXACT.subtract(self.after, self.before)

    @property
    def differs(self) -> bool:
        """Whether any of the calls costs something else."""
        return bool(self.at_risk) or self.unpriced_before != self.unpriced_after

    def add(self, old: Cost, new: Cost) -> None:
        """Count one call."""
        self.calls += 1
        self.before, self.after = _plus(self.before, old.amount), _plus(self.after, new.amount)
        self.unpriced_before += old.amount is None
        self.unpriced_after += new.amount is None
        if old.amount is not None or new.amount is not None:
            moved = EXACT.subtract(new.amount or Decimal(0), old.amount or Decimal(0))
            self.at_risk = EXACT.add(self.at_risk, EXACT.abs(moved))

    def times(self, calls: int) -> Difference:
        """The same for so many calls like those counted."""
        before, after = (None if one is None else EXACT.multiply(one, calls) for one in (self.before, self.after))
        return replace(
            self,
            calls=self.calls * calls,
            before=before,
            after=after,
            unpriced_before=self.unpriced_before * calls,
            unpriced_after=self.unpriced_after * calls,
            at_risk=EXACT.multiply(self.at_risk, calls),
        )


def _plus(one: Decimal | None, other: Decimal | None) -> Decimal | None:
    return other if one is None else one if other is None else EXACT.add(one, other)


def by_typical_use(models: Iterable[tuple[str, str, str]], old: Side, new: Side) -> list[Difference]:
    """`CALLS` times `TYPICAL` by both books, for each (provider, model, list)."""
    found = []
    for provider, model, currency in models:
        difference = Difference(provider, model, currency)
        asked: dict[str, Any] = {"provider": provider, "model": model, "params": {"currency": currency}}
        difference.add(*(book.price(TYPICAL, at=at, **asked) for book, at in (old, new)))
        found.append(difference.times(CALLS))
    return found


def typical_spend(models: Iterable[tuple[str, str, str]], side: Side) -> dict[str, Decimal]:
    """What typical use of each (provider, model, list) comes to by one book, by currency."""
    book, at = side
    spent: dict[str, Decimal] = {}
    for provider, model, currency in models:
        cost = book.price(TYPICAL, provider=provider, model=model, at=at, params={"currency": currency})
        if cost.amount is not None:
            spent[currency] = EXACT.add(spent.get(currency, Decimal(0)), EXACT.multiply(cost.amount, CALLS))
    return spent


def by_calls(calls: Iterable[BillableCall], old: Side, new: Side) -> list[Difference]:
    """Every call by both books, summed by provider, model and currency; what moves most first."""
    found: dict[tuple[str, str, str | None], Difference] = {}
    for call in calls:
        costs = [
            book.price(
                call.usage,
                provider=call.provider,
                model=call.model,
                response_model=call.response_model,
                at=at or call.at,
                params=call.params,
            )
            for book, at in (old, new)
        ]
        before, after = costs
        if before.amount is not None and after.amount is not None and before.currency != after.currency:
            continue  # another list: nothing is converted
        named = after if after.model is not None else before
        currency = after.currency if after.amount is not None else before.currency
        key = (named.provider, named.model or call.model, currency)
        found.setdefault(key, Difference(*key)).add(before, after)
    return sorted(found.values(), key=lambda one: (-one.at_risk, one.provider, one.model))


def totals(differences: Iterable[Difference]) -> list[Difference]:
    """The sums of each currency."""
    sums: dict[str, Difference] = {}
    for one in differences:
        if one.currency is None:
            continue
        total = sums.setdefault(one.currency, Difference("", "", one.currency))
        total.calls += one.calls
        total.before, total.after = _plus(total.before, one.before), _plus(total.after, one.after)
        total.unpriced_before += one.unpriced_before
        total.unpriced_after += one.unpriced_after
        total.at_risk = EXACT.add(total.at_risk, one.at_risk)
    return [total for _, total in sorted(sums.items())]
