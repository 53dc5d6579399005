"""Compile the price book from the fact base: `python tools/book/compile.py ../shared/prices/facts.jsonl`.

Reads the facts, applies the committed decisions, tells each model's story, and writes `tokenmeter/catalog/prices/*.toml`.
The output is never edited by hand: a wrong price is a missing decision.
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parent))

from decisions import decide, load
from emit import Writer, gaps, moment, quoted
from facts import Fact, read_facts
from lay import Rate, rates_of
from names import Alias, Model, group
from timeline import TODAY, day

HERE: Final = Path(__file__).parent
OUT: Final = HERE.parents[1] / "tokenmeter" / "catalog" / "prices"


def last_seen(facts: Sequence[Fact]) -> dict[str, str]:
    """The last day each family of sources was read."""
    seen: dict[str, str] = defaultdict(lambda: "2023-01-01")
    for fact in facts:
        for at in (fact.raw["source_date"], fact.raw["observed_from"], fact.raw.get("observed_to")):
            if at:
                seen[fact.family] = min(max(seen[fact.family], day(at)), TODAY)
    return seen


def without_gaps(rates: list[Rate]) -> list[Rate]:
    """The entries, without prices that only long calls would have."""
    for rate in rates:
        for slot in gaps(rate):
            fact = rate.givers.pop(slot)
            del rate.prices[slot]
            for other in (fact, *rate.agreeing):
                if slot in other.slots:
                    other.used, other.left_out = False, "a tier without the tier below it"
    return [rate for rate in rates if rate.prices]


def compile_book(facts: Sequence[Fact]) -> dict[str, str]:
    """Every provider's price file, by id."""
    heads = tomllib.loads((HERE / "heads.toml").read_text(encoding="utf-8"))
    seen = last_seen(facts)
    by_provider: dict[str, list[Model]] = defaultdict(list)
    for model in group(facts):
        by_provider[model.provider].append(model)
    return {provider: text for provider, models in sorted(by_provider.items())
            if (text := provider_file(provider, models, heads.get(provider, {}), seen))}  # fmt: skip


def provider_file(provider: str, models: list[Model], head: dict[str, Any], seen: dict[str, str]) -> str:
    """One provider's file, or nothing if no rate survives."""
    currencies = Counter(model.currency for model in models for _ in model.facts)
    currency = head.get("currency") or currencies.most_common(1)[0][0]
    zone = head.get("timezone") or ("Asia/Shanghai" if currency == "CNY" else "UTC")
    writer = Writer(currency, seen)
    put = writer.lines.append
    put("# Compiled by tools/book/compile.py from the fact base and tools/book/decisions: do not edit by hand.")
    put(f'provider = {quoted(provider)}\ncurrency = "{currency}"\ntimezone = "{zone}"\nread = {TODAY}')
    put(f'match = ["case"]')
    if head.get("head"):
        put(head["head"].strip("\n"))
    put("")
    told = 0
    named: dict[str, tuple[str, Alias]] = {}
    for model in models:
        rates = without_gaps(rates_of(model))
        for rate, after in zip_longest(rates, rates[1:]):
            writer.rate(model, rate, after.start if after else None)
        told += len(rates)
        if rates:
            for alias in model.aliases:
                if alias.name.lower() != model.id.lower():
                    named.setdefault(alias.name, (model.id, alias))
    ids = {model.id.lower() for model in models}
    for name, (target, alias) in sorted(named.items()):
        if name.lower() not in ids:
            put(f"[[alias]]\nmodel = {quoted(name)}\nof = {quoted(target)}")
            if alias.start:
                put(f"from = {moment(alias.start)}")
            if alias.until:
                put(f"until = {moment(alias.until)}")
            put("")
    if head.get("tail"):
        put(head["tail"].strip("\n"))
    return "\n".join(writer.lines).rstrip("\n") + "\n" if told else ""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("facts", type=Path)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the book is not what the facts give")
    args = parser.parse_args(argv)
    facts = read_facts(args.facts)
    problems = decide(facts, load())
    if problems:
        print("\n".join(problems), file=sys.stderr)
        return 1
    book = compile_book(facts)
    stale = 0
    for provider, text in book.items():
        path = OUT / f"{provider}.toml"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale += 1
            if not args.check:
                path.write_text(text, encoding="utf-8")
    for path in OUT.glob("*.toml"):
        if path.stem not in book:
            stale += 1
            if not args.check:
                path.unlink()
    if args.check and stale:
        print(f"{stale} price files are not what the facts give: run tools/book/compile.py", file=sys.stderr)
        return 1
    reasons = Counter("used" if f.used else f.left_out or "left without a word" for f in facts)
    for reason, count in reasons.most_common():
        print(f"{count:6} {reason}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
