"""Leaves out prices that contradict the card they stand on: a longer call that is cheaper, cached tokens above input.

They are of another model, another day or another unit. What a vendor states itself, a decision keeps, or an
`[[exception]]` of the price file explains, stays.
"""

from __future__ import annotations

import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from tools.price_book.entries import Entry
from tools.price_book.facts import Conditions, Slot, Tier

LONGER_CHEAPER: Final = "a longer call cheaper than a shorter one: of another model or other days"
READ_ABOVE: Final = "cached tokens dearer than new ones: of another model or other days"
WRITE_SHARE: Final = "writing the cache outside 100% to 250% of input: of another unit"
_TIERED: Final = ("input", "output", "cache_read")
_WRITES: Final = ("cache_write", "cache_write_5m", "cache_write_1h")
_MOST: Final = Decimal("2.5")
Excepted = Callable[[str, str], bool]


def exceptions_of(head: Mapping[str, Any]) -> Excepted:
    """Whether the head of a price file excepts a model from a rule of `tokenmeter prices check`."""
    stated = tomllib.loads(head.get("head", "")).get("exception", [])
    known = {(name.lower(), entry["rule"]) for entry in stated for name in entry["models"]}
    return lambda model, rule: (model.lower(), rule) in known


def leave_contradictions(rates: Iterable[Entry], model: str, excepted: Excepted) -> None:
    """Take out of the entries what contradicts them, and give the facts the reason."""
    rules = (
        ("longer-cheaper", _longer, LONGER_CHEAPER),
        ("cache-read-above-input", _reads, READ_ABOVE),
        ("cache-write-share", _writes, WRITE_SHARE),
    )
    for rule, find, reason in rules:
        if not excepted(model, rule):
            for rate in rates:
                for slot in list(find(rate)):
                    _leave(rate, slot, reason)


def _leave(rate: Entry, slot: Slot, reason: str) -> None:
    fact = rate.givers[slot]
    if fact.primary or fact.forced:
        return
    price = rate.prices.pop(slot)
    del rate.givers[slot]
    for other in [f for f in (fact, *rate.agreeing) if slot in f.slots and f.price == price]:
        other.used, other.left_out = False, other.left_out or reason
    rate.agreeing = [f for f in rate.agreeing if f is not fact]


def _longer(rate: Entry) -> Iterator[Slot]:
    tiers: dict[tuple[str, Conditions], list[tuple[int, Slot]]] = defaultdict(list)
    for slot in rate.prices:
        if slot.component in _TIERED:
            tiers[slot.component, slot.when].append((_begins(slot.tier), slot))
    for its in tiers.values():
        highest = Decimal(0)
        for _, slot in sorted(its, key=lambda one: (one[0], one[1].tier)):
            if rate.prices[slot] < highest and _begins(slot.tier):
                yield slot
            highest = max(highest, rate.prices[slot])


def _begins(tier: Tier) -> int:
    """Above how many tokens of input the tier begins."""
    return max((edge for name, edge in tier if name in ("input_tokens_gt", "input_tokens_ge")), default=0)


def _reads(rate: Entry) -> Iterator[Slot]:
    paid = _plain_input(rate)
    for slot, price in rate.prices.items():
        if slot.component == "cache_read" and not slot.when and paid and price > paid:
            yield slot


def _writes(rate: Entry) -> Iterator[Slot]:
    paid = _plain_input(rate)
    for slot, price in rate.prices.items():
        plain = slot.component in _WRITES and not slot.when and not _begins(slot.tier)
        if plain and paid and price and not paid <= price <= paid * _MOST:
            yield slot


def _plain_input(rate: Entry) -> Decimal | None:
    """What the shortest call pays for a million tokens of input."""
    its = [(s.tier != (), _begins(s.tier), p) for s, p in rate.prices.items() if s.component == "input" and not s.when]
    return min(its)[2] if its else None
