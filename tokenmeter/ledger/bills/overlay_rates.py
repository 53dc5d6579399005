"""Proposes the prices of a contract that a bill shows, in the form of a price file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Final

from tokenmeter.ledger.bills.book_prices import BookPrices
from tokenmeter.ledger.bills.residue import share_of
from tokenmeter.ledger.bills.volumes import next_day
from tokenmeter.money import EXACT, plain

__all__ = ["OverlayRates"]

_CARD: Final = ("input", "cache_read", "cache_write", "output")
_MILLION: Final = Decimal(1_000_000)
Prices = Mapping[str, tuple[Decimal, Decimal]]
"""By component: what was billed for one token, and what the list says."""


class OverlayRates:
    """Prices that a bill charged instead of the list, by model and day."""

    def __init__(self) -> None:
        self._seen: dict[str, dict[str, dict[str, tuple[Decimal, Decimal]]]] = defaultdict(lambda: defaultdict(dict))

    def add(self, model: str, component: str, day: str, billed: Decimal, listed: Decimal) -> None:
        """Note that a day's line charged `billed` for one token where the list says `listed`."""
        if billed != listed and billed > 0:
            self._seen[model][day].setdefault(component, (billed, listed))

    def proposal(self, provider: str, currency: str, prices: BookPrices, source: str) -> str | None:
        """The price file, or None without such prices. Each run of days with the same prices is one entry.

        A short share of the list is a discount, so that tiers, windows and later list prices keep their effect. Other
        prices are a rate: a whole card, with the book's price at noon of the first day for what was billed by the list.
        """
        if not self._seen:
            return None
        lines = [f'provider = "{provider}"', f'currency = "{currency}"', "contract = true"]
        for model, days in sorted(self._seen.items()):
            for first, last, billed in _runs(days):
                since, until = (prices.midnight(day).isoformat() for day in (first, next_day(last)))
                shares = _shares(billed)
                if shares is not None:
                    factors = ", ".join(f"{component} = {plain(share)}" for component, share in shares.items())
                    lines += ["", "[[discount]]", f"models = [{_quoted(model)}]", f"multiply = {{ {factors} }}"]
                    lines += [f"from = {since}", f"until = {until}", f"note = {_quoted(source)}"]
                    continue
                lines += ["", "[[rate]]", f"model = {_quoted(model)}", f"effective = {since}", f"until = {until}"]
                lines += ["promotion = true", *_card(model, first, billed, prices)]
                lines += [f"source = {_quoted(source)}", 'confidence = "single-source"']
        return "\n".join(lines) + "\n"


def _card(model: str, day: str, billed: Prices, prices: BookPrices) -> Iterator[str]:
    for component in (*_CARD, *(one for one in billed if one not in _CARD)):
        price = billed[component][0] if component in billed else prices.hint(model, component, day)
        if price is not None:
            yield f"{component} = {plain(EXACT.multiply(price, _MILLION))}"


def _shares(billed: Prices) -> dict[str, Decimal] | None:
    """The short share of the list of each component; None unless all have one."""
    shares = {}
    for component, (price, listed) in billed.items():
        share = share_of(listed, EXACT.subtract(price, listed), Decimal(0))
        if share is None:
            return None
        shares[component] = share
    return shares


def _runs(days: Mapping[str, Prices]) -> list[tuple[str, str, Prices]]:
    runs: list[tuple[str, str, Prices]] = []
    for day, billed in sorted(days.items()):
        if runs and runs[-1][2] == billed and next_day(runs[-1][1]) == day:
            runs[-1] = (runs[-1][0], day, billed)
        else:
            runs.append((day, day, dict(billed)))
    return runs


def _quoted(text: str) -> str:
    return '"' + "".join(character for character in text if character.isprintable() and character not in '"\\') + '"'
