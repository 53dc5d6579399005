"""Reads what an answer cost from its HTTP headers, where a gateway states it there (`formats/_headers.toml`)."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from tokenmeter.money import Money
from tokenmeter.wire.formats import load_apis
from tokenmeter.wire.json_paths import number

__all__ = ["cost_of_headers"]


def cost_of_headers(headers: Mapping[str, str]) -> Money | None:
    """The cost that the headers of an answer state; None where they state none. Names are read in lower case."""
    for name, currency in load_apis().cost_headers.items():
        amount = number(headers.get(name))
        if amount is not None and amount >= 0:
            return Money(Decimal(amount), currency)
    return None
