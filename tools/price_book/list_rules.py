"""Rules a vendor states once for a whole list: batch at half price, a region's surcharge, the cache's share of input.

`[[case]]` entries of `decisions/<provider>.toml` turn such a fact into cases of the entries it is about:

    where      the facts that say it (as in a decision); they are used by every entry that carries the case
    models     ids, or `has` (a part of the id) and `not_has`; absent: all
    needs      components an entry must price
    since      entries that ended before this day are left alone
    when       the condition
    multiply   a number, or one per component
    shares     the price as a share of input, per component: written out as prices, tier by tier
    of         with `multiply`: the factor is on the prices under this condition, and they are written out
    plain      the same for the price without the condition, where the list shows the conditional one
    add        instead of a case: prices of components the entries lack
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from tools.price_book.decisions import FOLDER, Decision
from tools.price_book.entries import Entry
from tools.price_book.facts import Conditions, Fact, Slot, Tier
from tools.price_book.model_groups import Model
from tools.price_book.model_keys import key_of


@dataclass(frozen=True)
class ListRule:
    """One rule of a list, and the facts that state it."""

    entry: Mapping[str, Any]
    facts: tuple[Fact, ...]

    def apply(self, model: Model, rates: Sequence[Entry]) -> None:
        """Give the case to the model's entries it is about."""
        if self.entry.get("currency", model.currency) != model.currency or not self.names(model):
            return
        for number, rate in enumerate(rates):
            ends = rates[number + 1].start if number + 1 < len(rates) else None
            if ends and ends <= self.entry.get("since", ""):
                continue
            plain = {s.component for s in rate.prices if not s.when}
            if not set(self.entry.get("needs", ("input",))) <= plain or not any(rate.prices.values()):
                continue
            if self._give(rate):
                rate.agreeing += [f for f in self.facts if f not in rate.agreeing]
                for fact in self.facts:
                    fact.used, fact.left_out = True, None

    @property
    def when(self) -> Conditions:
        """The condition of its case; empty for a rule about plain prices."""
        return tuple(sorted((name, str(value).lower()) for name, value in self.entry.get("when", {}).items()))

    @property
    def components(self) -> tuple[str, ...]:
        """The components whose plain price it gives to entries that lack it."""
        return (*self.entry.get("add", ()), *(() if self.when else self.entry.get("shares", ())))

    def names(self, model: Model) -> bool:
        """Whether it is about this model."""
        known = [key_of(name, model.provider) for name in self.entry.get("models", ())]
        if known:
            return model.key in known
        unlike = self.entry.get("not_has", ())
        return self.entry.get("has", "") in model.key and not any(part in model.key for part in unlike)

    def _give(self, rate: Entry) -> bool:
        if "add" in self.entry:
            return self._add(rate)
        when = self.when
        if "of" in self.entry:
            return self._of_case(rate, when)
        if "plain" not in self.entry and "shares" in self.entry:
            return self._of_input(rate, when)
        if any(set(when) <= set(slot.when) for slot in rate.prices):
            return "multiply" in self.entry and self._complete(rate, when)
        if "multiply" in self.entry:
            rate.multipliers.append((when, self.entry["multiply"]))
            return True
        return self._share(rate, when)

    def _complete(self, rate: Entry, when: Conditions) -> bool:
        """Give a printed case the components that the rule names and the case lacks."""
        factors = self.entry["multiply"]
        printed = {slot.component for slot in rate.prices if slot.when == when}
        if not printed or not isinstance(factors, dict):
            return False
        lacking = [s for s in rate.prices if not s.when and s.component in factors and s.component not in printed]
        for slot in lacking:
            rate.prices[replace(slot, when=when)] = rate.prices[slot] * Decimal(str(factors[slot.component]))
            rate.givers[replace(slot, when=when)] = self.facts[0]
        return bool(lacking)

    def _add(self, rate: Entry) -> bool:
        lacking = {n: p for n, p in self.entry["add"].items() if not any(s.component == n for s in rate.prices)}
        for name, price in lacking.items():
            rate.prices[Slot(name)] = Decimal(price)
            rate.givers[Slot(name)] = self.facts[0]
        return bool(lacking)

    def _of_case(self, rate: Entry, when: Conditions) -> bool:
        """Write out what two conditions at once cost: the prices under one of them, times the factor."""
        known = tuple(sorted((name, str(value).lower()) for name, value in self.entry["of"].items()))
        lacking = {s: p for s, p in rate.prices.items() if s.when == known and replace(s, when=when) not in rate.prices}
        for slot, price in lacking.items():
            rate.prices[replace(slot, when=when)] = price * Decimal(str(self.entry["multiply"]))
            rate.givers[replace(slot, when=when)] = self.facts[0]
        return bool(lacking)

    def _of_input(self, rate: Entry, when: Conditions) -> bool:
        inputs = {s.tier: p for s, p in rate.prices.items() if s.component == "input" and s.when == when}
        lacking = [n for n in self.entry["shares"] if not any(s.component == n and s.when == when for s in rate.prices)]
        for name in lacking:
            for tier, price in inputs.items():
                rate.prices[Slot(name, when, tier)] = price * Decimal(self.entry["shares"][name])
                rate.givers[Slot(name, when, tier)] = self.facts[0]
        return bool(lacking and inputs)

    def _share(self, rate: Entry, when: Conditions) -> bool:
        inputs = {s.tier: p for s, p in rate.prices.items() if s.component == "input" and not s.when}
        shown = {s: p for s, p in rate.prices.items() if s.component == "cache_read" and not s.when}
        begins = {_lower(tier): tier for tier in inputs}  # a source may say where the last tier ends for one of the two
        shown = {replace(s, tier=begins.get(_lower(s.tier), s.tier)): p for s, p in shown.items()}
        if set(inputs) != {s.tier for s in shown}:
            return False
        ratios = {p / inputs[s.tier] for s, p in shown.items()}
        plain, shares = self.entry["plain"], self.entry["shares"]
        if len(ratios) != 1 or not ratios <= {Decimal(plain["cache_read"]), Decimal(shares["cache_read"])}:
            return False
        for tier, price in inputs.items():
            for name, share in plain.items():
                rate.prices[Slot(name, (), tier)] = price * Decimal(share)
            for name, share in shares.items():
                slot = Slot(name, when, tier)
                rate.prices[slot] = price * Decimal(share)
                rate.givers[slot] = self.facts[0]
        for slot in [s for s in rate.prices if s.component in shares and s.component not in plain and not s.when]:
            rate.agreeing.append(rate.givers.pop(slot))
            del rate.prices[slot]
        return True


def _lower(tier: Tier) -> Tier:
    """Where a tier begins, whatever its end is."""
    return tuple((name, edge) for name, edge in tier if name.endswith(("_gt", "_ge")))


def load_list_rules(facts: Sequence[Fact]) -> tuple[dict[str, list[ListRule]], list[str]]:
    """Every list rule by provider, with its facts; and the rules no fact states."""
    answer: dict[str, list[ListRule]] = {}
    problems: list[str] = []
    for path in sorted(FOLDER.glob("*.toml")):
        for entry in tomllib.loads(path.read_text(encoding="utf-8")).get("case", []):
            asks = Decision(path.stem, entry["question"], entry["answer"], entry["reason"], entry["where"], {})
            stating = tuple(fact for fact in facts if asks.covers(fact))
            if not stating:
                problems.append(f"decisions/{path.stem}.toml: no fact states {entry['answer']!r}")
            answer.setdefault(path.stem, []).append(ListRule(entry, stating))
    return answer, problems
