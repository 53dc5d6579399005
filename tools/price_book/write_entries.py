"""Writes one provider's entries as `[[rate]]` tables: readable, and the same bytes for the same facts."""

from __future__ import annotations

import re
from collections import defaultdict
from decimal import Decimal
from typing import Any, Final

from tools.price_book.ages import Ages
from tools.price_book.entries import Entry, is_main
from tools.price_book.facts import BINARY_EDGES, Conditions, Fact, Slot, Tier
from tools.price_book.model_groups import Model
from tools.price_book.rate_cards import day
from tools.price_book.toml_text import plain, quoted, source_name

_ORDER: Final = (
    "input", "cache_read", "cache_write", "cache_write_5m", "cache_write_30m", "cache_write_1h", "cache_write_12h",
    "audio_input", "image_input", "video_input", "audio_cache_read", "image_cache_read", "video_cache_read",
    "output", "reasoning_output", "audio_output", "image_output",
)  # fmt: skip
_WHEN_ORDER: Final = (
    "thinking", "cache", "endpoint", "modality", "channel", "deployment", "region", "inference_geo", "tuned",
    "service_tier", "speed", "quality", "size", "with_audio", "batch", "window",
)  # fmt: skip
_YES_NO: Final = frozenset({"thinking", "batch", "tuned", "with_audio"})
_BOUND: Final = re.compile(r"(input|output)_tokens_(gt|ge|le|lt)")
_OPERATORS: Final = {"gt": ">", "ge": ">=", "le": "<=", "lt": "<"}

Bounds = dict[str, tuple[str, int]]


def moment(at: str) -> str:
    """A date, or an instant with its offset."""
    return at if len(at) == 10 else at.replace("+00:00", "Z")


def lower(tier: Tier) -> Bounds:
    """The lower edges of a tier, by the length they measure."""
    found = {}
    for name, edge in tier:
        match = _BOUND.fullmatch(name)
        if match and match[2] in ("gt", "ge"):
            found[f"{match[1]}_tokens"] = (_OPERATORS[match[2]], edge)
    return found


def upper(tier: Tier) -> Bounds:
    """The upper edges of a tier, by the length they measure."""
    found = {}
    for name, edge in tier:
        match = _BOUND.fullmatch(name)
        if match and match[2] in ("le", "lt"):
            found[f"{match[1]}_tokens"] = (_OPERATORS[match[2]], edge)
    return found


def place(tier: Tier) -> tuple[int, int]:
    """Where a tier stands among the tiers: by its lower edges."""
    low = lower(tier)
    return low.get("input_tokens", ("", 0))[1], low.get("output_tokens", ("", 0))[1]


def component_order(name: str) -> tuple[int, str]:
    """Where a component stands in an entry."""
    return (_ORDER.index(name) if name in _ORDER else len(_ORDER), name)


def _ranges(tier: Tier, others: list[Tier], bounded: bool) -> tuple[tuple[str, str], ...]:
    """A tier as conditions: its lower edges, and an upper one only where the price ends there."""
    asked: dict[str, str] = {name: f"{op} {edge}" for name, (op, edge) in lower(tier).items()}
    if bounded:
        for name, (op, edge) in upper(tier).items():
            if not any(lower(other).get(name, ("", -1))[1] == edge for other in others):
                asked[name] = f"{asked[name]}, {op} {edge}" if name in asked else f"{op} {edge}"
    return tuple(sorted(asked.items()))


Case = tuple[Conditions, tuple[tuple[str, str], ...]]


def cases_of(rate: Entry) -> tuple[dict[str, Decimal], list[tuple[Case, dict[str, Decimal]]]]:
    """The base prices, and the cases in the order they are read."""
    base: dict[str, Decimal] = {}
    cases: dict[Case, dict[str, Decimal]] = defaultdict(dict)
    rank: dict[Case, Any] = {}
    tiers: dict[tuple[str, Conditions], list[Tier]] = defaultdict(list)
    for slot in rate.prices:
        tiers[slot.component, slot.when].append(slot.tier)
    based_tiers = any(s.tier and not s.when for s in rate.prices)
    for slot, price in rate.prices.items():
        siblings = tiers[slot.component, slot.when]
        ranges = _ranges(slot.tier, siblings, bounded=bool(slot.when) and based_tiers)
        if not slot.when and slot.tier == min(siblings, key=place):
            ranges = ()
        if not slot.when and not ranges:
            base[slot.component] = price
            continue
        case = (slot.when, ranges)
        cases[case][slot.component] = price
        order = tuple(sorted(_WHEN_ORDER.index(name) if name in _WHEN_ORDER else 99 for name, _ in slot.when))
        rank[case] = (len(slot.when), order, slot.when, place(slot.tier), ranges)
    return base, [(case, cases[case]) for case in sorted(cases, key=lambda c: rank[c])]


def gaps(rate: Entry) -> list[Slot]:
    """Slots whose tiers begin above zero, so that short calls would have no price."""
    first: dict[tuple[str, Conditions], Tier] = {}
    for slot in rate.prices:
        key = slot.component, slot.when
        if key not in first or place(slot.tier) < place(first[key]):
            first[key] = slot.tier
    return [s for s in rate.prices if not s.when and place(first[s.component, s.when]) != (0, 0)]


def sources_of(rate: Entry) -> list[str]:
    """The sources of an entry: official ones, then one for each family that gave a price."""
    official = sorted({source_name(f.source) for f in rate.agreeing if f.primary})
    by_family: dict[str, Fact] = {}
    givers = list(rate.givers.values())
    for fact in sorted(rate.agreeing, key=lambda f: (-f.rank, f not in givers, f.line)):
        if not fact.primary:
            by_family.setdefault(fact.family, fact)
    others = [source_name(f.source) for f in by_family.values()]
    return list(dict.fromkeys(official[:3] + others[: max(1, 4 - len(official[:3]))]))


def confidence_of(rate: Entry) -> str:
    """official, corroborated or single-source: of what input and output cost, or of all there is."""
    mains = {id(f) for s, f in rate.givers.items() if is_main(s)}
    facts = [f for f in rate.agreeing if any(is_main(s) for s in f.slots)] if mains else rate.agreeing
    if any(f.primary for f in facts):
        return "official"
    if len({f.family for f in facts}) > 1 or any(f.agree for f in facts):
        return "corroborated"
    return "single-source"


def _value(name: str, value: str) -> str:
    if name in _YES_NO:
        return value
    names = [quoted(each) for each in value.split("|")]
    return names[0] if len(names) == 1 else f"[{', '.join(names)}]"


class Writer:
    """Builds the text of one file."""

    def __init__(self, currency: str, read: dict[str, str], as_of: str) -> None:
        """`read` holds the last day each catalog was read; `as_of` is the last day any source was."""
        self.currency, self.read, self.as_of = currency, read, as_of
        self.lines: list[str] = []

    def rate(self, model: Model, rate: Entry, ends: str | None) -> None:
        """One entry."""
        put = self.lines.append
        put("[[rate]]")
        put(f"model = {quoted(model.id)}")
        if model.currency != self.currency:
            put(f"currency = {quoted(model.currency)}")
        last, ages = None, Ages(rate, self.read, ends)
        if rate.dated and rate.start:
            put(f"effective = {moment(rate.start)}")
        elif rate.start:
            last = self._last(rate, ages, ends)
            put(f"observed = [{day(rate.start)}, {last}]")
        if rate.until and (rate.promotion or not rate.start):
            put(f"until = {moment(min(rate.until, ends or rate.until))}")
        if rate.promotion:
            put("promotion = true")
        if rate.announced:
            put(f"announced = {day(rate.announced)}")
        base, cases = cases_of(rate)
        self.lines += ages.lines(base, but=last)
        if rate.prices and all(price == 0 for price in rate.prices.values()):
            put("free = true")
            cases = []
        else:
            self._prices(base)
        self._remarks(rate)
        for (when, ranges), prices in cases:
            put("[[rate.case]]")
            asked = [f"{n} = {_value(n, v)}" for n, v in when]
            asked += [f"{n} = {quoted(v)}" for n, v in ranges]
            put(f"when = {{ {', '.join(asked)} }}")
            self._prices(prices)
            self.lines += ages.case_lines(when, prices)
        for when, factor in rate.multipliers if "free = true" not in self.lines[-6:] else ():
            put("[[rate.case]]")
            put(f"when = {{ {', '.join(f'{n} = {_value(n, v)}' for n, v in when)} }}")
            if isinstance(factor, dict):
                factor = "{ " + ", ".join(f"{name} = {value}" for name, value in factor.items() if name in base) + " }"
            put(f"multiply = {factor}")
        put("")

    def _prices(self, prices: dict[str, Decimal]) -> None:
        for name in sorted(prices, key=component_order):
            self.lines.append(f"{name} = {plain(prices[name])}")

    def _remarks(self, rate: Entry) -> None:
        if any(BINARY_EDGES.keys() & set((f.raw["tier"] or {}).values()) for f in rate.agreeing):
            self.lines.append("k = [1000, 1024]")
        reviews = [f for f in rate.agreeing if "at least through" in f.condition]
        if reviews:
            self.lines += ["promotion = true", "review_by = 2026-11-21"]
        names = sources_of(rate)
        text = quoted(names[0]) if len(names) == 1 else "[" + ", ".join(map(quoted, names)) + "]"
        self.lines.append(f"source = {text}")
        self.lines.append(f'confidence = "{confidence_of(rate)}"')

    def _last(self, rate: Entry, ages: Ages, ends: str | None) -> str:
        last = max(day(rate.start or ""), ages.entry or "")
        return min(last, day(ends) if ends else self.as_of)
