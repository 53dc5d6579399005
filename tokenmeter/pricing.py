"""From usage and a price table to disjoint charges whose exact sum is the cost.

This module knows nothing of vendors, files or dates: a `Table` is what the catalog found to be in force for one
request (`catalog/cases.py` makes it from a rate and its conditions, `catalog/book.py` finds the rate). The table
splits the usage into disjoint quantities: subsets are inside their totals, so what is left of a total after its
subsets is text. A quantity without a price of its own is billed by its declared stand-in, and merged into that
charge; without one the cost is unknown, never zero.

Everything a warm call computes is a few exact decimal products; charges become objects only when somebody looks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Literal

from tokenmeter.money import EXACT, Money, plain
from tokenmeter.usage import Usage

__all__ = ["Charge", "Cost", "Line", "Offer", "Price", "Status", "Table"]

Status = Literal["priced", "free", "unpriced"]
_ZERO: Final = Decimal(0)
_add: Final[Callable[[Decimal, Decimal], Decimal]] = EXACT.add
_multiply: Final[Callable[[Decimal, Any], Decimal]] = EXACT.multiply
MEDIA: Final = ("audio", "image", "video")


@dataclass(frozen=True, slots=True)
class Charge:
    """One component's part of a cost: `amount` = `quantity` x `rate` / `per`, exactly."""

    component: str
    quantity: int | Decimal
    rate: Decimal
    per: int
    amount: Decimal
    currency: str

    def to_dict(self) -> dict[str, Any]:
        """The contract's JSON form: whole quantities are integers, everything else a plain string."""
        return {
            "component": self.component,
            "quantity": self.quantity if isinstance(self.quantity, int) else plain(self.quantity),
            "rate": plain(self.rate),
            "per": str(self.per),
            "amount": plain(self.amount),
        }


class Price:
    """The price of one component: `rate` for `per` of it, billed in steps or from a least quantity if so declared."""

    __slots__ = ("component", "least", "per", "rate", "rate_text", "step", "unit")

    def __init__(
        self, component: str, rate: Decimal, per: int, *, step: Decimal | None = None, least: Decimal | None = None
    ) -> None:
        self.component, self.rate, self.per, self.step, self.least = component, rate, per, step, least
        self.unit = EXACT.divide(rate, Decimal(per))
        self.rate_text = plain(rate)

    def billed(self, quantity: int | Decimal) -> int | Decimal:
        """The quantity the vendor bills for this one."""
        if self.least is not None and quantity < self.least:
            quantity = self.least
        if self.step is not None:
            whole, rest = EXACT.divmod(Decimal(quantity), self.step)
            quantity = _multiply(whole + 1 if rest else whole, self.step)
        if isinstance(quantity, Decimal) and quantity == quantity.to_integral_value():
            return int(quantity)
        return quantity


Line = tuple[Price, "int | Decimal", Decimal]  # a charge before anybody looks: price, billed quantity, amount


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """Which entry of the price book answers, shared by all costs it gives.

    `effective_from` is where the book lets the rate begin; `dating` says whether that is the vendor's own date
    (`official`), the first day a source carried it (`observed`), or unknown because only its end is (`open`).
    """

    provider: str
    model: str | None = None
    rate_id: str | None = None
    effective_from: datetime | None = None
    dating: str | None = None
    confidence: str | None = None
    list: str | None = None
    book: str | None = None


class Cost:
    """What one call costs: disjoint `charges` and their exact sum `total`, or None and the `reason`.

    `status` is `priced`, `free` (known to cost nothing) or `unpriced`. `list_total` is the list price where the
    account pays another; `covered_by` names the plan the call was made under, whose fee is not in the total.
    Immutable; identity (`provider`, `model`, `rate_id`, `effective_from`, `dating`, `confidence`, `list`, `book`)
    is that of the rate applied.
    """

    __slots__ = (
        "_amount", "_at", "_covered_by", "_flags", "_lines", "_list_amount", "_offer", "_reason", "_status",
    )  # fmt: skip

    def __init__(
        self,
        offer: Offer,
        status: Status,
        amount: Decimal | None,
        lines: tuple[Line, ...],
        at: datetime,
        flags: tuple[str, ...] = (),
        reason: str | None = None,
        covered_by: str | None = None,
        list_amount: Decimal | None = None,
    ) -> None:
        self._offer = offer
        self._status = status
        self._amount = amount
        self._lines = lines
        self._at = at
        self._flags = flags
        self._reason = reason
        self._covered_by = covered_by
        self._list_amount = list_amount

    @property
    def status(self) -> Status:
        return self._status

    @property
    def amount(self) -> Decimal | None:
        """The exact total in `currency`, None if unpriced."""
        return self._amount

    @property
    def currency(self) -> str | None:
        return self._offer.list

    @property
    def total(self) -> Money | None:
        return None if self._amount is None else Money(self._amount, self._offer.list or "")

    @property
    def list_total(self) -> Money | None:
        """The provider's list price, where the account pays another; else None."""
        return None if self._list_amount is None else Money(self._list_amount, self._offer.list or "")

    @property
    def charges(self) -> tuple[Charge, ...]:
        """Disjoint charges; of an unpriced call, those that are known."""
        currency = self._offer.list or ""
        return tuple(
            Charge(price.component, quantity, price.rate, price.per, amount, currency)
            for price, quantity, amount in self._lines
        )

    @property
    def offer(self) -> Offer:
        return self._offer

    @property
    def provider(self) -> str:
        return self._offer.provider

    @property
    def model(self) -> str | None:
        return self._offer.model

    @property
    def rate_id(self) -> str | None:
        return self._offer.rate_id

    @property
    def effective_from(self) -> datetime | None:
        return self._offer.effective_from

    @property
    def dating(self) -> str | None:
        return self._offer.dating

    @property
    def confidence(self) -> str | None:
        return self._offer.confidence

    @property
    def list(self) -> str | None:
        return self._offer.list

    @property
    def book(self) -> str | None:
        return self._offer.book

    @property
    def at(self) -> datetime:
        return self._at

    @property
    def flags(self) -> tuple[str, ...]:
        return self._flags

    @property
    def reason(self) -> str | None:
        return self._reason

    @property
    def covered_by(self) -> str | None:
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
            "at": self._at.isoformat(),
            "book": offer.book,
            "covered_by": self._covered_by,
            "flags": [*self._flags],
            "reason": self._reason,
        }
        if self._list_amount is not None:
            answer["list_cost"] = {"amount": plain(self._list_amount), "currency": offer.list}
        return answer

    def _key(self) -> tuple[Any, ...]:
        return (
            self._offer, self._status, self._amount, self.charges, self._at,
            self._flags, self._reason, self._covered_by, self._list_amount,
        )  # fmt: skip

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, Cost) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        what = f"{self.total}" if self._amount is not None else repr(self._reason)
        return f"<Cost {self._status} {what} {self.provider}/{self.model} by {self.rate_id}>"


class Table:
    """The prices in force for one request, and how its usage is split over them."""

    __slots__ = (
        "_input", "_lifetime", "_output", "_quantities", "_read", "_reasoning", "_simple", "_write", "free", "prices",
        "serves",
    )  # fmt: skip

    def __init__(
        self,
        prices: Mapping[str, Price],
        serves: Callable[[str], Price | None],
        *,
        quantities: Mapping[str, str],
        lifetime: str | None = None,
    ) -> None:
        """`serves` gives the price that bills a component: its own, or its stand-in's, or None.

        `quantities` names the component of each quantity that is not tokens; `lifetime` is that of cache writes
        whose lifetime the usage does not tell.
        """
        self.prices = prices
        self.serves = serves
        self._quantities = quantities
        self.free = bool(prices) and not any(price.rate for price in prices.values())
        self._lifetime = lifetime
        self._input, self._read, self._output = serves("input"), serves("cache_read"), serves("output")
        self._reasoning = serves("reasoning_output")
        self._write = self._serves_write()
        usual = (self._input, self._read, self._write, self._output, self._reasoning)
        self._simple = not any(price is not None and (price.step or price.least) for price in usual)

    def _serves_write(self) -> Price | None:
        """Who bills a cache write of no reported lifetime: the lifetime asked for, else the plain price or stand-in."""
        if self._lifetime is None:
            return self.serves("cache_write")
        return self.serves(f"cache_write_{self._lifetime}") or self.prices.get("cache_write")

    def bill(self, usage: Usage) -> tuple[Decimal | None, tuple[Line, ...], tuple[str, ...], str | None]:
        """Amount, lines, flags and reason. The amount is None, with the reason, where it can't be known."""
        tokens_in, tokens_out = usage.input_tokens, usage.output_tokens
        if (
            tokens_in is None
            or tokens_out is None
            or usage.quantities
            or usage.cache_writes
            or usage.cached_media
            or usage.audio_input_tokens
            or usage.image_input_tokens
            or usage.video_input_tokens
            or usage.audio_output_tokens
            or usage.image_output_tokens
            or not self._simple
        ):
            return self._bill_any(usage)
        read = usage.cache_read_input_tokens or 0
        written = usage.cache_write_input_tokens or 0
        thought = usage.reasoning_output_tokens or 0
        text_in = tokens_in - read - written
        text_out = tokens_out - thought
        if text_in < 0 or text_out < 0 or read < 0 or written < 0 or thought < 0:
            return self._bill_any(usage)
        if read and self._read is self._input:
            text_in, read = text_in + read, 0
        if written and self._write is self._input:
            text_in, written = text_in + written, 0
        if thought and self._reasoning is self._output:
            text_out, thought = tokens_out, 0
        amount = _ZERO
        lines: list[Line] = []
        for price, quantity in (
            (self._input, text_in),
            (self._read, read),
            (self._write, written),
            (self._output, text_out),
            (self._reasoning, thought),
        ):
            if quantity:
                if price is None:
                    return self._bill_any(usage)
                part = _multiply(price.unit, quantity)
                amount = _add(amount, part)
                lines.append((price, quantity, part))
        return amount, tuple(lines), (), None

    def _bill_any(self, usage: Usage) -> tuple[Decimal | None, tuple[Line, ...], tuple[str, ...], str | None]:
        wrong = usage.contradictions() or tuple(_orphans(usage))
        if wrong:
            return None, (), (), "; ".join(wrong)
        quantities: dict[Price, int | Decimal] = {}
        missing: list[str] = []
        for component, quantity in self._split(usage):
            price = self._write if component == "cache_write" else self.serves(component)
            if price is not None:
                quantities[price] = quantities.get(price, 0) + quantity
            elif quantity:
                missing.append(component)
        if any(quantity < 0 for quantity in quantities.values()) and not missing:
            return None, (), (), "cached and media input overlap by an amount the usage does not tell"
        lines = []
        amount = _ZERO
        for price, quantity in quantities.items():
            if quantity > 0:
                billed = price.billed(quantity)
                part = _multiply(price.unit, billed)
                amount = _add(amount, part)
                lines.append((price, billed, part))
        if missing:
            return None, tuple(lines), (), f"no rate for {', '.join(missing)}"
        if not lines and not any(True for _ in usage.items()):
            return None, (), (), "no usage is known"
        return amount, tuple(lines), tuple(self._unknown_totals(usage)), None

    def _split(self, usage: Usage) -> Iterator[tuple[str, int | Decimal]]:
        """Disjoint quantities by component; what is left of a total after its subsets is its text."""
        cached = usage.cached_media
        media_in = {
            "audio": usage.audio_input_tokens or 0,
            "image": usage.image_input_tokens or 0,
            "video": usage.video_input_tokens or 0,
        }
        if usage.input_tokens is not None:
            read = sum(cached.values()) if usage.cache_read_input_tokens is None else usage.cache_read_input_tokens
            lifetimes = sum(usage.cache_writes.values())
            written = lifetimes if usage.cache_write_input_tokens is None else usage.cache_write_input_tokens
            fresh = {medium: tokens - cached.get(medium, 0) for medium, tokens in media_in.items()}
            yield "input", usage.input_tokens - read - written - sum(fresh.values())
            yield "cache_read", read - sum(cached.values())
            for medium in MEDIA:
                yield f"{medium}_cache_read", cached.get(medium, 0)
            yield "cache_write", written - lifetimes
            for lifetime, tokens in usage.cache_writes.items():
                yield f"cache_write_{lifetime}", tokens
            for medium in MEDIA:
                yield f"{medium}_input", fresh[medium]
        if usage.output_tokens is not None:
            thought, heard = usage.reasoning_output_tokens or 0, usage.audio_output_tokens or 0
            drawn = usage.image_output_tokens or 0
            yield "output", usage.output_tokens - thought - heard - drawn
            yield "reasoning_output", thought
            yield "audio_output", heard
            yield "image_output", drawn
        for name, amount in usage.quantities.items():
            yield self._quantities.get(name, name), amount

    def _unknown_totals(self, usage: Usage) -> Iterator[str]:
        # The answer then holds only what was reported, and says so.
        if usage.input_tokens is None and (price := self._input) is not None and price.rate:
            yield "input_tokens_unknown"
        if usage.output_tokens is None and (price := self._output) is not None and price.rate:
            yield "output_tokens_unknown"


def _orphans(usage: Usage) -> Iterator[str]:
    """Subsets given without the total they are part of."""
    if usage.input_tokens is None:
        subsets = [
            usage.cache_read_input_tokens, usage.cache_write_input_tokens, *usage.cache_writes.values(),
            usage.audio_input_tokens, usage.image_input_tokens, usage.video_input_tokens,
        ]  # fmt: skip
        if any(subsets):
            yield "part of the input is given without input_tokens"
    if usage.output_tokens is None and any(
        (usage.reasoning_output_tokens, usage.audio_output_tokens, usage.image_output_tokens)
    ):
        yield "part of the output is given without output_tokens"
    elif usage.output_tokens is not None:
        media = (usage.audio_output_tokens or 0) + (usage.image_output_tokens or 0)
        if media + (usage.reasoning_output_tokens or 0) > usage.output_tokens:
            yield "parts of the output together are above output_tokens"
    cached = sum(usage.cached_media.values())
    if usage.cache_read_input_tokens is not None and cached > usage.cache_read_input_tokens:
        yield "cached media are above cache_read_input_tokens"
