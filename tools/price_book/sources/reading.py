"""One price as a source prints it, and the checks by which a source is left out as a whole.

A reader raises SourceError for what it does not understand: a file that moved, a price column or a currency it never
had. A source that fails is never read in half, since a price beside a missing one is a wrong card.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Context, Decimal
from pathlib import Path
from typing import Any, Final

CURRENCIES: Final = frozenset({"USD", "CNY"})
#: Sources compute prices in floats: what stands beyond these digits is noise, as in 4.800000000000001.
_DIGITS: Final = Context(prec=12)
#: Fewer readings than this are no price list.
LEAST: Final = 3


class SourceError(ValueError):
    """Why a source is left out."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A price per million tokens of one model, under one condition, inside one tier.

    `since` is the day of which the source says it, where it keeps a day for each model.
    """

    vendor: str
    model: str
    kind: str
    price: Decimal
    tier: tuple[tuple[str, int], ...] = ()
    condition: str | None = None
    currency: str = "USD"
    since: str | None = None

    @property
    def key(self) -> tuple[Any, ...]:
        """What it is a price of."""
        return (self.vendor, self.model.lower(), self.kind, self.tier, self.condition, self.currency)


@dataclass(frozen=True, slots=True)
class Found:
    """What a reader found: the readings, and how many models it saw of providers that the book has no list of."""

    readings: tuple[Reading, ...]
    elsewhere: Mapping[str, int]


def load_json(path: Path) -> Any:
    """The file as JSON, its numbers exact. Raises SourceError."""
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    except OSError as error:
        raise SourceError(f"{path.name} is not there: {error.strerror}") from None
    except ValueError as error:
        raise SourceError(f"{path.name} is no JSON: {error}") from None


def table_of(value: Any, what: str) -> Mapping[str, Any]:
    """A table that must be there. Raises SourceError."""
    if not isinstance(value, Mapping) or not value:
        raise SourceError(f"{what} is no table, or empty: the source has another shape now")
    return value


def number(value: Any, what: str) -> Decimal:
    """A price. Raises SourceError for anything that is none."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        raise SourceError(f"{what} is {value!r}, no price")
    try:
        price = Decimal(value)
    except ArithmeticError:
        raise SourceError(f"{what} is {value!r}, no price") from None
    if not price.is_finite() or price < 0:
        raise SourceError(f"{what} is {value}, no price")
    return _DIGITS.plus(price).normalize()


def day_of(value: Any) -> str | None:
    """The day of a date or an instant that a source states; None for anything else."""
    try:
        return date.fromisoformat(str(value)[:10]).isoformat()
    except ValueError:
        return None


def known_columns(names: Iterable[str], known: frozenset[str], what: str) -> None:
    """Raises SourceError for a column that the reader never saw."""
    for name in names:
        if name not in known:
            raise SourceError(f"{what} has a new column, {name!r}")


def known_currency(name: Any, what: str) -> str:
    """Raises SourceError for a currency that no list of the book has."""
    if name not in CURRENCIES:
        raise SourceError(f"{what} is in {name}: only {' and '.join(sorted(CURRENCIES))} are known")
    return str(name)


def checked(found: Found) -> Found:
    """Raises SourceError for a source that holds too little to be one."""
    if len(found.readings) < LEAST:
        raise SourceError(f"only {len(found.readings)} prices: the source is empty or has moved")
    return found


def edges(above: int | None, *, long: bool) -> tuple[tuple[str, int], ...]:
    """The tier of a price where calls above so many tokens have another; none where all lengths cost the same."""
    if above is None:
        return ()
    return (("input_tokens_gt" if long else "input_tokens_le", above),)


def written(model: str, lifetime: str | None = None) -> str | None:
    """The condition of a cache write: Claude's are told apart by lifetime, five minutes where none is said."""
    lifetime = lifetime or ("5m" if "claude" in model.lower() else None)
    return f"ttl={lifetime}" if lifetime else None


def joined(*conditions: str | None) -> str | None:
    """Conditions that hold together, in one order."""
    return ";".join(sorted(filter(None, conditions))) or None
