"""What a call costs: disjoint charges, their exact sum, and which entry of the price book says so (`offers.py`).

A value; it knows nothing of vendors, files or dates. `prices/charges.py` makes it from a usage and the prices in
force, which `prices/book.py` finds. A `Cost` keeps its charges as plain lines and makes `Charge` and `Money` objects
only when they are read: most calls are summed and never read one by one.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal

from tokenmeter.money import Money, plain
from tokenmeter.offers import Line, Offer, Tariff, quoted

if TYPE_CHECKING:
    from tokenmeter.charge import Charge
    from tokenmeter.usage import Usage

__all__ = ["STALE", "Cost", "CostSource", "Status", "instant_of"]

Status = Literal["priced", "free", "unpriced"]
CostSource = Literal["book", "vendor"]
STALE: Final = "stale"
"""The flag of a cost whose price no source has shown for long."""


def instant_of(ns: int) -> datetime:
    """Nanoseconds since the epoch as an instant (UTC), cut to microseconds."""
    # Computed in integers: a float of seconds would lose the last digits.
    seconds, rest = divmod(ns, 1_000_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1000)


class Cost:
    """What one call costs: disjoint `charges` and their exact sum `total`, or None and the `reason`.

    `status` is `priced`, `free` (known to cost nothing) or `unpriced`. `list_total` is the list price where the
    account pays another; `covered_by` names the plan the call was made under, whose fee is not in the total.
    Immutable; identity (`provider`, `model`, `rate_id`, `effective_from`, `dating`, `confidence`, `list`, `book`)
    is that of the rate applied. `last_seen` is the last day on which a source showed the oldest of the prices charged.

    `source` is `book`, or `vendor` where the total is the one that the vendor or gateway reported: such a cost has no
    charges and no rate.
    """

    __slots__ = (
        "_amount", "_at", "_basis", "_covered_by", "_flags", "_lines", "_list_amount", "_offer", "_reason", "_source",
        "_status",
    )  # fmt: skip

    def __init__(
        self,
        offer: Offer,
        status: Status,
        amount: Decimal | None,
        lines: tuple[Line, ...],
        at: datetime | int,
        flags: tuple[str, ...] = (),
        reason: str | None = None,
        covered_by: str | None = None,
        list_amount: Decimal | None = None,
        basis: tuple[Tariff, Usage] | Decimal | None = None,
        source: CostSource = "book",
    ) -> None:
        """`at` may be nanoseconds since the epoch; `basis` is what the cost was made of, or its cache savings."""
        self._source: CostSource = source
        self._basis = basis
        self._offer = offer
        self._status = status
        self._amount = amount
        self._lines = lines
        self._at: datetime | int = at
        self._flags = flags
        self._reason = reason
        self._covered_by = covered_by
        self._list_amount = list_amount

    @property
    def status(self) -> Status:
        """`priced`, `free` or `unpriced`."""
        return self._status

    @property
    def source(self) -> CostSource:
        """Whose figure the total is: `book` or `vendor`."""
        return self._source

    @property
    def amount(self) -> Decimal | None:
        """The exact total in `currency`, None if unpriced."""
        return self._amount

    @property
    def currency(self) -> str | None:
        """The currency of the list (ISO 4217); None if no list was found."""
        return self._offer.list

    @property
    def total(self) -> Money | None:
        """The exact sum of the charges; None if unpriced."""
        return None if self._amount is None else Money(self._amount, self._offer.list or "")

    @property
    def list_total(self) -> Money | None:
        """The provider's list price, where the account pays another; else None."""
        return None if self._list_amount is None else Money(self._list_amount, self._offer.list or "")

    @property
    def cache_savings(self) -> Money | None:
        """What the vendor's cache saved: the same input at the price of fresh input, less what it costs here.

        Below zero where writing to the cache cost more than reading from it saved. None where that is not known: the
        call is unpriced, or its usage does not tell what was read from a cache. Storage is no part of it.
        """
        saved = self.cache_saved
        return None if saved is None else Money(saved, self._offer.list or "")

    @property
    def cache_saved(self) -> Decimal | None:
        """The amount of `cache_savings` in `currency`; computed when first asked for."""
        if type(self._basis) is tuple:
            tariff, usage = self._basis
            self._basis = None if self._amount is None else tariff.cache_savings(usage)
        return self._basis  # type: ignore[return-value]

    def __getstate__(self) -> tuple[None, dict[str, Any]]:
        """Values alone: the price tables of a process stay in it."""
        _ = self.cache_saved, self.at
        return None, {name: getattr(self, name) for name in self.__slots__}

    @property
    def charges(self) -> tuple[Charge, ...]:
        """Disjoint charges; of an unpriced call, those that are known."""
        from tokenmeter.charge import Charge

        currency = self._offer.list or ""
        return tuple(
            Charge(price.component, quantity, price.rate, price.per, amount, currency)
            for price, quantity, amount in self._lines
        )

    @property
    def lines(self) -> tuple[Line, ...]:
        """The charges as they were made, without an object for each: price, billed quantity, amount."""
        return self._lines

    @property
    def offer(self) -> Offer:
        """The entry of the book that answers."""
        return self._offer

    @property
    def provider(self) -> str:
        """Who bills."""
        return self._offer.provider

    @property
    def model(self) -> str | None:
        """The model billed, as the book names it; None if it knows none."""
        return self._offer.model

    @property
    def rate_id(self) -> str | None:
        """The entry's id, `provider/model@start`."""
        return self._offer.rate_id

    @property
    def effective_from(self) -> datetime | None:
        """Where the book lets the rate begin; None where it reaches back without limit."""
        return self._offer.effective_from

    @property
    def dating(self) -> str | None:
        """`official`, `observed`, `open`, or `own`: the user's own price, of any date."""
        return self._offer.dating

    @property
    def confidence(self) -> str | None:
        """`official`, `corroborated`, `single-source`, or `own`: the price is the user's own."""
        return self._offer.confidence

    @property
    def list(self) -> str | None:
        """The provider's price list, by its currency."""
        return self._offer.list

    @property
    def book(self) -> str | None:
        """The version of the book."""
        return self._offer.book

    @property
    def last_seen(self) -> date | None:
        """The last day on which a source showed the price, of the oldest price charged; None if not known.

        An answer for an instant more than 180 days later (or the `stale_after` of the provider's file) has the flag
        `stale`.
        """
        return self._offer.last_seen

    @property
    def at(self) -> datetime:
        """The instant priced."""
        if type(self._at) is int:
            self._at = instant_of(self._at)
        return self._at  # type: ignore[return-value]

    @property
    def flags(self) -> tuple[str, ...]:
        """What a reader should know, such as `past_review` or `assumed_thinking=true`."""
        return self._flags

    @property
    def reason(self) -> str | None:
        """Why there is no price; None if there is one."""
        return self._reason

    @property
    def covered_by(self) -> str | None:
        """The plan the call was made under."""
        return self._covered_by

    def to_dict(self) -> dict[str, Any]:
        """The contract's JSON fields; money and rates are plain strings, unknown is None."""
        offer = self._offer
        answer: dict[str, Any] = {
            "status": self._status,
            "cost": None if self._amount is None else {"amount": plain(self._amount), "currency": offer.list},
            "charges": [
                {
                    "component": price.component,
                    "quantity": quantity if type(quantity) is int else plain(quantity),
                    "rate": price.rate_text,
                    "per": str(price.per),
                    "amount": plain(amount),
                }
                for price, quantity, amount in self._lines
            ],
            "rate_id": offer.rate_id,
            "effective_from": None if offer.effective_from is None else offer.effective_from.isoformat(),
            "dating": offer.dating,
            "confidence": offer.confidence,
            "list": offer.list,
            "last_seen": None if offer.last_seen is None else offer.last_seen.isoformat(),
            "at": self.at.isoformat(),
            "book": offer.book,
            "covered_by": self._covered_by,
            "flags": [*self._flags],
            "reason": self._reason,
        }
        if self._list_amount is not None:
            answer["list_cost"] = {"amount": plain(self._list_amount), "currency": offer.list}
        if self._source != "book":
            answer["source"] = self._source
        return answer

    def with_flag(self, flag: str) -> Cost:
        """This cost with one more flag."""
        return Cost(
            self._offer, self._status, self._amount, self._lines, self._at, (*self._flags, flag), self._reason,
            self._covered_by, self._list_amount, self._basis, self._source,
        )  # fmt: skip

    def to_json(self, at: str | None = None) -> str:
        """The fields of `to_dict` as JSON text without the braces, written directly: a fifth of the time.

        `at` is how the instant is spelled; None writes it out.
        """
        offer = self._offer
        quote = quoted
        amount = "null"
        if self._amount is not None:
            amount = f'{{"amount": "{plain(self._amount)}", "currency": {quote(offer.list)}}}'
        charges = ", ".join(
            [
                f"{price.shown[0]}{quantity if type(quantity) is int else quote(plain(quantity))}"
                f'{price.shown[1]}{plain(part)}"}}'
                for price, quantity, part in self._lines
            ]
        )
        listed = ""
        if self._list_amount is not None:
            listed = f', "list_cost": {{"amount": "{plain(self._list_amount)}", "currency": {quote(offer.list)}}}'
        source = "" if self._source == "book" else f', "source": "{self._source}"'
        return (
            f'"status": "{self._status}", "cost": {amount}, "charges": [{charges}], {offer.shown}, '
            f'"at": {quote(at if at is not None else self.at.isoformat())}, "book": {quote(offer.book)}, '
            f'"covered_by": {quote(self._covered_by)}, "flags": [{", ".join(map(quote, self._flags))}], '
            f'"reason": {quote(self._reason)}{listed}{source}'
        )

    def _key(self) -> tuple[Any, ...]:
        return (
            self._offer, self._status, self._amount, self.charges, self.at,
            self._flags, self._reason, self._covered_by, self._list_amount, self._source,
        )  # fmt: skip

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, Cost) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        what = f"{self.total}" if self._amount is not None else repr(self._reason)
        return f"<Cost {self._status} {what} {self.provider}/{self.model} by {self.rate_id}>"
