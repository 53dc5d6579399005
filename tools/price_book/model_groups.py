"""Groups the facts of one model under one id, with its aliases.

Names that differ only in letter case, in `.` for `-`, or in a router's prefix are one model; the spelling most used is
its id and the others become aliases, written out. A dated name that a source calls the same as the undated one shares
its facts up to the day on which their prices part; any other is a model of its own as soon as a fact prices it, and an
alias until then.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from tools.price_book.facts import Fact
from tools.price_book.model_keys import bare, key_of

_LABEL: Final = re.compile(r"[\s≤≥<>()（）]|新品")


@dataclass(frozen=True, slots=True)
class Alias:
    """Another name of a model, in force from an instant to another (None: no bound); `seen` is its first day."""

    name: str
    start: str | None
    until: str | None
    seen: str = ""

    def joined(self, other: Alias) -> Alias:
        """The same name of the same model in two lists: in force where it is in one of them."""
        start = min(self.start, other.start) if self.start and other.start else None
        until = max(self.until, other.until) if self.until and other.until else None
        return Alias(self.name, start, until, min(self.seen, other.seen))


class Model:
    """The facts of one model on one list."""

    def __init__(self, provider: str, currency: str, key: str) -> None:
        self.provider, self.currency, self.key = provider, currency, key
        self.facts: list[Fact] = []
        self.id = key
        self.aliases: list[Alias] = []

    def choose_id(self) -> None:
        """The most used spelling; among equals the one without spaces, in lower case."""
        spellings = Counter(
            name for fact in self.facts if key_of(name := bare(fact.model, self.provider), self.provider) == self.key
        )
        self.id = min(
            spellings, key=lambda name: (bool(_LABEL.search(name)), -spellings[name], name.lower() != name, name)
        )


def group(facts: Iterable[Fact]) -> list[Model]:
    """Models with their facts and aliases, by provider, list and id."""
    models: dict[tuple[str, str, str], Model] = {}
    for fact in facts:
        if fact.left_out is not None or not fact.slots:
            continue
        place = (fact.provider, fact.currency, key_of(fact.model, fact.provider))
        models.setdefault(place, Model(*place)).facts.append(fact)
    _join_snapshots(models)
    for model in models.values():
        model.choose_id()
    _give_aliases(models)
    return sorted(models.values(), key=lambda m: (m.provider, m.currency, m.id.lower(), m.id))


_DATED: Final = re.compile(r"(.+?)-(\d{4}-\d{2}-\d{2}|\d{6}|\d{8}|\d{4})")


def _join_snapshots(models: dict[tuple[str, str, str], Model]) -> None:
    """Give the undated model the facts of a snapshot that a source calls the same, up to the day their prices part.

    A source must have said so no later than the snapshot had a price of its own. What the snapshot cost when the two
    parted, it goes on to cost.
    """
    for place in sorted(models):
        match = _DATED.fullmatch(place[2])
        base = models.get((place[0], place[1], match[1])) if match else None
        dated = models[place]
        if base is None:
            continue
        named = [_seen(f) for f in base.facts if place[2] in {key_of(a, place[0]) for a in f.aliases}]
        begin = min(_seen(fact) for fact in dated.facts)
        apart = _part(base.facts, dated.facts)
        if not named or min(named) > begin or (apart is not None and apart <= begin):
            continue
        base.facts += [fact for fact in dated.facts if apart is None or _seen(fact) < apart]
        if apart is None:
            del models[place]
        else:
            dated.facts = [
                fact if _seen(fact) >= apart else replace(fact, effective=None, first=apart)
                for fact in dated.facts
                if _seen(fact) >= apart or _lasts(fact, apart)
            ]


def _part(ones: Iterable[Fact], others: Sequence[Fact]) -> str | None:
    """The first day on which two lists of facts have another price of one thing."""
    days = [
        max(_seen(one), _seen(two))
        for one in ones
        for two in others
        if one.price != two.price and set(one.slots) & set(two.slots)
    ]
    return min(days, default=None)


def _lasts(fact: Fact, at: str) -> bool:
    ended = fact.until or fact.raw.get("observed_to")
    return ended is None or ended > at


def _seen(fact: Fact) -> str:
    """The first day from which a fact speaks."""
    return (fact.start or fact.raw["source_date"] or "")[:10]


def _give_aliases(models: dict[tuple[str, str, str], Model]) -> None:
    """Give each model its other names. A name that two models claim means neither, from the later claim on.

    A model of that very name is such a claim: it answers to its own name from its first price on.
    """
    claims: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    named: dict[tuple[str, str, str], dict[str, list[Fact]]] = defaultdict(lambda: defaultdict(list))
    for place, model in models.items():
        for fact in model.facts:
            for name in (fact.model, *fact.aliases):
                other = bare(name, place[0])
                target = key_of(other, place[0])
                if _LABEL.search(other) or (target != place[2] and "/" in other):
                    continue
                for known in (claims[place[0], other], claims[place[0], target]):
                    known[place[2]] = min(known.get(place[2], "9"), _seen(fact))
                named[place][other].append(fact)
    for place, model in models.items():
        for name in sorted(named[place], key=lambda n: (n.lower(), n)):
            if name == model.id:
                continue
            key = key_of(name, place[0])
            others = {**claims[place[0], name], **(claims[place[0], key] if key != place[2] else {})}
            own = others.pop(place[2], "")
            rival = min(others.values(), default=None)
            if rival is not None and rival <= own:
                continue
            alias = Alias(name, None, None) if key == place[2] else _dated(name, named[place][name], model.facts)
            until = min(alias.until or rival, rival) if rival is not None else alias.until
            model.aliases.append(replace(alias, until=until, seen=own))


def _dated(name: str, facts: list[Fact], around: list[Fact]) -> Alias:
    """An alias holds while some fact says so; official dates bound it, a catalog's first day does not.

    A catalog that takes the model off its list does not end the alias; one that puts another alias in its place does.
    """
    starts = {f.effective for f in facts}
    ends: set[str | None] = set()
    for fact in facts:
        end = fact.raw.get("observed_to")
        replaced = any(f.family == fact.family and f.first == end and name not in (f.model, *f.aliases) for f in around)
        ends.add(fact.until or (end if replaced else None))
    begin = None if None in starts else min(s for s in starts if s)
    return Alias(name, begin, None if None in ends else max(e for e in ends if e))
