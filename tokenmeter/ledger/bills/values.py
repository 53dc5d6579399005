"""Reads the numbers and days of a bill as vendors write them: separators, exponents, offsets, epoch seconds."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Final

from tokenmeter.money import EXACT, exact_decimal

__all__ = ["decimals_of", "exact_sum", "offset_of", "read_day", "read_number"]

_NOTHING: Final = frozenset({"", "-", "--", "—", "n/a", "null", "none", "nan"})
_GROUPED: Final = re.compile(r"[+-]?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]+)?")
_NUMBER: Final = re.compile(r"[+-]?([0-9]{1,40}(\.[0-9]{0,60})?|\.[0-9]{1,60})([eE][+-]?[0-9]{1,3})?")
_DAY: Final = re.compile(r"([0-9]{4})(?:[-/.年]([0-9]{1,2})[-/.月]([0-9]{1,2})|([0-9]{2})([0-9]{2}))日?")
_SECONDS: Final = re.compile(r"1[0-9]{9}(\.0+)?")
_OFFSET: Final = re.compile(r"(?: ?UTC|[Zz]|([+-])([0-9]{2}):?([0-9]{2}))$")


def read_number(text: str) -> Decimal | None:
    """An exact number, None where the field is empty. Raises ValueError for what is no number, or an unclear one.

    >>> read_number("¥1,234.50"), read_number("2.8e-6"), read_number("(3.5)")
    (Decimal('1234.50'), Decimal('0.0000028'), Decimal('-3.5'))
    """
    bare = text.strip().strip("¥￥$€").replace("\u00a0", "").strip()
    if bare.lower() in _NOTHING:
        return None
    negative = bare.startswith("(") and bare.endswith(")")
    if negative:
        bare = bare[1:-1]
    for sign in "¥￥$€":
        bare = bare.replace(f"-{sign}", "-")
    if _GROUPED.fullmatch(bare):
        bare = bare.replace(",", "")
    if not _NUMBER.fullmatch(bare):
        raise ValueError(f"{text.strip()[:40]!r} is not a number")
    number = exact_decimal(bare)
    number = Decimal(f"{number:f}")
    return EXACT.minus(number) if negative else number


def exact_sum(numbers: Iterable[Decimal]) -> Decimal:
    """The sum, in the exact context of money."""
    total = Decimal(0)
    for number in numbers:
        total = EXACT.add(total, number)
    return total


def decimals_of(number: Decimal) -> int:
    """How many decimals an amount was printed with, at least two: trailing zeros may have been dropped."""
    exponent = number.as_tuple().exponent
    return max(2, -exponent) if isinstance(exponent, int) else 2


def offset_of(text: str) -> timezone | None:
    """The offset an instant is written with; None where it has none."""
    found = _OFFSET.search(text.strip())
    if found is None or len(text.strip()) <= len("2026-11-01"):
        return None
    if found[1] is None:
        return UTC
    ahead = timedelta(hours=int(found[2]), minutes=int(found[3]))
    return timezone(-ahead if found[1] == "-" else ahead)


def read_day(text: str, zone: tzinfo | None) -> str:
    """The day on the bill's clock, as `2026-11-01`. Raises ValueError for what is no day.

    An instant with an offset, and epoch seconds, are moved to that clock; one without an offset is on it already.
    """
    bare = text.strip()
    if _SECONDS.fullmatch(bare):
        return f"{datetime.fromtimestamp(int(bare.partition('.')[0]), UTC).astimezone(zone):%Y-%m-%d}"
    if offset_of(bare) is not None:
        return f"{_instant(bare).astimezone(zone):%Y-%m-%d}"
    found = _DAY.match(bare)
    if found is None or (len(bare) > found.end() and bare[found.end()] not in " T_"):
        raise ValueError(f"{bare[:40]!r} is not a day such as 2026-11-01")
    try:
        return date(int(found[1]), int(found[2] or found[4]), int(found[3] or found[5])).isoformat()
    except ValueError:
        raise ValueError(f"{bare[:40]!r} is not a day of the calendar") from None


def _instant(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text.replace("UTC", "+00:00").replace(" ", "T", 1).replace(" ", ""))
    except ValueError:
        raise ValueError(f"{text[:40]!r} is not an instant such as 2026-11-01T00:00:00+08:00") from None
