"""Compares two editions of the book: which models of which provider got, lost or changed a price, and from when."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from typing import Any, Final

_NO_PRICE: Final = frozenset({"model", "currency", "source", "confidence", "observed", "announced", "seen", "seen_by"})

#: Entries of one model on one list, by the day or instant they begin.
_Entries = Mapping[tuple[str, str], dict[str, dict[str, Any]]]


def changes(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    """A line for every entry whose prices differ, by provider and model; `old` and `new` are files by provider."""
    for provider in sorted({*old, *new}):
        if old.get(provider) == new.get(provider):
            continue
        before, after = _entries(old.get(provider, "")), _entries(new.get(provider, ""))
        for model, money in sorted({*before, *after}):
            was, now = before.get((model, money), {}), after.get((model, money), {})
            for start in sorted({*was, *now}):
                one, two = was.get(start), now.get(start)
                if one != two:
                    yield f"{provider}/{model} {money} {start or 'open'}: {_shown(one)} -> {_shown(two)}"


def _entries(text: str) -> _Entries:
    table = tomllib.loads(text, parse_float=str)
    found: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for rate in table.get("rate", ()):
        start = rate.get("effective") or (rate["observed"][0] if "observed" in rate else "")
        prices = _without_days(rate)
        found.setdefault((rate["model"], rate.get("currency", table["currency"])), {})[str(start)] = prices
    for alias in table.get("alias", ()):
        found.setdefault((alias["model"], "alias"), {})[str(alias.get("from", ""))] = {"of": alias["of"]}
    return found


def _without_days(rate: Mapping[str, Any]) -> dict[str, Any]:
    prices = {name: value for name, value in rate.items() if name not in _NO_PRICE}
    if "case" in prices:
        prices["case"] = [{name: value for name, value in case.items() if name != "seen"} for case in prices["case"]]
    return prices


def _shown(prices: Mapping[str, Any] | None) -> str:
    if prices is None:
        return "nothing"
    plain = [f"{name} {value}" for name, value in prices.items() if not isinstance(value, (list, dict))]
    cases = len(prices.get("case", ()))
    return ", ".join(plain) + (f" and {cases} case{'s' * (cases > 1)}" if cases else "")
