"""How many tokens another family makes of the same text, as measured ranges, and usages scaled by them."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from tokenmeter._support.data_files import read_toml
from tokenmeter.usage import Usage, checked_usage

__all__ = ["LANGUAGES", "TokenRatio", "recounted", "scaled", "token_ratio", "with_cache_rate", "without_cache"]

LANGUAGES: Final = ("zh", "en")
_TOTALS: Final = ("input_tokens", "output_tokens")
_PARTS: Final = ("cache_read_input_tokens", "cache_write_input_tokens", "reasoning_output_tokens")
_FILE: Final = Path(__file__).parent / "ratios.toml"


class TokenRatio(NamedTuple):
    """Tokens of one family for each token of another."""

    low: Fraction
    likely: Fraction
    high: Fraction


@cache
def token_ratio(source: str, target: str, language: str | None = None) -> TokenRatio | None:
    """The range between two families, for texts in a language or, with None, in any; None where it was not measured."""
    if source == target:
        return TokenRatio(Fraction(1), Fraction(1), Fraction(1))
    ranges = _measured()
    if source not in ranges or target not in ranges:
        return None
    pairs = [(ranges[source][name], ranges[target][name]) for name in LANGUAGES if language in (None, name)]
    each = [TokenRatio(to.low / of.high, to.likely / of.likely, to.high / of.low) for of, to in pairs]
    likely = sum((one.likely for one in each), Fraction(0)) / len(each)
    return TokenRatio(min(one.low for one in each), likely, max(one.high for one in each))


@cache
def _measured() -> Mapping[str, Mapping[str, TokenRatio]]:
    data: dict[str, dict[str, list[Decimal | int]]] = read_toml(_FILE)
    return {
        family: {language: TokenRatio(*map(Fraction, numbers)) for language, numbers in entry.items()}
        for family, entry in data.items()
    }


def scaled(usage: Usage, ratio: Fraction, *, up: bool | None) -> Usage:
    """The usage in tokens of another family; totals are rounded up, down, or (None) to the nearest.

    Parts are rounded down, so that they never exceed their total.
    """
    if ratio == 1:
        return usage
    times, per = ratio.numerator, ratio.denominator
    above = per - 1 if up else per // 2 if up is None else 0
    tokens: dict[str, int] = {}
    for name, room in (*((total, above) for total in _TOTALS), *((part, 0) for part in _PARTS)):
        known = getattr(usage, name)
        if known is not None:
            tokens[name] = (known * times + room) // per
    writes = {lifetime: known * times // per for lifetime, known in usage.cache_writes.items()}
    return checked_usage(tokens, cache_writes=writes)


def with_cache_rate(usage: Usage, rate: Fraction) -> Usage:
    """The usage with a share of its input read from the cache, rounded down, and nothing written to it."""
    tokens = {name: known for name in (*_TOTALS, *_PARTS) if (known := getattr(usage, name)) is not None}
    tokens["cache_read_input_tokens"] = (usage.input_tokens or 0) * rate.numerator // rate.denominator
    tokens["cache_write_input_tokens"] = 0
    return checked_usage(tokens)


def recounted(usage: Usage, tokens_in: int, output: Fraction, *, up: bool | None) -> Usage:
    """The usage with another number of input tokens, of which the same share is cached, and scaled output."""
    before = usage.input_tokens or 0
    share = Fraction(tokens_in, before) if before else Fraction(0)
    scaled_in, scaled_out = (scaled(usage, ratio, up=up) for ratio in (share, output))
    tokens: dict[str, int] = {"input_tokens": tokens_in}
    for name in ("cache_read_input_tokens", "cache_write_input_tokens"):
        if getattr(usage, name) is not None:
            tokens[name] = getattr(scaled_in, name)
    for name in ("output_tokens", "reasoning_output_tokens"):
        if getattr(usage, name) is not None:
            tokens[name] = getattr(scaled_out, name)
    return checked_usage(tokens, cache_writes=scaled_in.cache_writes)


def without_cache(usage: Usage, *, all_read: bool = False) -> Usage:
    """The usage with nothing in the cache; or with all of the input read from it."""
    tokens = {name: known for name in (*_TOTALS, *_PARTS) if (known := getattr(usage, name)) is not None}
    tokens["cache_read_input_tokens"] = (usage.input_tokens or 0) if all_read else 0
    tokens["cache_write_input_tokens"] = 0
    return checked_usage(tokens)
