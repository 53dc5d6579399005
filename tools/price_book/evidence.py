"""The evidence behind each price: every fact of a model, what it gave or confirmed, or the rule by which it lost.

A compilation collects it and `tokenmeter prices why` shows it. The wheels hold it packed, a file for each provider,
which nothing else reads; its tables are lists, since there are twenty thousand facts.
"""

from __future__ import annotations

import json
import zlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from tools.price_book.ages import last_seen, read_days
from tools.price_book.build_book import compile_book
from tools.price_book.decisions import decide, load
from tools.price_book.entries import Entry
from tools.price_book.fact_files import FOLDER, dropped_of, read_rows, reads_of
from tools.price_book.facts import Fact, Slot, read_facts
from tools.price_book.model_groups import Model
from tools.price_book.model_keys import bare, key_of
from tools.price_book.toml_text import plain

#: The columns of a fact: `source` is a number in the table of sources, `gives` and `agrees` are numbers of the model's
#: entries on its list, in the order of the price file; `lost` is the rule, null where the fact is used.
COLUMNS: Final = (
    "source", "read", "model", "what", "price", "currency", "from", "until", "first_seen", "last_seen", "gives",
    "agrees", "lost", "decided",
)  # fmt: skip


class Collector:
    """What a compilation says of its entries: who gave each price, and who agreed."""

    def __init__(self) -> None:
        self._ids: dict[tuple[str, str, str], str] = {}
        self._gives: dict[tuple[int, str], set[int]] = defaultdict(set)
        self._agrees: dict[tuple[int, str], set[int]] = defaultdict(set)
        self._facts: dict[str, dict[str, dict[int, Fact]]] = defaultdict(lambda: defaultdict(dict))

    def entries(self, model: Model, rates: Sequence[Entry]) -> None:
        """Take the finished entries of one model."""
        self._ids[model.provider, model.currency, model.key] = model.id
        facts = self._facts[model.provider][model.id]
        facts.update((id(fact), fact) for fact in model.facts)
        for number, rate in enumerate(rates):
            givers = {id(fact) for fact in rate.givers.values()}
            for fact in [*rate.givers.values(), *rate.agreeing]:
                facts[id(fact)] = fact
                of = self._gives if id(fact) in givers else self._agrees
                of[id(fact), model.id].add(number)

    def evidence(self, facts: Iterable[Fact]) -> dict[str, Any]:
        """The tables of every provider, once all is compiled."""
        base = list(facts)
        taken = {number for models in self._facts.values() for some in models.values() for number in some}
        for fact in base:
            if id(fact) not in taken:
                place = (fact.provider, fact.currency, key_of(fact.model, fact.provider))
                name = self._ids.get(place) or bare(fact.model, fact.provider)
                self._facts[fact.provider][name][id(fact)] = fact
        read = read_days(base)
        return {provider: self._tables(provider, read) for provider in sorted(self._facts)}

    def _tables(self, provider: str, read: dict[str, str]) -> dict[str, Any]:
        sources: dict[tuple[str, str, int], int] = {}
        models: dict[str, list[list[Any]]] = {}
        for name, facts in sorted(self._facts[provider].items()):
            rows = models[name] = []
            for fact in sorted(facts.values(), key=lambda one: (one.start or "", one.line, one.model)):
                source = sources.setdefault((fact.source, fact.family, fact.rank), len(sources))
                gives = sorted(self._gives[id(fact), name])
                agrees = sorted(self._agrees[id(fact), name] - set(gives))
                lost = None if fact.used or gives or agrees else fact.left_out or "left without a word"
                rows.append(
                    [
                        source, fact.raw["source_date"], fact.model, what(fact), plain(fact.price),
                        fact.currency, fact.effective, fact.until, fact.first, last_seen(fact, read), gives, agrees,
                        lost, list(fact.decided),
                    ]
                )  # fmt: skip
        return {"columns": COLUMNS, "sources": [list(source) for source in sources], "models": models}


def what(fact: Fact) -> str:
    """What a fact prices, in words: the book's where it is a rate, else its source's."""
    if fact.slots:
        return " and ".join(map(_slot, fact.slots))
    return " ".join(filter(None, (fact.kind, fact.raw.get("unit"), fact.condition)))


def _slot(slot: Slot) -> str:
    asked = [name if value == "true" else f"{name} {value}" for name, value in slot.when]
    asked += [f"{name} {edge}" for name, edge in slot.tier]
    return f"{slot.component} [{', '.join(asked)}]" if asked else slot.component


def compiled(facts: list[Fact]) -> dict[str, Any]:
    """The evidence of every provider, of decided facts."""
    collector = Collector()
    compile_book(facts, collector)
    return collector.evidence(facts)


def write_evidence(target: Path) -> list[Path]:
    """Write the checkout's evidence packed under `target/evidence`; returns what was written."""
    facts = read_facts(read_rows(FOLDER), reads_of(FOLDER), dropped_of(FOLDER))
    decide(facts, load())
    folder = target / "evidence"
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for provider, tables in compiled(facts).items():
        path = folder / f"{provider}.z"
        path.write_bytes(zlib.compress(json.dumps(tables, ensure_ascii=False, separators=(",", ":")).encode(), 9))
        written.append(path)
    return written
