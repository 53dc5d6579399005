"""What the price book offers for a call: the prices of its components, and the entry of the book that they stand in."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any, Protocol

from tokenmeter.money import EXACT, plain

if TYPE_CHECKING:
    from tokenmeter.usage import Usage

__all__ = ["Line", "Offer", "Price", "Tariff", "quoted"]


def quoted(text: str | None) -> str:
    """A text or None as JSON."""
    return "null" if text is None else encode_basestring(text)


class Price:
    """The price of one component: `rate` for `per` of it, billed in steps or from a least quantity if so declared.

    `seen` is the last day on which a source showed it, where that is before the rate's own.
    """

    __slots__ = ("component", "least", "per", "rate", "rate_text", "seen", "shown", "step", "unit")

    def __init__(
        self,
        component: str,
        rate: Decimal,
        per: int,
        *,
        step: Decimal | None = None,
        least: Decimal | None = None,
        seen: date | None = None,
    ) -> None:
        self.seen = seen
        self.component, self.rate, self.per, self.step, self.least = component, rate, per, step, least
        self.unit = EXACT.divide(rate, Decimal(per))
        self.rate_text = plain(rate)
        # What stands around quantity and amount in a charge written as JSON.
        self.shown = (
            f'{{"component": {quoted(component)}, "quantity": ',
            f', "rate": "{self.rate_text}", "per": "{per}", "amount": "',
        )

    def billed(self, quantity: int | Decimal) -> int | Decimal:
        """The quantity the vendor bills for this one."""
        if self.least is not None and quantity < self.least:
            quantity = self.least
        if self.step is not None:
            whole, rest = EXACT.divmod(Decimal(quantity), self.step)
            quantity = EXACT.multiply(EXACT.add(whole, 1) if rest else whole, self.step)
        if isinstance(quantity, Decimal) and quantity == quantity.to_integral_value(context=EXACT):
            return int(quantity)
        return quantity


class Tariff(Protocol):
    """The prices that made a cost, for questions that few ask of it. Immutable."""

    def cache_savings(self, usage: Usage) -> Decimal | None:
        """What the cache took off the cost of this usage; None if not known."""


Line = tuple[Price, "int | Decimal", Decimal]  # a charge before anybody looks: price, billed quantity, amount


class Offer:
    """Which entry of the price book answers, shared by all costs it gives. Immutable.

    `effective_from` is where the book lets the rate begin; `dating` says whether that is the vendor's own date
    (`official`), the first day a source carried it (`observed`), or unknown because only its end is (`open`); `own`
    is a price of the user's own, which has no date. `last_seen` is the last day on which a source showed the price; it
    is no part of what makes two offers equal, since book and rate decide it.
    """

    __slots__ = (
        "book", "confidence", "dating", "effective_from", "json", "last_seen", "list", "model", "provider", "rate_id",
        "shown",
    )  # fmt: skip

    def __init__(
        self,
        *,
        provider: str,
        model: str | None = None,
        rate_id: str | None = None,
        effective_from: datetime | None = None,
        dating: str | None = None,
        confidence: str | None = None,
        list: str | None = None,
        book: str | None = None,
        last_seen: date | None = None,
    ) -> None:
        self.provider, self.model, self.rate_id, self.effective_from = provider, model, rate_id, effective_from
        self.dating, self.confidence, self.list, self.book = dating, confidence, list, book
        start = None if effective_from is None else effective_from.isoformat()
        named = {"rate_id": rate_id, "effective_from": start, "dating": dating, "confidence": confidence, "list": list}
        self.last_seen = last_seen
        self.json = ", ".join([f'"{key}": {quoted(value)}' for key, value in named.items()])
        self.shown = f'{self.json}, "last_seen": {quoted(None if last_seen is None else last_seen.isoformat())}'

    def seen_on(self, day: date) -> Offer:
        """This offer for charges whose oldest price was last seen on a day before the rate's own."""
        return Offer(
            provider=self.provider, model=self.model, rate_id=self.rate_id, effective_from=self.effective_from,
            dating=self.dating, confidence=self.confidence, list=self.list, book=self.book, last_seen=day,
        )  # fmt: skip

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, Offer) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"<Offer {self.provider}/{self.model} by {self.rate_id}>"

    def _key(self) -> tuple[Any, ...]:
        return (self.provider, self.model, self.book, self.json)
