"""Reports prices of one card that contradict each other: a longer call that is cheaper, a batch that is dearer.

Vendors state batch, tiers, priority and caches as shares of one list; a card that breaks the rule is almost always made
of two models or two days. Each exception that a vendor really has is an `[[exception]]` of the price file, with the
rule, the reason and the source; a file laid over another inherits them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from tokenmeter.prices.conditions import Case
from tokenmeter.prices.price_file import PriceFile, Rate

__all__ = ["RULES", "broken_rules", "excepted"]

RULES: Final[Mapping[str, str]] = {
    "longer-cheaper": "a longer call costs less than a shorter one",
    "priority-below-list": "priority costs less than the list",
    "discount-share": "batch or flex is not 40% to 85% of the list",
    "discount-uneven": "batch or flex is another share of input than of output",
    "cache-read-above-input": "reading the cache costs more than input",
    "cache-write-share": "writing the cache is not 100% to 250% of input",
}
_TEXT: Final = ("input", "output")
_LEAST, _MOST = Decimal("0.4"), Decimal("0.85")
#: Prices are rounded on lists: shares this near count as equal.
_EVEN: Final = Decimal("0.03")
_PRIORITY: Final = frozenset({"priority", "fast"})


def broken_rules(rate: Rate) -> Iterator[tuple[str, str]]:
    """Each rule that the card of a rate breaks, with the figures."""
    prices = rate.prices()
    base = prices.base
    paid = base.get("input")
    if paid:
        yield from _cache(base, paid)
    for case in prices.cases:
        ranged = len(case.ranges) == 1 and case.ranges[0].quantity == "input_tokens" and case.ranges[0].low is not None
        alone = len(case.names) + len(case.switches) + len(case.windows) + len(case.ranges) == 1
        if not alone:
            continue
        if ranged:
            yield from _below(case, base, "longer-cheaper", (*_TEXT, "cache_read"))
        elif case.names.get("service_tier", frozenset()) & _PRIORITY:
            yield from _below(case, base, "priority-below-list", _TEXT)
        elif case.switches.get("batch") or case.names.get("service_tier") == frozenset({"flex"}):
            yield from _discount(case, base)


def _cache(base: Mapping[str, Decimal], paid: Decimal) -> Iterator[tuple[str, str]]:
    read = base.get("cache_read")
    if read is not None and read > paid:
        yield "cache-read-above-input", f"cache_read {read} beside input {paid}"
    for name in ("cache_write", "cache_write_5m", "cache_write_1h"):
        written = base.get(name)
        if written and not paid <= written <= paid * Decimal("2.5"):
            yield "cache-write-share", f"{name} {written} beside input {paid}"


def _below(case: Case, base: Mapping[str, Decimal], rule: str, names: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for name in names:
        if name in case.sets and name in base and case.sets[name] < base[name]:
            yield rule, f"{name} {case.sets[name]} beside {base[name]}"


def _discount(case: Case, base: Mapping[str, Decimal]) -> Iterator[tuple[str, str]]:
    shares = {name: case.sets[name] / base[name] for name in _TEXT if name in case.sets and base.get(name)}
    shown = ", ".join(f"{name} {case.sets[name]} beside {base[name]}" for name in shares)
    if any(not _LEAST <= share <= _MOST for share in shares.values()):
        yield "discount-share", shown
    elif len(shares) == 2 and abs(shares["input"] - shares["output"]) > _EVEN:
        yield "discount-uneven", shown


def excepted(file: PriceFile, rate: Rate, rule: str) -> bool:
    """Whether the file says that the rule does not hold for this model."""
    entries: list[Mapping[str, Any]] = file.head.get("exception", [])
    return any(entry["rule"] == rule and rate.model in entry["models"] for entry in entries)
