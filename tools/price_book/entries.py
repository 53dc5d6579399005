"""One `[[rate]]` entry of the book before it is written, and the clean-up of a model's entries.

Neighbours of equal prices become one entry. A zero counts only where a trusted source calls the model free; reasoning
at the output price needs no price of its own; a batch price above the plain one is left over from other days.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Final

from tools.price_book.facts import Conditions, Fact, Slot
from tools.price_book.rate_cards import MAIN


@dataclass(slots=True)
class Entry:
    """One entry of the book: everything one model costs on one list, from an instant on."""

    start: str | None
    dated: bool
    prices: dict[Slot, Decimal]
    givers: dict[Slot, Fact]
    agreeing: list[Fact] = field(default_factory=list)
    families: set[str] = field(default_factory=set)
    until: str | None = None
    promotion: bool = False
    announced: str | None = None
    multipliers: list[tuple[Conditions, Any]] = field(default_factory=list)


def is_main(slot: Slot) -> bool:
    """Input or output text without conditions but thinking."""
    return slot.component in MAIN and all(name == "thinking" for name, _ in slot.when)


def merge(rates: Iterable[Entry]) -> list[Entry]:
    """Join neighbours of equal prices, and drop zeros that no trusted source confirms."""
    outputs: set[Decimal] = set()
    sound = []
    for rate in rates:
        outputs |= {price for slot, price in rate.prices.items() if slot.component == "output" and is_main(slot)}
        _vouch(rate)
        _plain_thoughts(rate, outputs)
        _true_discounts(rate)
        _plain_thinking(rate)
        if rate.prices:
            sound.append(rate)
    return joined(sound)


def joined(rates: Iterable[Entry]) -> list[Entry]:
    """The entries, with neighbours of equal prices as one."""
    answer: list[Entry] = []
    for rate in rates:
        before = answer[-1] if answer else None
        if (
            before
            and _all_prices(before) == _all_prices(rate)
            and not (before.until or before.announced or rate.promotion)
        ):
            before.agreeing += [f for f in rate.agreeing if f not in before.agreeing]
            before.families |= rate.families
            before.announced = rate.announced
            if not rate.multipliers:  # printed prices rather than the rule that gives the same
                before.prices, before.givers, before.multipliers = rate.prices, rate.givers, []
        else:
            answer.append(rate)
    return answer


def without_repeats(rates: list[Entry], stand_ins: Mapping[str, str]) -> list[Entry]:
    """The entries without components that cost, under every condition, what their stand-in costs."""
    for rate in rates:
        for name, other in stand_ins.items():
            own = {(s.when, s.tier): p for s, p in rate.prices.items() if s.component == name}
            if own and own == {(s.when, s.tier): p for s, p in rate.prices.items() if s.component == other}:
                for slot in [s for s in rate.prices if s.component == name]:
                    del rate.prices[slot], rate.givers[slot]
    return rates


def _all_prices(rate: Entry) -> dict[Slot, Decimal]:
    """The prices of an entry, with what its multipliers make of them."""
    prices = dict(rate.prices)
    for when, factor in rate.multipliers:
        for slot, price in rate.prices.items():
            share = factor.get(slot.component) if isinstance(factor, dict) else factor
            if not slot.when and share is not None:
                prices[replace(slot, when=when)] = price * Decimal(str(share))
    return prices


OTHER_DAYS: Final = "a discount above the plain price, or a surcharge not above it: of other days"
#: No vendor gives more than 60% for a batch, nor a share that differs so much between input and output.
_LEAST_SHARE: Final = Decimal("0.4")
_UNEVEN: Final = Decimal("0.1")
_CHEAPER: Final = {("batch", "true"), ("service_tier", "flex")}
_DEARER: Final = {("service_tier", "priority"), ("service_tier", "fast|priority"), ("speed", "fast")}


def _true_discounts(rate: Entry) -> None:
    """A batch or flex price above the plain one or below its share, or a priority price below it, is of other days."""
    for slot in [s for s in rate.prices if s.component in MAIN]:
        base = [p for s, p in rate.prices.items() if s.component == slot.component and not s.when]
        if slot not in rate.prices:
            continue
        price, kinds = rate.prices[slot], set(slot.when)
        if not base:
            if kinds & (_CHEAPER | _DEARER) and any(is_main(s) and not s.when for s in rate.prices):
                _drop(rate, slot.when)  # nothing to hold it against
        elif (kinds & _CHEAPER and price > max(base)) or (kinds & _DEARER and price <= min(base)):
            _drop(rate, slot.when)
    for when in {s.when for s in rate.prices if set(s.when) & _CHEAPER and len(s.when) == 1}:
        shares = _shares(rate, when)
        if shares and (min(shares) < _LEAST_SHARE or max(shares) - min(shares) >= _UNEVEN):
            _drop(rate, when)


def _shares(rate: Entry, when: Conditions) -> list[Decimal]:
    """What a discount leaves of the plain price of text, per component and tier."""
    plain = {(s.component, s.tier): price for s, price in rate.prices.items() if s.component in MAIN and not s.when}
    own = {(s.component, s.tier): price for s, price in rate.prices.items() if s.component in MAIN and s.when == when}
    return [price / plain[key] for key, price in own.items() if plain.get(key)]


def _drop(rate: Entry, when: Conditions) -> None:
    for slot in [s for s in rate.prices if s.when == when]:
        gone = rate.givers.pop(slot)
        del rate.prices[slot]
        rate.agreeing = [f for f in rate.agreeing if f is not gone]
        gone.left_out = gone.left_out or OTHER_DAYS


def _plain_thoughts(rate: Entry, outputs: set[Decimal]) -> None:
    """Reasoning that costs what output costs, or once did, needs no price of its own."""
    for slot in [s for s in rate.prices if s.component == "reasoning_output"]:
        if rate.prices[slot] in outputs or not any(s.component == "output" for s in rate.prices):
            del rate.prices[slot], rate.givers[slot]


def _plain_thinking(rate: Entry) -> None:
    """What thinking does not change needs no second price."""
    for name in {s.component for s in rate.prices}:
        thinking = {s.tier: s for s in rate.prices if s.component == name and s.when == (("thinking", "true"),)}
        if thinking and {t: rate.prices[s] for t, s in thinking.items()} == {
            s.tier: price for s, price in rate.prices.items() if s.component == name and not s.when
        }:
            for slot in thinking.values():
                del rate.prices[slot], rate.givers[slot]


def _vouch(rate: Entry) -> None:
    mains = [s for s in rate.prices if is_main(s)]
    zeros = [s for s, p in rate.prices.items() if p == 0]
    if not zeros:
        return
    free = mains and all(rate.prices[s] == 0 for s in mains)
    confirmed = free and any(f.price == 0 and f.vouched for f in rate.agreeing)
    gone = [s for s, p in rate.prices.items() if p] if confirmed else (list(rate.prices) if free else zeros)
    why = (
        "a price beside a free model's"
        if confirmed
        else "a zero nobody calls free: a catalog's placeholder"
        if free
        else "a zero beside prices: a catalog's placeholder"
    )
    for slot in gone:
        fact = rate.givers.pop(slot)
        del rate.prices[slot]
        for other in rate.agreeing:
            if slot in other.slots and (other.price == 0 or free) and other.left_out is None:
                other.left_out = why
        fact.left_out = fact.left_out or why
    rate.agreeing = [f for f in rate.agreeing if f.left_out != why]
