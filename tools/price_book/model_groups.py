"""Groups the facts of one model under one id, with its aliases.

Names that differ only in letter case, in `.` for `-`, or in a router's prefix are one model; the spelling most used is
its id and the others become aliases, written out. A dated name is a model of its own as soon as one fact prices it.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from tools.price_book.facts import Fact

_ROUTERS: Final = (
    "openai/", "anthropic/", "gemini/", "google/", "vertex_ai/", "xai/", "x-ai/", "mistral/", "mistralai/", "deepseek/",
    "deepseek/deepseek/", "azure/", "bedrock/", "dashscope/", "minimax/", "moonshot/", "zai/", "z-ai/", "cohere/",
    "groq/", "perplexity/", "fireworks_ai/", "tencent/", "ai21/", "cerebras/", "voyage/", "jina_ai/", "meta_llama/",
    "bedrock_mantle/", "volcengine/",
)  # fmt: skip
#: Sites where the owner's prefix is part of the id that is billed.
_OWNED: Final = frozenset(
    {
        "siliconflow",
        "groq",
        "fireworks",
        "infiniai",
        "ppio",
        "qiniu",
        "huaweicloud",
        "jdcloud",
        "moorethreads",
        "cerebras",
        "openrouter",
        "together",
        "deepinfra",
        "novita",
        "nebius",
        "sambanova",
        "baseten",
        "vercel",
        "cloudflare",
        "watsonx",
        "venice",
    }
)
_LABEL: Final = re.compile(r"[\s≤≥<>()（）]|新品")


def bare(name: str, provider: str) -> str:
    """The name without a router's prefix."""
    if provider in _OWNED:
        return name
    lower = name.lower()
    for prefix in sorted(_ROUTERS, key=len, reverse=True):
        if lower.startswith(prefix):
            return name[len(prefix) :]
    return name


def key_of(name: str, provider: str) -> str:
    """What two spellings of one model share."""
    return re.sub(r"[._\s]+", "-", bare(name, provider).lower()).strip("-")


@dataclass(frozen=True, slots=True)
class Alias:
    """Another name of a model, in force from an instant to another (None: no bound)."""

    name: str
    start: str | None
    until: str | None


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
    _leave_flat_snapshots(models)
    _merge_dated(models)
    for model in models.values():
        model.choose_id()
    _give_aliases(models)
    return sorted(models.values(), key=lambda m: (m.provider, m.currency, m.id.lower(), m.id))


_DATED: Final = re.compile(r"(.+?)-(\d{4}-\d{2}-\d{2}|\d{6}|\d{8}|\d{4})")


def _leave_flat_snapshots(models: dict[tuple[str, str, str], Model]) -> None:
    """A flat row of a snapshot never beats the tiers of the model that a source calls the same."""
    for place in sorted(models):
        match = _DATED.fullmatch(place[2])
        base = models.get((place[0], place[1], match[1])) if match else None
        if base is None or place[2] not in {key_of(a, place[0]) for f in base.facts for a in f.aliases}:
            continue
        flat = models[place].facts
        tiers = {(slot.component, fact.price) for fact in base.facts for slot in fact.slots if slot.tier}
        if tiers and all(
            not slot.tier and (slot.component, fact.price) in tiers for fact in flat for slot in fact.slots
        ):
            for fact in flat:
                fact.left_out = "one tier's price shown as flat"
            del models[place]


def _merge_dated(models: dict[tuple[str, str, str], Model]) -> None:
    """A dated id joins the undated one where a source calls them the same and neither ever had another price."""
    for place in sorted(models):
        dated = models[place]
        match = _DATED.fullmatch(place[2])
        base = models.get((place[0], place[1], match[1])) if match else None
        if base is None or place[2] not in {key_of(a, place[0]) for f in base.facts for a in f.aliases}:
            continue
        prices: dict[object, set[object]] = defaultdict(set)
        for fact in base.facts:
            for slot in fact.slots:
                prices[slot].add(fact.price)
        if all(len(known) == 1 for known in prices.values()) and all(
            fact.price in prices[slot] for fact in dated.facts for slot in fact.slots
        ):
            base.facts += dated.facts
            del models[place]


def _give_aliases(models: dict[tuple[str, str, str], Model]) -> None:
    claims: dict[tuple[str, str], set[str]] = defaultdict(set)
    named: dict[tuple[str, str, str], dict[str, list[Fact]]] = defaultdict(lambda: defaultdict(list))
    known = {(provider, key) for provider, _, key in models}
    for place, model in models.items():
        for fact in model.facts:
            for name in (fact.model, *fact.aliases):
                other = bare(name, place[0])
                target = key_of(other, place[0])
                if _LABEL.search(other) or (target != place[2] and ("/" in other or (place[0], target) in known)):
                    continue
                claims[place[0], other].add(place[2])
                named[place][other].append(fact)
    for place, model in models.items():
        for name in sorted(named[place], key=lambda n: (n.lower(), n)):
            if name == model.id or len(claims[place[0], name]) > 1:
                continue
            same = key_of(name, place[0]) == place[2]
            model.aliases.append(Alias(name, None, None) if same else _dated(name, named[place][name], model.facts))


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
