"""Split one usage over the prices in force for its request, and sum the charges exactly.

Subsets are inside their totals, so what is left of a total after its subsets is text. A quantity without a price of
its own is billed by its declared stand-in and merged into that charge; without one the cost is unknown, never zero.
What cannot be true of a usage (a subset above its total, a negative number) makes it unpriced, with the reason.

`Table.bill` has a short way for the usage nearly every call has, and the general way for everything else; the tests
hold the two against each other.
"""

from __future__ import annotations

import contextlib
import decimal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from itertools import chain
from types import MappingProxyType
from typing import Any, Final

from tokenmeter.components import TOTALS, parts_of
from tokenmeter.money import EXACT
from tokenmeter.offers import Line, Price
from tokenmeter.prices.restated import without_restated
from tokenmeter.prices.whole_prices import WholePrices
from tokenmeter.usage import Usage

__all__ = ["Bill", "Table"]

Bill = tuple["Decimal | None", tuple[Line, ...], tuple[str, ...], "str | None"]  # amount, lines, flags, reason
_ZERO: Final = Decimal(0)
_add: Final[Callable[[Decimal, Any], Decimal]] = EXACT.add
_multiply: Final[Callable[[Decimal, Any], Decimal]] = EXACT.multiply
_NONE: Final[Mapping[str, int]] = MappingProxyType({})


class Table:
    """The prices in force for one request, and how its usage is split over them."""

    __slots__ = (
        "_input", "_lifetime", "_output", "_quantities", "_read", "_read_saves", "_reasoning", "_simple", "_whole",
        "_write", "_write_saves", "free", "older", "prices", "serves",
    )  # fmt: skip

    def __init__(
        self,
        prices: Mapping[str, Price],
        serves: Callable[[str], Price | None],
        *,
        quantities: Mapping[str, str],
        lifetime: str | None = None,
    ) -> None:
        """`serves` gives the price that bills a component: its own, or its stand-in's, or None.

        `quantities` names the component of each quantity that is not tokens; `lifetime` is that of cache writes
        whose lifetime the usage does not tell.
        """
        self.prices = prices
        self.serves = serves
        self._quantities = quantities
        self.free = bool(prices) and not any(price.rate for price in prices.values())
        self.older = any(price.seen is not None for price in prices.values())
        self._lifetime = lifetime
        self._input, self._read, self._output = serves("input"), serves("cache_read"), serves("output")
        self._reasoning = serves("reasoning_output")
        self._write = self._serves_write()
        usual = (self._input, self._read, self._write, self._output, self._reasoning)
        self._simple = not any(price is not None and (price.step or price.least) for price in usual)
        self._read_saves = _difference(self._input, self._read)
        self._write_saves = _difference(self._input, self._write)
        self._whole: WholePrices | bool = True

    def _serves_write(self) -> Price | None:
        """Who bills a cache write of no reported lifetime: the lifetime asked for, else the plain price or stand-in."""
        if self._lifetime is None:
            return self.serves("cache_write")
        return self.serves(f"cache_write_{self._lifetime}") or self.prices.get("cache_write")

    @property
    def whole(self) -> WholePrices | None:
        """The same prices as whole numbers; None where a bill by them says more than its sum."""
        if self._whole is True:
            self._whole = False
            if self._simple and not self.older:
                with contextlib.suppress(ValueError):
                    self._whole = WholePrices(self._input, self._read, self._write, self._output, self._reasoning)
        return self._whole or None  # type: ignore[return-value]

    def units(self) -> tuple[Decimal | None, ...] | None:
        """The prices of one token of text input, cache read, cache write, output and reasoning; None has no price.

        An amount is the sum of these times the tokens, for a usage of nothing else. None where that is not so.
        """
        if not self._simple:
            return None
        usual = (self._input, self._read, self._write, self._output, self._reasoning)
        return tuple(None if price is None else price.unit for price in usual)

    def bill(self, usage: Usage) -> Bill:
        """Amount, lines, flags and reason. The amount is None, with the reason, where it can't be known."""
        try:
            return self._bill(usage)
        except decimal.DecimalException:  # more digits than any bill has, or a quantity that is not a number
            return None, (), (), "a quantity is beyond what can be billed"

    def each(self) -> tuple[Decimal | None, ...] | None:
        """The price of one token of input, cache reads, cache writes, output and reasoning; None of what has none.

        None where one of them is billed in steps or from a least quantity.
        """
        usual = (self._input, self._read, self._write, self._output, self._reasoning)
        return tuple(None if price is None else price.unit for price in usual) if self._simple else None

    def cache_savings(self, usage: Usage) -> Decimal | None:
        """What the same input would cost if none of it had gone through the cache, less what it costs.

        `usage` is one that this table billed. None where it does not tell what was read from a cache that has a price
        of its own, or where input has no price.
        """
        read, written = usage.cache_read_input_tokens, usage.cache_write_input_tokens
        if usage.cache_writes or usage.cached_media:
            return self._rebilled(usage)
        if not read and not written:
            return None if read is None and usage.input_tokens and self._read_saves else _ZERO
        if not self._simple:
            return self._rebilled(usage)
        saved = _ZERO
        for tokens, each in ((read, self._read_saves), (written, self._write_saves)):
            if tokens:
                if each is None:
                    return None
                saved = _add(saved, _multiply(each, tokens))
        return saved

    def _rebilled(self, usage: Usage) -> Decimal | None:
        plain = replace(
            usage, cache_read_input_tokens=0, cache_write_input_tokens=0, cache_writes=_NONE, cached_media=_NONE
        )
        before, after = self.bill(plain)[0], self.bill(usage)[0]
        return None if before is None or after is None else EXACT.subtract(before, after)

    def _bill(self, usage: Usage) -> Bill:
        tokens_in, tokens_out = usage.input_tokens, usage.output_tokens
        if (
            tokens_in is None
            or tokens_out is None
            or usage.quantities
            or usage.cache_writes
            or usage.cached_media
            or usage.audio_input_tokens
            or usage.image_input_tokens
            or usage.video_input_tokens
            or usage.audio_output_tokens
            or usage.image_output_tokens
            or not self._simple
        ):
            return self._bill_any(usage)
        read = usage.cache_read_input_tokens or 0
        written = usage.cache_write_input_tokens or 0
        thought = usage.reasoning_output_tokens or 0
        text_in = tokens_in - read - written
        text_out = tokens_out - thought
        if text_in < 0 or text_out < 0 or read < 0 or written < 0 or thought < 0:
            return self._bill_any(usage)
        if read and self._read is self._input:
            text_in, read = text_in + read, 0
        if written and self._write is self._input:
            text_in, written = text_in + written, 0
        if thought and self._reasoning is self._output:
            text_out, thought = tokens_out, 0
        amount = _ZERO
        lines: list[Line] = []
        for price, quantity in (
            (self._input, text_in),
            (self._read, read),
            (self._write, written),
            (self._output, text_out),
            (self._reasoning, thought),
        ):
            if quantity:
                if price is None:
                    return self._bill_any(usage)
                part = _multiply(price.unit, quantity)
                amount = _add(amount, part)
                lines.append((price, quantity, part))
        return amount, tuple(lines), (), None

    def _bill_any(self, usage: Usage) -> Bill:
        wrong = usage.contradictions() or tuple(_orphans(usage))
        if wrong:
            return None, (), (), "; ".join(wrong)
        quantities: dict[Price, int | Decimal] = {}
        missing: list[str] = []
        for component, quantity in self._split(usage):
            price = self._write if component == "cache_write" else self.serves(component)
            if price is not None:
                quantities[price] = _sum(quantities[price], quantity) if price in quantities else quantity
            elif quantity:
                missing.append(component)
        flags: tuple[str, ...] = ()
        if missing:
            there = {price.component for price, quantity in quantities.items() if quantity > 0}
            missing, flags = without_restated(missing, usage, prices=self.prices, billed=there)
        if any(quantity < 0 for quantity in quantities.values()) and not missing:
            return None, (), (), "cached and media input overlap by an amount the usage does not tell"
        lines = []
        amount = _ZERO
        for price, quantity in quantities.items():
            if quantity > 0:
                billed = price.billed(quantity)
                part = _multiply(price.unit, billed)
                amount = _add(amount, part)
                lines.append((price, billed, part))
        if missing:
            return None, tuple(lines), (), f"no rate for {', '.join(missing)}"
        if not lines and not any(True for _ in usage.items()):
            return None, (), (), "no usage is known"
        return amount, tuple(lines), (*flags, *self._unknown_totals(usage)), None

    def _split(self, usage: Usage) -> Iterator[tuple[str, int | Decimal]]:
        """Disjoint quantities by component."""
        yield from usage.disjoint().items()
        for name, amount in usage.quantities.items():
            yield self._quantities.get(name, name), amount

    def _unknown_totals(self, usage: Usage) -> Iterator[str]:
        # The answer then holds only what was reported: a flag says so.
        if usage.input_tokens is None and (price := self._input) is not None and price.rate:
            yield "input_tokens_unknown"
        if usage.output_tokens is None and (price := self._output) is not None and price.rate:
            yield "output_tokens_unknown"


def _difference(fresh: Price | None, cached: Price | None) -> Decimal | None:
    """By how much a token is cheaper through the cache; None where one of the two has no price."""
    return None if fresh is None or cached is None else EXACT.subtract(fresh.unit, cached.unit)


def _sum(one: int | Decimal, other: int | Decimal) -> int | Decimal:
    return _add(Decimal(one), other) if isinstance(one, Decimal) or isinstance(other, Decimal) else one + other


def _orphans(usage: Usage) -> Iterator[str]:
    """What a bill cannot split: subsets without the total they are part of, or together above it."""
    for total in TOTALS:
        parts = [getattr(usage, part.usage) for part in parts_of(total.name)]
        splits = [getattr(usage, part.split).values() for part in parts_of(total.name) if part.split is not None]
        if getattr(usage, total.usage) is None and any((*parts, *chain(*splits))):
            yield f"part of the {total.name} is given without {total.usage}"
    # Parts of the input may overlap (a cached image is one token of both); parts of the output never do.
    if usage.output_tokens is not None and usage.disjoint()["output"] < 0:
        yield "parts of the output together are above output_tokens"
    cached = sum(usage.cached_media.values())
    if usage.cache_read_input_tokens is not None and cached > usage.cache_read_input_tokens:
        yield "cached media are above cache_read_input_tokens"
