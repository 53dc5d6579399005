"""The prices of a table as whole numbers of one small part, for usages of plain tokens: exact, without a `Decimal`.

A vendor's price of 1.25 a million is 0.00000125 a token. In parts of 10^-8 that is 125, and an amount is a sum of
products of integers. `Table.bill` stays the truth: it says what a usage costs, and this says the same number for those
usages that `WholePrices.amount` takes.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

from tokenmeter.money import EXACT

if TYPE_CHECKING:
    from tokenmeter.cost import Price
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

    def amount(self, usage: Usage) -> int | None:
        """What the tokens of a usage cost, in parts; None for a usage that has more to it, or may cost nothing.

        The usage has no quantities, no lifetimes of cache writes and no media.
        """
        tokens_in, tokens_out = usage.input_tokens, usage.output_tokens
        if tokens_in is None or tokens_out is None:
            return None
        read = usage.cache_read_input_tokens or 0
        written = usage.cache_write_input_tokens or 0
        thought = usage.reasoning_output_tokens or 0
        fresh, said = tokens_in - read - written, tokens_out - thought
        if fresh < 0 or said < 0 or read < 0 or written < 0 or thought < 0:
            return None
        amount = 0
        try:
            if fresh:
                amount = fresh * self._input  # type: ignore[operator]
            if said:
                amount += said * self._output  # type: ignore[operator]
            if read:
                amount += read * self._read  # type: ignore[operator]
            if written:
                amount += written * self._write  # type: ignore[operator]
            if thought:
                amount += thought * self._reasoning  # type: ignore[operator]
        except TypeError:  # a price is not known
            return None
        return amount if 0 < amount < _AMOUNT_MOST else None

    def saved(self, usage: Usage) -> int | None:
        """What the cache took off the cost of a usage that `amount` took, in parts; None where that is not known."""
        read, written = usage.cache_read_input_tokens, usage.cache_write_input_tokens
        fresh = self._input
        saved = 0
        if not read and not written:
            known = read is not None or not usage.input_tokens or not (fresh is not None and self._read is not None)
            return 0 if known or fresh == self._read else None
        for tokens, each in ((read, self._read), (written, self._write)):
            if tokens:
                if each is None or fresh is None:
                    return None
                saved += tokens * (fresh - each)
        return saved

    def exact(self, parts: int) -> Decimal:
        """Parts as an amount of money."""
        return Decimal(parts).scaleb(-self.places, EXACT)

    def number(self, parts: int) -> float:
        """The float next to an amount: that of its `Decimal`."""
        return parts / self._ones

    def plain(self, parts: int) -> str:
        """An amount in plain notation, as `money.plain` writes it."""
        whole, rest = divmod(abs(parts), self._ones)
        sign = "-" if parts < 0 else ""
        return f"{sign}{whole}.{rest:0{self.places}d}".rstrip("0") if rest else f"{sign}{whole}"
