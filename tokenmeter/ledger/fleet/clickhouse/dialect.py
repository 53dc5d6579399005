"""The SQL of ClickHouse where a report's differs from that of a file, and what its sums come from.

Its text sorts by bytes, its sums of decimals are exact, and what is unknown is NULL, as in a file. Periods are named by
the clock of the question as SQL (`fleet/clock.py`).
"""

from __future__ import annotations

from datetime import date, datetime
from functools import cache
from typing import Final

from tokenmeter.components import FIELDS
from tokenmeter.ledger.calls_view import MARKS
from tokenmeter.ledger.fleet.clock import by_change, iso_offset, offsets
from tokenmeter.ledger.report.columns import KEYS
from tokenmeter.ledger.report.dialect import Dialect
from tokenmeter.ledger.report.periods import PERIODS, Zone
from tokenmeter.ledger.report.sum_sources import COMPONENT, SumSource, microseconds, rolled_keys
from tokenmeter.ledger.tables import COLUMNS

__all__ = ["QUANTITY", "charges", "days", "dialect_of", "part_of", "rows"]

_FORMS: Final = {"day": "%Y-%m-%d", "week": "%G-W%V", "month": "%Y-%m"}
_COLUMNS: Final = {"amount": "amount", "vendor": "vendor_amount"}
_TAG: Final = "arrayElementOrNull(mapValues(calls.tags), indexOf(mapKeys(calls.tags), ?))"
# `lower` is of ASCII; what is a letter elsewhere stays as it is. A backslash is no escape.
_LIKE: Final = "lower({column}) {negated}LIKE lower(replaceAll({value}, '\\\\', '\\\\\\\\'))"


def _total(of: str, where: str | None) -> str:
    amount = _COLUMNS[of] if where is None else f"CASE WHEN {where} THEN {_COLUMNS[of]} END"
    return f"toString(sum({amount}))"


def dialect_of(zone: Zone, first: datetime, last: datetime) -> Dialect:
    """The dialect of questions by this clock about calls between these instants."""
    changes = list(offsets(zone, first, last))
    off = by_change(changes, lambda offset: f"{offset.total_seconds():.0f}", _before)
    local = f"(ended_at + toIntervalSecond({off}))"
    named = by_change(changes, lambda offset: f"'{iso_offset(offset)}'", _before)
    periods = {period: _period(period, local) for period in PERIODS if period != "hour"}
    periods["hour"] = f"concat(formatDateTime({local}, '%Y-%m-%dT%H:00'), {named})"
    scope = "if(isNull(scope), NULL, arrayStringConcat(JSONExtract(ifNull(scope, '[]'), 'Array(String)'), ' / '))"
    return Dialect(
        keys=KEYS | {"scope": scope} | periods,
        tag=_TAG,
        has_tag="SELECT 1 FROM calls WHERE mapContains(tags, ?) LIMIT 1",
        tags="SELECT DISTINCT arrayJoin(mapKeys(tags)) AS key FROM calls ORDER BY key",
        compared="{column} {operator} toDecimal256({value}, 38)",
        like=_LIKE,
        total=_total,
        sum_of_x="toString(sum(x))",
        utc_day="intDiv(toUnixTimestamp64Micro(ended_at), 86400000000)",
        order=lambda amount: (amount,),
        rank="intDiv(m * {percent} + 99, 100)",
    )


def rows(dialect: Dialect) -> SumSource:
    """The rows of calls."""
    return SumSource("rows", "calls", dialect.keys, "ended_at", _at, dialect)


def days(dialect: Dialect) -> SumSource:
    """The sums by day."""
    table = "(SELECT * FROM days) AS calls"
    return SumSource("rollup", table, rolled_keys(dialect.keys, lambda one: _period(one, "day")), "day", _date, dialect)


def charges(dialect: Dialect) -> SumSource:
    """One row for each charge of a call, as `sum_sources.CHARGES` has them of a file."""
    return SumSource("charges", _charges(), {**dialect.keys, COMPONENT: "component"}, "ended_at", _at, dialect)


def part_of(charge: str, name: str) -> str:
    """A text or a number of a charge, as text."""
    return f"trim(BOTH '\"' FROM JSONExtractRaw({charge}, '{name}'))"


def _exact(charge: str, name: str) -> str:
    return f"toDecimal256OrNull({part_of(charge, name)}, 38)"


QUANTITY: Final = _exact("charge", "quantity")


def _at(at: datetime, zone: Zone) -> datetime:
    return at


def _date(at: datetime, zone: Zone) -> date:
    return zone.local(at).date()


def _before(at: datetime) -> str:
    return f"ended_at < fromUnixTimestamp64Micro({microseconds(at)}, 'UTC')"


def _period(period: str, day: str) -> str:
    return f"formatDateTime({day}, '{_FORMS[period]}')"


@cache
def _charges() -> str:
    kept = {name: f"c.{name}" for name in (*COLUMNS, "calls", *MARKS)}
    kept |= {
        "amount": f"coalesce({_exact('charge', 'amount')}, c.amount)",
        "vendor_amount": "CAST(NULL, 'Nullable(Decimal(76, 38))')",
        "component": f"if(charge = '', NULL, {part_of('charge', 'component')})",
    }
    kept |= {part.usage: f"if({part_of('charge', 'component')} = '{part.name}', {QUANTITY}, NULL)" for part in FIELDS}
    selected = ", ".join(f"{sql} AS {name}" for name, sql in kept.items())
    each = "LEFT ARRAY JOIN JSONExtractArrayRaw(ifNull(c.charges, '[]')) AS charge"
    return f"(SELECT {selected} FROM calls AS c {each}) AS calls"
