"""Reads and applies the committed decisions about questions that the facts leave open.

`decisions/<provider>.toml` holds `[[decision]]` entries: the question, the answer, the reason, which facts it is about
(`where`) and what becomes of them (`then`). A decision that matches no fact is an error: it has outlived its question.

`where` compares fields of a fact with a value or a list of values (`first`, `effective` and `until` also as
"< 2025-01-01"); `then` may `drop` facts, `keep` them against a majority, take them as `official`, rename the `model`,
set `effective`, `until`, `first`, the conditions (`when`), the `component`, the `tier` or its `edge`, make the edge
`inclusive`, `multiply` the price, or give the same price to other models `also`. `surcharge` multiplies a price only
where it is that of the model without the surcharge, `over` (`global.{model}`): a catalog that copied the plain price.

`decided` is the day on which the decisions of a file were made, or one of them: what they say of dates holds for facts
that were read by then, so that a later reading speaks for its own days.
"""

from __future__ import annotations

import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from tools.price_book.facts import GEOGRAPHY, Fact, Slot
from tools.price_book.model_keys import key_of

FOLDER: Final = Path(__file__).parent / "decisions"


_DATES: Final = frozenset({"effective", "until", "first", "last"})


@dataclass(frozen=True)
class Decision:
    """One question about some facts, with its answer."""

    provider: str
    question: str
    answer: str
    reason: str
    where: Mapping[str, Any]
    then: Mapping[str, Any]
    decided: str = ""

    def covers(self, fact: Fact) -> bool:
        """Whether the question is about this fact."""
        read = fact.raw["source_date"] or ""
        if self.decided and read > self.decided and not _DATES.isdisjoint(self.then):
            return False
        return fact.provider == self.provider and all(_matches(fact, name, want) for name, want in self.where.items())

    def apply(self, fact: Fact) -> None:
        """Change the fact as the answer says."""
        fact.decided += (f"{self.question} {self.answer}",)
        for name, value in self.then.items():
            if name == "drop":
                fact.left_out = f"decided: {self.question} {self.answer}"
            elif name == "keep":
                fact.forced = True
            elif name in ("model", "effective", "until", "first", "last"):
                setattr(fact, name, str(value) or None)
            elif name == "official":
                fact.primary = True
            elif name == "when":
                when = tuple(sorted((k, str(v).lower()) for k, v in value.items()))
                fact.slots = tuple(replace(slot, when=when) for slot in fact.slots)
            elif name == "tier":
                tier = tuple(sorted(value.items()))
                fact.slots = tuple(replace(slot, tier=tier) for slot in fact.slots)
            elif name == "inclusive":
                swap = {"input_tokens_gt": "input_tokens_ge", "input_tokens_le": "input_tokens_lt"}
                tiers = {slot.tier: tuple(sorted((swap.get(n, n), e) for n, e in slot.tier)) for slot in fact.slots}
                fact.slots = tuple(replace(slot, tier=tiers[slot.tier]) for slot in fact.slots)
            elif name == "edge":
                fact.slots = tuple(replace(slot, tier=tuple((n, value) for n, _ in slot.tier)) for slot in fact.slots)
            elif name == "component":
                fact.slots = tuple(replace(slot, component=value) for slot in fact.slots)
            elif name == "aliases":
                fact.aliases = tuple(value)
            elif name in ("multiply", "surcharge"):
                fact.price *= Decimal(value)
            elif name in ("also", "over"):
                pass  # the fact holds for other models too, or is compared with them: `decide` does it
            else:
                raise ValueError(f"decisions/{self.provider}.toml: {name!r} is not something a decision can do")


def _matches(fact: Fact, name: str, want: Any) -> bool:
    if name == "model":
        wanted = want if isinstance(want, list) else [want]
        return key_of(fact.model, fact.provider) in {key_of(w, fact.provider) for w in wanted}
    if name == "component":
        return any(slot.component == want for slot in fact.slots)
    if name == "edge":
        return any(edge == want for slot in fact.slots for _, edge in slot.tier)
    if name == "flat":
        return all(not slot.tier for slot in fact.slots) is want
    if name == "question":
        return fact.question is want
    if name == "plain":
        return all(not slot.when for slot in fact.slots) is want
    if name == "condition_lacks":
        return want not in fact.condition
    if name == "model_has":
        return want in key_of(fact.model, fact.provider)
    if name == "model_lacks":
        return not any(part in fact.model for part in want)
    if name == "not_model":
        return key_of(fact.model, fact.provider) not in {key_of(w, fact.provider) for w in want}
    value: Any = getattr(fact, name)
    if name == "price":
        return str(value) in [str(w) for w in (want if isinstance(want, list) else [want])]
    if isinstance(want, list):
        return value in want
    if isinstance(want, str) and want[:2] in ("< ", ">="):
        return value is not None and ((value < want[2:].strip()) if want[0] == "<" else (value >= want[2:].strip()))
    return bool(value == want)


def load() -> dict[str, list[Decision]]:
    """Every decision, by provider."""
    answer: dict[str, list[Decision]] = {}
    for path in sorted(FOLDER.glob("*.toml")):
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        for entry in table.get("decision", []):
            known: dict[str, Any] = {name: entry[name] for name in ("question", "answer", "reason", "where", "then")}
            decided = str(entry.get("decided", table.get("decided", "")))
            answer.setdefault(path.stem, []).append(Decision(path.stem, **known, decided=decided))
    return answer


def decide(facts: list[Fact], decisions: Mapping[str, Iterable[Decision]]) -> list[str]:
    """Apply every decision in order; the problems, a line each."""
    problems: list[str] = []
    by_provider: dict[str, list[Fact]] = {}
    for fact in facts:
        by_provider.setdefault(fact.provider, []).append(fact)
    for provider, entries in decisions.items():
        for decision in entries:
            matched = [f for f in by_provider.get(provider, ()) if f.left_out is None and decision.covers(f)]
            if "surcharge" in decision.then:
                matched = list(_without_surcharge(matched, by_provider[provider], decision.then))
            for fact in matched:
                decision.apply(fact)
                for name in decision.then.get("also", ()):
                    copy = replace(fact, model=name, aliases=())
                    facts.append(copy)
                    by_provider[provider].append(copy)
            if not matched:
                problems.append(f"decisions/{provider}.toml: no fact matches {decision.question!r}")
    return problems


def _without_surcharge(facts: Iterable[Fact], others: Iterable[Fact], then: Mapping[str, Any]) -> Iterator[Fact]:
    """Those of the facts that show the price of the plain model.

    A price that no source has for the plain model goes with the others of its own source and model.
    """
    plain: dict[tuple[str, Slot], set[Decimal]] = defaultdict(set)
    for fact in others:
        for slot in fact.slots if fact.left_out is None else ():
            plain[key_of(fact.model, fact.provider), slot].add(fact.price)
    verdicts: dict[tuple[str, str], list[tuple[Fact, bool | None]]] = defaultdict(list)
    for fact in facts:
        named = then["over"].format(model=fact.model.removeprefix(_geography(fact.model)))
        if key_of(named, fact.provider) != key_of(fact.model, fact.provider):
            known = {price for slot in fact.slots for price in plain[key_of(named, fact.provider), slot]}
            raised = fact.price / Decimal(then["surcharge"]) in known
            verdicts[fact.source, fact.model].append((fact, None if not known else fact.price in known and not raised))
    for its in verdicts.values():
        whole = any(verdict for _, verdict in its)
        yield from (fact for fact, verdict in its if verdict or (verdict is None and whole))


def _geography(model: str) -> str:
    return next((prefix for prefix in GEOGRAPHY if model.startswith(prefix)), "")
