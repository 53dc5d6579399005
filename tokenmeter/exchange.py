"""Amounts in another currency, for show, at dated rates that the user gives.

A cost stays in the currency the vendor bills. Converting is a step of its own: it takes a table of rates from the
user, never a rate of ours, and its result names the rate, its day and its source, so that nobody takes it for a bill.
The table is a TOML file:

    [[rate]]
    base = "USD"                  # one US dollar ...
    quote = "CNY"                 # ... in yuan
    day = 2024-05-06              # the rate holds from this day until the next one of the same pair
    rate = 7.0994
    source = "People's Bank of China, central parity"
"""

from __future__ import annotations

import decimal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from tokenmeter.errors import CatalogError, ConfigurationError
from tokenmeter.money import EXACT, Money, exact_decimal, plain

__all__ = ["Converted", "ExchangeRate", "ExchangeRates"]

_KEYS: Final = {"base", "quote", "day", "rate", "source"}
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
            "rate": plain(self.rate.rate),
            "pair": f"{self.rate.base}/{self.rate.quote}",
            "rate_day": self.rate.day.isoformat(),
            "rate_source": self.rate.source,
            "stale": self.stale,
        }


class ExchangeRates:
    """A user's table of dated rates."""

    def __init__(self, rates: Iterable[ExchangeRate]) -> None:
        self._pairs: dict[tuple[str, str], list[ExchangeRate]] = {}
        for rate in sorted(rates, key=lambda one: one.day):
            self._pairs.setdefault((rate.base, rate.quote), []).append(rate)

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

        Raises TypeError for an instant without a zone.
        """
        if isinstance(at, datetime):
            if at.tzinfo is None:
                raise TypeError(f"{at} has no zone")
            at = at.date()
        straight = self._on(money.currency, to, at)
        if straight is not None:
            amount = EXACT.multiply(money.amount, straight.rate)
            return Converted(money, Money(amount, to), straight, at - straight.day > STALE)
        inverse = self._on(to, money.currency, at)
        if inverse is None:
            return None
        amount = _SHOWN.divide(money.amount, inverse.rate)
        return Converted(money, Money(amount, to), inverse, at - inverse.day > STALE)

    def _on(self, base: str, quote: str, day: date) -> ExchangeRate | None:
        known = [rate for rate in self._pairs.get((base, quote), ()) if rate.day <= day]
        return known[-1] if known else None


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
