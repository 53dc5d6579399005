"""Amounts in another currency, for show, at dated rates that the user gives.

A cost stays in the currency the vendor bills. Converting is a step of its own: it takes a table of rates from the
user, never a rate of ours, and its result names the rate, its day and its source, so that it is not taken for a bill.
The table is a TOML file:

    [[rate]]
    base = "USD"                  # one US dollar ...
    quote = "CNY"                 # ... in yuan
    day = 2024-05-06              # the rate holds from this day until the next one of the same pair
    rate = 7.0994
    source = "People's Bank of China, central parity"

or, where a file is too much, one line: `CNY=0.1400USD@2026-11-01`, several with commas between them. One yuan is then
0.14 dollars from that day on, on the word of the setting that says so. A rate says nothing of the days before its own.
"""

from __future__ import annotations

import bisect
import decimal
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from tokenmeter._support.arguments import check_items, check_text
from tokenmeter.errors import CatalogError, ConfigurationError
from tokenmeter.money import EXACT, Money, exact_decimal, plain

__all__ = ["Converted", "ExchangeRate", "ExchangeRates"]

_KEYS: Final = {"base", "quote", "day", "rate", "source"}
_LINE: Final = re.compile(
    r"([A-Za-z]{3})\s*=\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]{3})\s*@\s*([0-9]{4}-[0-9]{2}-[0-9]{2})"
)
_SHOWN: Final = decimal.Context(prec=28, rounding=decimal.ROUND_HALF_EVEN)
STALE: Final = timedelta(days=7)
"""A rate older than this at the instant asked for is flagged: currencies have weekends, not months."""


@dataclass(frozen=True, slots=True)
class ExchangeRate:
    """One `base` is `rate` of `quote`, from `day` on, says `source`."""

    base: str
    quote: str
    day: date
    rate: Decimal
    source: str

    @property
    def pair(self) -> str:
        """Which way the rate is quoted: `USD/CNY` is the price of a dollar in yuan."""
        return f"{self.base}/{self.quote}"

    def convert(self, amount: Decimal, to: str) -> Decimal:
        """An amount of one of the two currencies in the other, `to`; exact unless it has to be divided."""
        return EXACT.multiply(amount, self.rate) if to == self.quote else _SHOWN.divide(amount, self.rate)

    def to_dict(self) -> dict[str, str]:
        """JSON form: what names a rate where it was applied."""
        return {
            "rate": plain(self.rate),
            "pair": self.pair,
            "rate_day": self.day.isoformat(),
            "rate_source": self.source,
        }


@dataclass(frozen=True, slots=True)
class Converted:
    """An amount for show. `original` is what the vendor bills; `amount` is it at `rate`, rounded to 28 digits only
    where the rate had to be divided by. `stale` says that the rate is more than a week older than the instant.
    """

    original: Money
    amount: Money
    rate: ExchangeRate
    stale: bool = False

    def to_dict(self) -> dict[str, Any]:
        """JSON form: strings for money and rates."""
        return {
            "amount": plain(self.amount.amount),
            "currency": self.amount.currency,
            **self.rate.to_dict(),
            "stale": self.stale,
        }


class ExchangeRates:
    """A user's table of dated rates. Raises CatalogError where two of them contradict each other."""

    def __init__(self, rates: Iterable[ExchangeRate]) -> None:
        rates = check_items(rates, "rates", "ExchangeRate objects; ExchangeRates.of reads text and files")
        pairs: dict[tuple[str, str], dict[date, ExchangeRate]] = {}
        problems = []
        for rate in rates:
            if not isinstance(rate, ExchangeRate):
                raise ConfigurationError(f"rates: {rate!r:.200} is no ExchangeRate; ExchangeRates.of reads text")
            before = pairs.setdefault((rate.base, rate.quote), {}).setdefault(rate.day, rate)
            if before.rate != rate.rate:
                problems.append(f"exchange rates: {rate.pair} of {rate.day} is {before.rate} and {rate.rate}: keep one")
        if problems:
            raise CatalogError(problems)
        self._pairs: dict[tuple[str, str], tuple[list[date], list[ExchangeRate]]] = {
            pair: (sorted(days), [days[day] for day in sorted(days)]) for pair, days in pairs.items()
        }

    @classmethod
    def of(cls, given: ExchangeRates | str | Path, place: str = "exchange") -> ExchangeRates:
        """Rates from what a setting says: a table, the path of one, or a line such as `CNY=0.1400USD@2026-11-01`.

        Raises ConfigurationError naming `place` for a line that cannot be read, and what `read` raises.
        """
        if isinstance(given, ExchangeRates):
            return given
        if not isinstance(given, str | Path):
            raise ConfigurationError(f"{place}={given!r:.200}: give ExchangeRates, a path, or CNY=0.1400USD@2026-11-01")
        text = os.fspath(given).strip()
        if isinstance(given, Path) or "=" not in text:
            return cls.read(text)
        rates = []
        for part in filter(None, (part.strip() for part in text.split(","))):
            found = _LINE.fullmatch(part)
            day = _day(found[4]) if found else None
            rate = Decimal(found[2]) if found else Decimal(0)
            if found is None or day is None or not rate or found[1].upper() == found[3].upper():
                raise ConfigurationError(
                    f"{place}: {part!r} is not a rate; write CNY=0.1400USD@2026-11-01 (one yuan is 0.14 dollars from "
                    "that day on), several with commas between them, or the path of a TOML table"
                )
            rates.append(ExchangeRate(found[1].upper(), found[3].upper(), day, rate, place))
        return cls(rates)

    @classmethod
    def read(cls, path: str | Path) -> ExchangeRates:
        """Read a TOML table. Raises ConfigurationError if there is no such file, CatalogError with all its problems."""
        import tomllib

        try:
            data = tomllib.loads(Path(path).read_text("utf-8"), parse_float=Decimal)
        except OSError as error:
            raise ConfigurationError(f"exchange rates: cannot read {path}: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise CatalogError([f"{path}: not TOML: {error}"]) from None
        problems: list[str] = []
        rates = [
            _rate(entry, f"{path}: rate {number}", problems) for number, entry in enumerate(data.get("rate", ()), 1)
        ]
        if unknown := set(data) - {"rate"}:
            problems.append(f"{path}: {sorted(unknown)[0]!r} is not a key; entries are [[rate]]")
        if not rates and not problems:
            problems.append(f"{path}: no [[rate]] in it")
        if problems:
            raise CatalogError(problems)
        return cls(rate for rate in rates if rate is not None)

    def convert(self, money: Money, to: str, at: datetime | date) -> Converted | None:
        """The amount in `to` by the last rate on or before the day; None if the table has none so early.

        Raises ConfigurationError for arguments of other kinds and for an instant without a zone.
        """
        if not isinstance(money, Money):
            raise ConfigurationError(f"money={money!r:.200}: give Money, such as Money(Decimal('1.50'), 'CNY')")
        check_text(to, "to", "USD", needed=True)
        if isinstance(at, datetime):
            if at.tzinfo is None:
                raise ConfigurationError(f"at={at}: has no zone")
            at = at.date()
        if not isinstance(at, date):
            raise ConfigurationError(f"at={at!r:.200}: give a date, or an instant with a zone")
        rate = self.rate(money.currency, to, at)
        if rate is None:
            return None
        return Converted(money, Money(rate.convert(money.amount, to), to), rate, at - rate.day > STALE)

    def rate(self, currency: str, to: str, day: date) -> ExchangeRate | None:
        """The last rate between two currencies on or before a day, whichever way it is quoted."""
        straight, inverse = self._on(currency, to, day), self._on(to, currency, day)
        if straight is None or inverse is None:
            return straight or inverse
        return inverse if inverse.day > straight.day else straight

    def _on(self, base: str, quote: str, day: date) -> ExchangeRate | None:
        days, rates = self._pairs.get((base, quote), _NONE)
        place = bisect.bisect_right(days, day)
        return rates[place - 1] if place else None


_NONE: Final[tuple[list[date], list[ExchangeRate]]] = ([], [])


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _rate(entry: Mapping[str, Any], place: str, problems: list[str]) -> ExchangeRate | None:
    before = len(problems)
    problems.extend(f'{place}: "{key}" is missing' for key in sorted(_KEYS - set(entry)))
    known = ", ".join(sorted(_KEYS))
    problems.extend(f'{place}: "{key}" is not a key; the keys are {known}' for key in sorted(set(entry) - _KEYS))
    wrong = [key for key in ("base", "quote", "source") if key in entry and not _is_text(entry[key])]
    problems.extend(f'{place}: "{key}" is text, such as "USD"' for key in wrong)
    if "day" in entry and (not isinstance(entry["day"], date) or isinstance(entry["day"], datetime)):
        problems.append(f'{place}: "day" is a date, such as 2024-05-06')
    rate = entry.get("rate")
    if rate is not None and (isinstance(rate, bool) or not isinstance(rate, int | Decimal) or rate <= 0):
        problems.append(f'{place}: "rate" is a number above zero')
    if len(problems) > before:
        return None
    return ExchangeRate(entry["base"], entry["quote"], entry["day"], exact_decimal(entry["rate"]), entry["source"])


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)
