"""Statistics over the calls of a group: sums, percentiles and extremes of a cost, a duration or tokens.

A percentile is the value of a call of the group (nearest rank), so money stays exact. SQLite sorts, on disk where a
group is large. Calls that do not know the number are left out of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tokenmeter.components import component_of
from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger.report.columns import NUMBERS
from tokenmeter.ledger.report.dialect import SQLITE, Dialect
from tokenmeter.money import EXACT, plain

if TYPE_CHECKING:
    import sqlite3

__all__ = ["Stat", "Value", "define", "measured", "parse_stats"]

# Calls that an older version wrote have no saving of their own.
_SAVED: Final = "coalesce(cache_saved, cache_saved(charges, cache_read_input_tokens))"
_MEASURES: Final[dict[str, str]] = {**NUMBERS, "cache_saved": _SAVED}
_MONEY: Final = frozenset({"cost", "vendor_cost", "list_cost", "cache_saved"})
_PERCENTILE: Final = re.compile(r"p([0-9]{1,2}|100)")
_NAMED: Final = {"min": 0, "median": 50, "max": 100}

Value = Decimal | int | float | None


class Stat(NamedTuple):
    """One statistic of one number; `percent` is None for the sum."""

    name: str
    measure: str
    percent: int | None

    @property
    def money(self) -> bool:
        """Whether it is an amount in the currency of the row."""
        return self.measure in _MONEY

    @property
    def label(self) -> str:
        """Its name in columns and JSON: `cost_p95`."""
        return f"{self.measure}_{self.name}"


def parse_stats(text: str) -> tuple[Stat, ...]:
    """Read `sum,p50,p95,max,p95:duration`: of the cost unless a number is named. Raises ConfigurationError."""
    found = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, measure = part.partition(":")
        measure = measure or "cost"
        percentile = _PERCENTILE.fullmatch(name)
        if measure not in _MEASURES:
            raise ConfigurationError(
                f"--stat: {measure!r} is not a number of a call; it is one of {', '.join(_MEASURES)}"
            )
        if percentile is None and name != "sum" and name not in _NAMED:
            raise ConfigurationError(f"--stat: {name!r} is not sum, min, median, max or p0 to p100")
        percent = int(percentile[1]) if percentile else _NAMED.get(name)
        found.append(Stat(name, measure, percent))
    return tuple(dict.fromkeys(found))


def define(connection: sqlite3.Connection) -> None:
    """Define the function that statistics call: `cache_saved`."""
    connection.create_function("cache_saved", 2, _cache_saved, deterministic=True)


def measured(
    connection: sqlite3.Connection, keys: Sequence[str], where: str, values: Sequence[Any], stats: Sequence[Stat],
    dialect: Dialect = SQLITE,
) -> dict[tuple[Any, ...], dict[str, Value]]:  # fmt: skip
    """The statistics of each group and currency: `(*keys, currency)` to label to value; None where no call knows.

    `keys` and `where` are SQL of this package with their `values` bound in that order.
    """
    if dialect is SQLITE:
        define(connection)
    answer: dict[tuple[Any, ...], dict[str, Value]] = {}
    groups = _Groups(keys, where, values)
    for measure in dict.fromkeys(stat.measure for stat in stats):
        wanted = [stat for stat in stats if stat.measure == measure]
        found = [
            *_sums(connection, groups, measure, wanted, dialect),
            *_ranked(connection, groups, measure, wanted, dialect),
        ]
        for group, label, value in found:
            answer.setdefault(group, {})[label] = Decimal(value) if measure in _MONEY and value is not None else value
    return answer


class _Groups(NamedTuple):
    """What calls are grouped by, and which: SQL, with the values bound in it."""

    keys: Sequence[str]
    where: str
    values: Sequence[Any]

    @property
    def names(self) -> tuple[str, ...]:
        return *(f"k{number}" for number in range(len(self.keys))), "currency"

    def calls(self, *columns: str) -> str:
        """A query of the calls, with these columns beside their group."""
        keys = (f"{key} AS {name}" for key, name in zip((*self.keys, "currency"), self.names, strict=True))
        return f"SELECT {', '.join((*keys, *columns))} FROM calls WHERE {self.where}"  # noqa: S608


_Found = tuple[tuple[Any, ...], str, Any]
"""A group, the label of a statistic, and its value as the engine says it."""


def _sums(
    connection: sqlite3.Connection, groups: _Groups, measure: str, wanted: Sequence[Stat], dialect: Dialect
) -> Iterator[_Found]:
    by = ", ".join(groups.names)
    total = dialect.sum_of_x if measure in _MONEY else "sum(x)"
    query = f"SELECT {by}, {total} FROM ({groups.calls(f'{_MEASURES[measure]} AS x')}) AS c GROUP BY {by}"  # noqa: S608
    for stat in wanted:
        if stat.percent is None:
            for row in connection.execute(query, groups.values):
                *group, value = tuple(row)
                yield _text(group), stat.label, value


def _ranked(
    connection: sqlite3.Connection, groups: _Groups, measure: str, wanted: Sequence[Stat], dialect: Dialect
) -> Iterator[_Found]:
    """Percentiles: the calls of a group in their order, and of these the ones that have the ranks."""
    ranks = {
        stat.label: f"n = {dialect.rank.format(percent=stat.percent)}" if stat.percent else "n = 1"
        for stat in wanted
        if stat.percent is not None
    }
    if not ranks:
        return
    x, by = _MEASURES[measure], ", ".join(groups.names)
    order = dialect.order(x) if measure in _MONEY else (x,)
    places = [f"o{number}" for number in range(len(order))]
    calls = groups.calls(f"{x} AS x", *(f"{term} AS {place}" for term, place in zip(order, places, strict=True)))
    query = (
        f"SELECT {by}, {', '.join(ranks.values())}, x FROM ("  # noqa: S608
        f"SELECT {by}, x, row_number() OVER (PARTITION BY {by} ORDER BY {', '.join(places)}) AS n, "
        f"count(*) OVER (PARTITION BY {by}) AS m FROM ({calls}) AS c WHERE x IS NOT NULL"
        f") AS c WHERE {' OR '.join(ranks.values())}"
    )
    for row in connection.execute(query, groups.values):
        *hits, value = tuple(row)[len(groups.names) :]
        for label, hit in zip(ranks, hits, strict=True):
            if hit:
                yield _text(tuple(row)[: len(groups.names)]), label, value


def _text(group: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(None if key is None else str(key) for key in group)


def _cache_saved(charges: str | None, cached: int | None) -> str | None:
    """What the cache took off one call: its cached input at the price of fresh input, less what it cost.

    None where that is not known: the usage does not tell what was read from a cache, the call is not priced by
    charges, or it read everything from the cache.
    """
    if charges is None or cached is None:
        return None
    lines = {line["component"]: line for line in json.loads(charges)}
    saved = Decimal(0)
    for name, line in lines.items():
        component = component_of(name)
        if component is None or ("cache_read" not in name and not name.startswith("cache_write")):
            continue
        fresh = lines.get(component.within or "input")
        if fresh is None or fresh["per"] != line["per"]:
            return None
        full = EXACT.multiply(Decimal(line["quantity"]), Decimal(fresh["rate"]))
        try:
            saved = EXACT.add(saved, EXACT.subtract(EXACT.divide(full, Decimal(line["per"])), Decimal(line["amount"])))
        except ArithmeticError:
            return None
    return plain(saved)
