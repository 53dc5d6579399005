"""Turns the figures picked up from a usage object into a `Usage` and the vendor's own cost."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final

from tokenmeter.money import EXACT, Money
from tokenmeter.usage import INPUT_SUBSETS, OUTPUT_SUBSETS, TOKEN_FIELDS, Source, Usage, checked_usage
from tokenmeter.wire.extracted import EMPTY
from tokenmeter.wire.json_paths import number
from tokenmeter.wire.usage_fields import Found

__all__ = ["PARTIAL_OUTPUT", "WITHIN", "make_usage", "read_odd", "shown", "suspicious", "with_upstream"]

PARTIAL_OUTPUT: Final[Mapping[str, Source]] = MappingProxyType(
    {name: Source.PARTIAL for name in TOKEN_FIELDS if "output" in name}
)
_TOKENS: Final = frozenset(TOKEN_FIELDS)
WITHIN: Final = dict.fromkeys(INPUT_SUBSETS, "input_tokens") | dict.fromkeys(OUTPUT_SUBSETS, "output_tokens")


def read_odd(found: Found, words: dict[str, Any], flags: list[str], unread: list[str]) -> None:
    """Read what is not a plain integer: words, fractions, costs, and numbers written otherwise."""
    for path, component, rank, value in found.odd:
        if component is not None and _is_word(component):
            if type(value) in (str, int) or value is True:
                words.setdefault(component, value)
            continue
        read = number(value) if component is not None else None
        if read is None or component is None:
            unread.append(f"{path} is {shown(value)}, not {'a number' if component is not None else 'an object'}")
            continue
        fractional = component.startswith(("quantities.", "vendor_cost.", "upstream_cost."))
        if type(read) is Decimal and not fractional:
            unread.append(f"{path} is {shown(value)}, not a whole number")
            continue
        found.put(component, rank, read, path)


def _is_word(component: str) -> bool:
    return component in ("tier", "model") or component.startswith("params.")


def shown(value: object) -> str:
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return str(value)[:40] if isinstance(value, Decimal) else repr(value)[:40]


def make_usage(values: dict[str, Any], flags: list[str], partial: bool) -> tuple[Usage | None, Money | None]:
    """Sort components into a `Usage`; a contradiction becomes a flag."""
    cost: Money | None = None
    writes: dict[str, int] = {}
    media: dict[str, int] = {}
    quantities: dict[str, int | Decimal] = {}
    if not values.keys() <= _TOKENS:
        for name in [name for name in values if name not in _TOKENS]:
            value = values.pop(name)
            if name.startswith("quantities."):
                quantities[name[11:]] = value
            elif name.startswith("cache_write_"):
                writes[name[12:-13]] = value
            elif name.endswith("_cache_read_input_tokens"):
                media[name[:-24]] = value
            elif name.startswith("vendor_cost."):
                cost = _cost(name[12:], value)
    _settle_writes(values, writes, flags)
    if not values and not quantities and not writes:
        return None, cost
    usage = checked_usage(
        values,
        cache_writes=writes or EMPTY,
        cached_media=media or EMPTY,
        quantities=quantities or EMPTY,
        sources=PARTIAL_OUTPUT if partial else EMPTY,
    )
    if suspicious(values) or quantities or writes or media:
        flags.extend(f"contradiction: {text}" for text in usage.contradictions())
    return usage, cost


def _settle_writes(values: dict[str, Any], writes: dict[str, int], flags: list[str]) -> None:
    """Writes by lifetime are the better figure where their total is missing, zero or below them."""
    by_lifetime = sum(writes.values())
    total = values.get("cache_write_input_tokens")
    if by_lifetime > (total or 0):
        values["cache_write_input_tokens"] = by_lifetime
        if total:
            flags.append(f"contradiction: cache writes by lifetime are {by_lifetime}, cache_write_input_tokens {total}")


def suspicious(values: dict[str, int]) -> bool:
    """Whether `Usage.contradictions` is worth its time."""
    for name, value in values.items():
        if value and name in WITHIN and value > (values.get(WITHIN[name]) or 0):
            return True
    written = values.get("cache_write_input_tokens") or 0
    return written > 0 and written + (values.get("cache_read_input_tokens") or 0) > (values.get("input_tokens") or 0)


def _cost(name: str, value: int | Decimal) -> Money:
    currency, _, divisor = name.partition(" / ")
    amount = Decimal(value)
    return Money(EXACT.divide(amount, Decimal(divisor)) if divisor else amount, currency)


def with_upstream(cost: Money, upstream: list[tuple[str, int | Decimal]], flags: list[str]) -> Money | None:
    """A gateway's fee and what the upstream vendor bills the user's own key: the cost of the call; None if unknown."""
    if not upstream:
        flags.append(
            "vendor_cost_incomplete: the user's own key was billed by the upstream vendor, the cost is not said"
        )
        return None
    for currency, value in upstream:
        cost = cost + _cost(currency, value)
    return cost
