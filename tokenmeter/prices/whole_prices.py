"""The prices of a table as whole numbers of one small part, for usages of plain tokens: exact, without a `Decimal`.

A vendor's price of 1.25 a million is 0.00000125 a token. In parts of 10^-8 that is 125, and an amount is a sum of
products of integers. `Table.bill` stays the truth: it says what a usage costs, and this says the same number for those
usages that `WholePrices.bill` takes.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

from tokenmeter.money import EXACT

if TYPE_CHECKING:
    from tokenmeter.offers import Price
    from tokenmeter.usage import Usage

__all__ = ["WholePrices"]

_PLACES_MOST: Final = 40
_AMOUNT_MOST: Final = 10**60
"""Parts of an amount that is no mistake."""


class WholePrices:
    """Unit prices in parts of 10^-`places`. None stands for a price that is not known."""

    __slots__ = ("_input", "_ones", "_output", "_read", "_reasoning", "_write", "places")

    def __init__(
        self,
        fresh: Price | None,
        read: Price | None,
        write: Price | None,
        output: Price | None,
        reasoning: Price | None,
    ) -> None:
        """Raises ValueError for prices with too many places, or in steps."""
        prices = [price for price in (fresh, read, write, output, reasoning) if price is not None]
        exponents = [price.unit.as_tuple().exponent for price in prices]
        self.places = max([0, *(-power for power in exponents if isinstance(power, int))])
        if self.places > _PLACES_MOST or any(price.step or price.least for price in prices):
            raise ValueError(self.places)
        self._ones: int = 10**self.places
        whole = [
            None if price is None else self._whole(price.unit) for price in (fresh, read, write, output, reasoning)
        ]
        self._input, self._read, self._write, self._output, self._reasoning = whole

    def _whole(self, unit: Decimal) -> int:
        return int(unit.scaleb(self.places, EXACT))

    def bill(self, usage: Usage) -> tuple[int, int | None] | None:
        """What the tokens of a usage cost and what the cache took off that, in parts; savings of None are not known.

        None for a usage that has more to it, or may cost nothing. It has no quantities, no lifetimes of cache writes
        and no media.
        """
        tokens_in, tokens_out, read = usage.input_tokens, usage.output_tokens, usage.cache_read_input_tokens
        if tokens_in is None or tokens_out is None:
            return None
        written, thought = usage.cache_write_input_tokens or 0, usage.reasoning_output_tokens or 0
        fresh, said = tokens_in - (read or 0) - written, tokens_out - thought
        price = self._input
        saved: int | None = 0
        amount = 0
        try:
            if fresh:
                amount = fresh * price  # type: ignore[operator]
            if said:
                amount += said * self._output  # type: ignore[operator]
            if thought:
                amount += thought * self._reasoning  # type: ignore[operator]
            if read:
                amount += read * self._read  # type: ignore[operator]
                saved = read * (price - self._read)  # type: ignore[operator]
            if written:
                amount += written * self._write  # type: ignore[operator]
                saved += written * (price - self._write)  # type: ignore[operator]
        except TypeError:  # a price is not known
            return None
        if fresh < 0 or said < 0 or (read or 0) < 0 or written < 0 or thought < 0 or not 0 < amount < _AMOUNT_MOST:
            return None
        if read is None and not written and tokens_in and self._read not in (None, price) and price is not None:
            saved = None
        return amount, saved

    def exact(self, parts: int) -> Decimal:
        """Parts as an amount of money."""
        return Decimal(parts).scaleb(-self.places, EXACT)

    def number(self, parts: int) -> float:
        """The float next to an amount: that of its `Decimal`."""
        return parts / self._ones

    def plain(self, parts: int) -> str:
        """An amount in plain notation, as `money.plain` writes it."""
        places = self.places
        digits = str(parts if parts >= 0 else -parts).rjust(places + 1, "0")
        at = len(digits) - places
        rest = digits[at:].rstrip("0")
        text = f"{digits[:at]}.{rest}" if rest else digits[:at]
        return text if parts >= 0 else f"-{text}"
