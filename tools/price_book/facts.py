"""Turns the rows of the fact base into facts in the words the price book uses.

A fact keeps its place in the base, which is its name in the coverage report. What a source calls a kind, a condition
or a unit becomes a `Slot`: the component, its conditions, and its place in the context tiers. A fact that is no price
of a call (a subscription, a training fee, a converted figure) gets a reason here and never reaches the rates.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from tools.price_book.model_keys import key_of
from tools.price_book.vocabulary import NOT_A_RATE, NOT_AN_ID, ROUTES, components_of, conditions_of, family_of, rank_of

PRIMARY: Final = ("vendor_doc", "press", "news_seed")
_COMMIT_TIME: Final = re.compile(r"T\d\d:\d\d:(?!00)\d\d|T\d\d:(?!00|30)\d\d")

Tier = tuple[tuple[str, int], ...]
Conditions = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Slot:
    """What a price is for: a component under conditions, inside one tier."""

    component: str
    when: Conditions = ()
    tier: Tier = ()


@dataclass(slots=True)
class Fact:
    """One line of the fact base.

    `left_out` is the reason it is in no rate, `decided` the decisions that changed it; `used` is true once a rate
    carries it; `as_of` is the last day on which any source of the base was read, `reread` the last day of its own
    source, where that is noted, `delisted` the last day on which its source listed the model, where it does no more.
    """

    line: int
    provider: str
    model: str
    aliases: tuple[str, ...]
    currency: str
    slots: tuple[Slot, ...]
    price: Decimal
    kind: str
    condition: str
    effective: str | None
    until: str | None
    first: str | None
    last: str | None
    agree: int
    disagree: int
    source: str
    family: str
    primary: bool
    as_of: str
    raw: Mapping[str, Any] = field(repr=False)
    left_out: str | None = None
    used: bool = False
    forced: bool = False
    page: bool = False
    decided: tuple[str, ...] = ()
    reread: str | None = None
    delisted: str | None = None

    @property
    def start(self) -> str | None:
        """The first instant or day this price is known for."""
        return self.effective or self.first

    @property
    def rank(self) -> int:
        """How much it is trusted where two disagree."""
        return 100 if self.primary else rank_of(self.source)

    @property
    def vouched(self) -> bool:
        """Whether more than one catalog says it: what a zero needs to be a price."""
        return self.primary or self.forced or (self.agree > 0 and not self.question)

    @property
    def question(self) -> bool:
        """More sources disagree than agree, and none of them is official."""
        return not self.primary and not self.forced and self.disagree > self.agree


def _reason(raw: Mapping[str, Any]) -> str | None:
    if raw.get("converted"):
        return "converted from another currency by the source: not a list price"
    if raw["vendor"] == "industry":
        return "a press figure for no vendor"
    if reason := NOT_A_RATE.get(raw["kind"]):
        return reason
    if raw["model"].startswith("coding-plan"):
        return "a subscription, not a rate of calls"
    for pattern, reason in NOT_AN_ID.get(raw["vendor"], {}).items():
        if pattern.search(raw["model"]):
            return reason
    return None


#: Edges read in K of 1024: the book keeps what vendors print, K of 1000, and flags the calls between the two.
BINARY_EDGES: Final = {n * 1024: n * 1000 for n in (4, 8, 16, 32, 64, 128, 200, 256, 512, 1000)} | {
    8193: 8_000,
    32769: 32_000,
    202752: 200_000,
    252000: 256_000,
    1048576: 1_000_000,
}
#: OpenAI's models sold by others print no edge for their long context: it is OpenAI's own.
LONG_CONTEXT: Final = 272_000


def _tier(raw: Mapping[str, int] | None, long: bool) -> Tier:
    """Edges in one form: (name, edge) with `_lt` and `_ge` kept, since exactly on the edge they differ."""
    tier = {name: BINARY_EDGES.get(edge, edge) for name, edge in (raw or {}).items()}
    if long:
        tier["input_tokens_gt"] = LONG_CONTEXT
    # 199,999 in a catalog's "greater than" is its own way to say "at least 200,000".
    for below, edge in (("input_tokens_gt", "input_tokens_ge"), ("input_tokens_le", "input_tokens_lt")):
        if tier.get(below) == 199_999:
            tier[edge] = tier.pop(below) + 1
    return tuple(sorted(tier.items()))


def _when(raw: Mapping[str, Any]) -> str | None:
    """The official start; a time with odd minutes is a commit's, not a vendor's."""
    at = raw.get("effective_from_utc") or raw["effective_from"]
    if at is None or (_COMMIT_TIME.search(at) and raw["source_kind"] not in PRIMARY):
        return None
    return _instant(at)


def _instant(at: str) -> str:
    return at.replace("+00:00", "Z")


#: One list writes a tier into the model's name: "Grok 4 >128k" is grok-4-128k, "Grok 4 ≤128k" grok-4.
_LABELLED: Final = re.compile(r"([>≤])\s?(\d+)k", re.IGNORECASE)


def _unlabel(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    label = next((m for a in raw.get("aliases") or () if (m := _LABELLED.search(a))), None)
    if label is None or raw["tier"] or not raw["source"].startswith("simonw/"):
        return raw
    edge = {f"input_tokens_{'gt' if label[1] == '>' else 'le'}": int(label[2]) * 1000}
    return {**raw, "model": re.sub(r"-\d+k$", "", raw["model"]), "tier": edge, "aliases": None}


#: How Bedrock's ids begin that are served in the regions of a geography.
GEOGRAPHY: Final = ("us.", "eu.", "au.", "jp.", "apac.", "ca.", "us-gov.")


def _apart(raw: Mapping[str, Any], geo_sold: frozenset[str]) -> list[Mapping[str, Any]]:
    """One row that prices several ids differently, as a row for each.

    A tuned OpenAI id is its base model, tuned. A region or kind of deployment before a cloud's id is a condition. On
    Bedrock a catalog lists the regional ids as aliases of one row with a regional price beside the global one: each
    regional id gets the regional price, the others the global.
    """
    if raw["vendor"] == "openai" and raw["model"].startswith("ft:"):
        return [{**raw, "model": raw["model"][3:].rstrip(":-"), "aliases": None, "condition": _and(raw, "tuned=true")}]
    if route := next((m for pattern in ROUTES.get(raw["vendor"], ()) if (m := pattern.match(raw["model"]))), None):
        said = ";".join(f"{name}={value}" for name, value in route.groupdict().items() if value)
        raw = {**raw, "model": raw["model"][route.end() :], "aliases": None}
        raw = {**raw, "condition": _and(raw, said)} if said else raw
    if raw["vendor"] != "aws-bedrock" or raw["model"] not in geo_sold:
        return [raw]
    names = raw.get("aliases") or []
    if "channel=geo" not in (raw["condition"] or ""):
        return [{**raw, "aliases": [a for a in names if not a.removeprefix("bedrock/").startswith(GEOGRAPHY)]}]
    rest = ";".join(p for p in raw["condition"].split(";") if p != "channel=geo") or None
    regional = [a for a in names if a.startswith(GEOGRAPHY)]
    return [{**raw, "model": name, "aliases": None, "condition": rest} for name in regional] or [raw]


def _and(raw: Mapping[str, Any], condition: str) -> str:
    return f"{raw['condition']};{condition}" if raw["condition"] else condition


def read_fact(line: int, raw: Mapping[str, Any], as_of: str) -> Fact:
    """One fact; whatever cannot be a rate carries its reason."""
    raw = _unlabel(raw)
    reason = _reason(raw)
    slots: tuple[Slot, ...] = ()
    price = Decimal(raw["price"])
    if reason is None:
        when = conditions_of(raw)
        if isinstance(when, str):
            reason = when
        else:
            found = components_of(raw, when)
            if isinstance(found, str):
                reason = found
            else:
                tier = _tier(raw["tier"], long=found[0][2].pop("context", "") == "long")
                slots = tuple(Slot(name, tuple(sorted(rest.items())), tier) for name, _, rest in found)
                price *= found[0][1]
    until = raw.get("effective_to_utc") or raw["effective_to"]
    return Fact(
        line=line,
        provider=raw["vendor"],
        model=raw["model"],
        aliases=tuple(a for a in raw.get("aliases") or () if a != raw["model"]),
        currency=raw["currency"],
        slots=slots,
        price=price,
        kind=raw["kind"],
        condition=raw["condition"] or "",
        effective=_when(raw),
        until=_instant(until) if until else None,
        first=(raw["observed_from"] or raw["source_date"] or "")[:10] or None,
        last=(raw.get("observed_to") or raw["source_date"] or raw["observed_from"] or "")[:10] or None,
        agree=raw.get("agree", 0),
        disagree=raw.get("disagree", 0),
        source=raw["source"],
        family=family_of(raw["source"]),
        primary=raw["source_kind"] in PRIMARY,
        as_of=as_of,
        raw=raw,
        left_out=reason,
    )


def read_facts(
    rows: Iterable[Mapping[str, Any]],
    reads: Mapping[str, str] | None = None,
    dropped: Mapping[tuple[str, str, str], str] | None = None,
) -> list[Fact]:
    """Every fact of the base, in order.

    `reads` are the last days of sources, by how their names begin; `dropped` those on which a source listed a model
    last, by source, vendor and the model's key.
    """
    reads = reads or {}
    numbered = list(enumerate(rows, 1))
    as_of = max((raw["source_date"] for _, raw in numbered if raw["source_date"]), default="")
    as_of = max([as_of, *reads.values()])
    geo_sold = frozenset(raw["model"] for _, raw in numbered if "channel=geo" in (raw["condition"] or ""))
    facts = [read_fact(number, part, as_of) for number, raw in numbered for part in _apart(raw, geo_sold)]
    for source, at in reads.items():
        for fact in facts:
            if fact.source.startswith(source):
                fact.reread = at
                key = source, fact.provider, key_of(fact.raw["model"], fact.provider)
                fact.delisted = dropped.get(key) if dropped else None
    return facts
