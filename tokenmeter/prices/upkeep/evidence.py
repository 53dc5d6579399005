"""The evidence behind a price: every fact of its model, which one won at an instant, and by which rule the others lost.

A wheel holds it packed, one file for each provider, read by nothing else. A checkout holds the facts themselves, so
there the book's compiler, `tools/price_book`, is run in a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from tokenmeter.errors import CatalogError, ConfigurationError
from tokenmeter.prices.book import Book
from tokenmeter.prices.price_file import Rate, Validity

__all__ = ["JudgedFact", "Why", "why"]

CHECKOUT: Final = Path(__file__).parents[3]
COMPILER: Final = "tools.price_book"
ORDER: Final = ("won", "agrees", "lost", "other days")
"""Verdicts: the fact gave a price of the rate in force; said the same; was left out; or is about other days."""


@dataclass(frozen=True, slots=True)
class JudgedFact:
    """One fact and what became of it. `rule` says why it won or lost; days are ISO text, None where not known."""

    verdict: str
    rule: str
    what: str
    price: str
    currency: str
    source: str
    family: str
    model: str
    read: str | None
    starts: str | None
    until: str | None
    first_seen: str | None
    last_seen: str | None
    decided: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Why:
    """The rate in force of one model on one list, None where there is none, and every fact about the model there."""

    model: str
    list: str
    rate: Rate | None
    facts: tuple[JudgedFact, ...]


def why(book: Book, provider: str, model: str, instant: float) -> Iterator[Why]:
    """The evidence of a model (or a name of it) at an instant, for each list that prices it.

    Raises ConfigurationError for a provider or model without facts, or where no evidence was shipped.
    """
    prices = book.provider_prices(provider)
    if isinstance(prices, str):
        raise ConfigurationError(prices)
    tables = _tables(book, prices.provider)
    match = prices.names.find(model, instant, Validity())
    name = model if match is None else match.model
    known = tables.get("models", {})
    rows = [dict(zip(tables["columns"], row, strict=True)) for row in known.get(name, ())]
    lists = {rate_list: None for file in prices.files for rate_list in file.lists(name)}
    if not rows and not lists:
        raise ConfigurationError(f"no fact of {prices.provider} is about {model!r}{_near(model, known)}")
    for currency in dict.fromkeys([*lists, *(row["currency"] for row in rows)]):
        file = next((file for file in prices.files if currency in file.lists(name)), None)
        timeline = None if file is None else file.timeline(name, currency)
        rate = None if timeline is None else timeline.in_force(instant, Validity())
        # The entry is one of the compiled file's, whose number the evidence names; an overlay's has no facts.
        lowest = prices.files[-1].entries.get(name, {}).get(currency, [])
        number = next((n for n, entry in enumerate(lowest) if rate is not None and entry is rate.entry), None)
        starts = [_start(entry) for entry in lowest]
        facts = [
            _verdict(row, tables["sources"], number, starts)
            for row in rows
            if row["currency"] == currency or number in (*row["gives"], *row["agrees"])
        ]
        yield Why(name, currency, rate, tuple(sorted(facts, key=lambda fact: ORDER.index(fact.verdict))))


def _start(entry: Mapping[str, Any]) -> str:
    start = entry.get("effective") or (entry["observed"][0] if "observed" in entry else None)
    return f"until {entry.get('until')}" if start is None else str(start)[:10]


def _verdict(row: Mapping[str, Any], sources: Sequence[Any], number: int | None, starts: Sequence[str]) -> JudgedFact:
    source, family, rank = sources[row["source"]]
    others = sorted({*row["gives"], *row["agrees"]})
    if number in row["gives"]:
        verdict, rule = "won", _won(row, rank)
    elif number in row["agrees"]:
        verdict, rule = "agrees", f"of rank {rank}, agrees with the rate in force"
    elif others:
        verdict, rule = "other days", "in the entries of " + ", ".join(starts[n] for n in others if n < len(starts))
    elif row["lost"] is None:
        verdict, rule = "other days", "a plan, or a price that the book has from another fact"
    else:
        verdict, rule = "lost", row["lost"]
    return JudgedFact(
        verdict, rule, row["what"], row["price"], row["currency"], source, family, row["model"], row["read"],
        row["from"], row["until"], row["first_seen"], row["last_seen"], tuple(row["decided"]),
    )  # fmt: skip


def _won(row: Mapping[str, Any], rank: int) -> str:
    if row["decided"]:
        return "decided"
    return "the vendor's own word, or press of its day" if rank >= 100 else f"of rank {rank} among what agrees"


def _near(model: str, known: Mapping[str, Any]) -> str:
    import difflib

    near = difflib.get_close_matches(model, known, n=3)
    return f"; near names: {', '.join(near)}" if near else ""


def _tables(book: Book, provider: str) -> dict[str, Any]:
    """The packed evidence of a provider, or the compiler's own. Raises ConfigurationError where there is neither."""
    root = book.root
    packed = None if root is None else root / "_compiled" / "evidence" / f"{provider}.z"
    try:
        if packed is not None and packed.exists():
            return dict(json.loads(zlib.decompress(packed.read_bytes())))
    except (OSError, ValueError, zlib.error) as error:
        raise CatalogError([f"{packed}: cannot be read: {error}"]) from None
    if root is None or root.parent != CHECKOUT or not CHECKOUT.joinpath(*COMPILER.split("."), "__main__.py").exists():
        raise ConfigurationError(f"the book in use holds no evidence for {provider}: install tokenmeter-prices")
    command = [sys.executable, "-m", COMPILER, "--evidence", provider]
    run = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False, cwd=CHECKOUT)
    if run.returncode != 0:
        raise CatalogError(run.stderr.strip().splitlines() or [f"{COMPILER} ended with {run.returncode}"])
    return dict(json.loads(run.stdout))
