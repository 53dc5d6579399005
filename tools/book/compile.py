"""Compile the price book from the fact base: `python tools/book/compile.py ../shared/prices/facts.jsonl`.

Reads the facts, applies the committed decisions, tells each model's story, and writes
`tokenmeter/prices/data/*.toml`. The output is never edited by hand: a wrong price is a
missing decision.
"""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parent))

from cards import TODAY, day
from cases import ListCase, load_cases
from decisions import decide, load, noted
from emit import Writer, gaps, moment
from facts import Fact, read_fact, read_facts
from lay import rates_of
from names import Alias, Model, group
from plans import plan_lines
from rates import Rate
from text import quoted

HERE: Final = Path(__file__).parent
OUT: Final = HERE.parents[1] / "tokenmeter" / "prices" / "data"


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
    rules, _ = load_cases(facts)
    others: dict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        others[fact.provider].append(fact)
    book: dict[str, str] = {}
    for provider in sorted(others):
        told = by_provider.get(provider, []), others[provider], rules.get(provider, [])
        if text := provider_file(provider, *told, heads.get(provider, {}), seen):
            book[provider] = text
    return book


def provider_file(
    provider: str,
    models: list[Model],
    facts: list[Fact],
    rules: list[ListCase],
    head: dict[str, Any],
    seen: dict[str, str],
) -> str:
    """One provider's file, or nothing if no rate survives."""
    currencies = Counter(fact.currency for fact in facts if not fact.raw.get("converted"))
    if not currencies:
        return ""
    currency = head.get("currency") or currencies.most_common(1)[0][0]
    zone = head.get("timezone") or ("Asia/Shanghai" if currency == "CNY" else "UTC")
    writer = Writer(currency, seen)
    put = writer.lines.append
    put("# Compiled by tools/book/compile.py from the fact base and tools/book/decisions: do not edit by hand.")
    put(f'provider = {quoted(provider)}\ncurrency = "{currency}"\ntimezone = "{zone}"\nread = {TODAY}')
    put('match = ["case", "dots", "spaces"]')
    if head.get("head"):
        put(head["head"].strip("\n"))
    put("")
    for form in head.get("forms", []):
        put(f"[[form]]\nname = {quoted(form)}\n" + ("params = { tuned = true }\n" if form.startswith("ft:") else ""))
    told = len(writer.lines)
    named: dict[str, tuple[str, Alias]] = {}
    for model in models:
        rates = without_gaps(rates_of(model))
        for rule in rules:
            rule.apply(model, rates)
        for rate, after in zip_longest(rates, rates[1:]):
            writer.rate(model, rate, after.start if after else None)
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
    writer.lines += plan_lines(facts, currency)
    return "\n".join(writer.lines).rstrip("\n") + "\n" if len(writer.lines) > told else ""


def coverage(facts: Sequence[Fact]) -> dict[str, dict[str, Any]]:
    """What became of every fact of a compiled book, by provider: used, or the reason it is left out."""
    fate: dict[int, Fact] = {}
    for fact in facts:  # a fact told of several models is used if one of them uses it; line 0 is no line of the base
        if fact.line == 0:
            continue
        if fact.line not in fate or fact.used:
            fate[fact.line] = fact
    answer: dict[str, dict[str, Any]] = {}
    for line in sorted(fate):
        fact = fate[line]
        told = answer.setdefault(fact.provider, {"facts": 0, "used": 0, "left_out": Counter()})
        told["facts"] += 1
        if fact.used:
            told["used"] += 1
        else:
            told["left_out"][fact.left_out or "left without a word"] += 1
    return {
        provider: {**told, "left_out": dict(sorted(told["left_out"].items(), key=lambda item: (-item[1], item[0])))}
        for provider, told in sorted(answer.items())
    }


def summary(book: dict[str, str], covered: dict[str, dict[str, Any]]) -> str:
    """The figures of a book, for people."""
    lines = ["provider               list  models  rates   facts    used"]
    totals: Counter[str] = Counter()
    for provider, told in covered.items():
        text: dict[str, Any] = tomllib.loads(book[provider]) if provider in book else {"currency": "-"}
        models: dict[str, set[str]] = defaultdict(set)
        for rate in text.get("rate", []):
            models[rate.get("currency", text["currency"])].add(rate["model"])
        for number, currency in enumerate(sorted(models) or ["-"]):
            rates = sum(r.get("currency", text["currency"]) == currency for r in text.get("rate", []))
            shown = f"{told['facts']:>8}{told['used']:>8}" if not number else ""
            lines.append(f"{provider:22} {currency:4} {len(models[currency]):>7}{rates:>7}{shown}")
            totals[f"models {currency}"] += len(models[currency])
            totals["rates"] += rates
        totals["facts"] += told["facts"]
        totals["used"] += told["used"]
        for reason, count in told["left_out"].items():
            totals[f"left out: {reason}"] += count
    counts = [f"{count:7} {name}" for name, count in totals.items() if not name.startswith("left out")]
    reasons = [f"{count:7} {name}" for name, count in totals.most_common() if name.startswith("left out")]
    return "\n".join([*lines, "", *counts, *reasons])


def main(argv: Sequence[str] | None = None) -> int:
    """Compile, or with `--check` and `--coverage` only look."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("facts", type=Path)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail if the book is not what the facts give"
    )
    parser.add_argument(
        "--coverage", action="store_true", help="write nothing; print what became of every fact, as JSON"
    )
    args = parser.parse_args(argv)
    facts = read_facts(args.facts) + [read_fact(0, row) for row in noted()]
    problems = decide(facts, load()) + load_cases(facts)[1]
    if problems:
        print("\n".join(problems), file=sys.stderr)
        return 1
    book = compile_book(facts)
    if args.coverage:
        print(json.dumps(coverage(facts), ensure_ascii=False, indent=1))
        return 0
    stale = write(book, dry=args.check)
    if args.check and stale:
        print(f"not what the facts give: {', '.join(stale)}; run tools/book/compile.py", file=sys.stderr)
        return 1
    print(summary(book, coverage(facts)))
    return 0


def write(book: dict[str, str], dry: bool) -> list[str]:
    """Bring the folder in line with the book; the files that differed."""
    differ = []
    for path in sorted({*OUT.glob("*.toml"), *(OUT / f"{provider}.toml" for provider in book)}):
        text = book.get(path.stem)
        if text == (path.read_text(encoding="utf-8") if path.exists() else None):
            continue
        differ.append(path.name)
        if not dry:
            path.unlink() if text is None else path.write_text(text, encoding="utf-8")
    return differ


if __name__ == "__main__":
    sys.exit(main())
