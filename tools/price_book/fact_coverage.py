"""Reports what became of every fact: in a rate or a plan, or left out with a reason; as data and as a table."""

from __future__ import annotations

import tomllib
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from tools.price_book.facts import Fact


def coverage(facts: Sequence[Fact]) -> dict[str, dict[str, Any]]:
    """What became of every fact, by provider: used, or the reason it is left out."""
    fate: dict[int, Fact] = {}
    for fact in facts:  # a fact copied to several models is used if one of them uses it
        if fact.line not in fate or fact.used:
            fate[fact.line] = fact
    answer: dict[str, dict[str, Any]] = {}
    for line in sorted(fate):
        fact = fate[line]
        counts = answer.setdefault(fact.provider, {"facts": 0, "used": 0, "left_out": Counter()})
        counts["facts"] += 1
        if fact.used:
            counts["used"] += 1
        else:
            counts["left_out"][fact.left_out or "left without a word"] += 1
    return {
        provider: {**counts, "left_out": dict(sorted(counts["left_out"].items(), key=lambda item: (-item[1], item[0])))}
        for provider, counts in sorted(answer.items())
    }


def summary(book: dict[str, str], covered: dict[str, dict[str, Any]]) -> str:
    """The figures of a book, for people."""
    lines = ["provider               list  models  rates   facts    used"]
    totals: Counter[str] = Counter()
    for provider, counts in covered.items():
        text: dict[str, Any] = tomllib.loads(book[provider]) if provider in book else {"currency": "-"}
        models: dict[str, set[str]] = defaultdict(set)
        for rate in text.get("rate", []):
            models[rate.get("currency", text["currency"])].add(rate["model"])
        for number, currency in enumerate(sorted(models) or ["-"]):
            rates = sum(r.get("currency", text["currency"]) == currency for r in text.get("rate", []))
            shown = f"{counts['facts']:>8}{counts['used']:>8}" if not number else ""
            lines.append(f"{provider:22} {currency:4} {len(models[currency]):>7}{rates:>7}{shown}")
            totals[f"models {currency}"] += len(models[currency])
            totals["rates"] += rates
        totals["facts"] += counts["facts"]
        totals["used"] += counts["used"]
        for reason, count in counts["left_out"].items():
            totals[f"left out: {reason}"] += count
    figures = [f"{count:7} {name}" for name, count in totals.items() if not name.startswith("left out")]
    reasons = [f"{count:7} {name}" for name, count in totals.most_common() if name.startswith("left out")]
    return "\n".join([*lines, "", *figures, *reasons])


def unused(facts: Sequence[Fact]) -> list[str]:
    """Every fact that no rate or plan carries, a line each, with the reason."""
    used = {fact.line for fact in facts if fact.used}
    return [
        f"{fact.provider}/{fact.model} {fact.kind} {fact.price} {fact.currency} ({fact.source}): "
        f"{fact.left_out or 'left without a word'}"
        for fact in facts
        if fact.line not in used
    ]
