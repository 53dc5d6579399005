"""Writes `[[plan]]` entries: subscriptions, packs, grants, tuning, provisioned throughput.

They change the bill and not the list price of a call, so pricing never applies them: a call made under a plan names it,
and its list cost stands beside the name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from tools.price_book.facts import Fact
from tools.price_book.toml_text import plain, quoted, source_name

KINDS: Final = {
    "subscription": "subscription",
    "token_pack": "pack",
    "free_quota": "quota",
    "training": "training",
    "training_minimum": "training",
    "training_flat_fee": "training",
    "dedicated_compute": "provisioned",
    "provisioned_tpm": "provisioned",
    "account_multiplier": "discount",
}


def plan_lines(facts: Iterable[Fact], currency: str) -> list[str]:
    """The plan entries of one provider, each fact once."""
    lines: list[str] = []
    taken: set[str] = set()
    for fact in facts:
        kind = KINDS.get(fact.kind)
        if kind is None or fact.raw.get("converted"):
            continue
        lines += _plan(fact, kind, _name(fact, taken), currency)
        fact.used, fact.left_out = True, None
    return lines


def _name(fact: Fact, taken: set[str]) -> str:
    words = f"{fact.model} {fact.raw['unit'].removeprefix('per_')}" if fact.model != "*" else f"account {fact.kind}"
    name = base = re.sub(r"[^0-9a-z.]+", "-", words.lower()).strip("-") or "plan"
    number = 2
    while name in taken:
        name, number = f"{base}-{number}", number + 1
    taken.add(name)
    return name


def _plan(fact: Fact, kind: str, name: str, currency: str) -> list[str]:
    lines = ["[[plan]]", f"id = {quoted(name)}", f"kind = {quoted(kind)}"]
    if fact.model != "*":
        lines.append(f"of = {quoted(fact.model)}")
    if fact.currency != currency:
        lines.append(f"currency = {quoted(fact.currency)}")
    lines.append(f"{'multiply' if kind == 'discount' else 'price'} = {plain(fact.price)}")
    if kind != "discount":
        lines.append(f"per = {quoted(fact.raw['unit'].removeprefix('per_').replace('_', ' '))}")
    if "quantity" in fact.raw:
        lines.append(f"quantity = {fact.raw['quantity']}")
    if fact.condition:
        lines.append(f"note = {quoted(fact.condition)}")
    if fact.first:
        lines.append(f"observed = [{fact.first}, {max(fact.first, fact.last or fact.first)}]")
    lines.append(f"source = {quoted(source_name(fact.source))}")
    lines.append(f"confidence = {quoted('official' if fact.primary else 'single-source')}")
    return [*lines, ""]
