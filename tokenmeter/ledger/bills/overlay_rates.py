"""Proposes the rates of a contract that a bill shows, in the form of a price file."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import Final

from tokenmeter.ledger.bills.book_prices import BookPrices
from tokenmeter.ledger.bills.volumes import next_day
from tokenmeter.money import EXACT, plain

__all__ = ["OverlayRates"]

_CARD: Final = ("input", "cache_read", "cache_write", "output", "reasoning_output")
_MILLION: Final = Decimal(1_000_000)


class OverlayRates:
    """Prices that a bill charged instead of the list, by model and day."""

    def __init__(self) -> None:
        self._seen: dict[str, dict[str, dict[str, Decimal]]] = defaultdict(lambda: defaultdict(dict))

    def add(self, model: str, component: str, day: str, billed: Decimal, listed: Decimal) -> None:
        """Note that a day's line charged `billed` for one token where the list says `listed`."""
        if billed != listed and billed > 0:
            self._seen[model][day].setdefault(component, billed)

    def proposals(self, provider: str, currency: str, prices: BookPrices, source: str) -> str | None:
        """The price file, or None without such prices. Runs of days with the same prices are one rate each.

        A rate is a whole card: components that were billed by the list keep the book's price at noon of the first day.
        """
        if not self._seen:
            return None
        lines = [f'provider = "{provider}"', f'currency = "{currency}"']
        for model, days in sorted(self._seen.items()):
            for first, last, billed in _runs(days):
                card = {component: prices.hint(model, component, first) for component in _CARD}
                card.update(billed)
                lines += ["", "[[rate]]", f"model = {_quoted(model)}", f"effective = {first}"]
                lines += [f"until = {next_day(last)}", "promotion = true"]
                lines += [
                    f"{component} = {plain(EXACT.multiply(price, _MILLION))}"
                    for component, price in card.items()
                    if price is not None and (component != "reasoning_output" or component in billed)
                ]
                lines += [f"source = {_quoted(source)}", 'confidence = "single-source"']
        return "\n".join(lines) + "\n"


def _runs(days: dict[str, dict[str, Decimal]]) -> list[tuple[str, str, dict[str, Decimal]]]:
    runs: list[tuple[str, str, dict[str, Decimal]]] = []
    for day, billed in sorted(days.items()):
        if runs and runs[-1][2] == billed:
            runs[-1] = (runs[-1][0], day, billed)
        else:
            runs.append((day, day, dict(billed)))
    return runs


def _quoted(text: str) -> str:
    return '"' + "".join(character for character in text if character.isprintable() and character not in '"\\') + '"'
