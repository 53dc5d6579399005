"""The SQL of PostgreSQL where a report's differs from that of a file, and what its sums come from."""

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
from tokenmeter.ledger.report.sum_sources import COMPONENT, SumSource, rolled_keys
from tokenmeter.ledger.tables import COLUMNS, DIMS, ROLLED

__all__ = ["charges", "days", "dialect_of", "rows"]

_FORMS: Final = {"day": "YYYY-MM-DD", "week": 'IYYY-"W"IW', "month": "YYYY-MM"}
_COLUMNS: Final = {"amount": "amount", "vendor": "vendor_amount"}
_TAG_NAMES: Final = 'SELECT jsonb_object_keys(tags) COLLATE "C" AS key FROM tagsets UNION SELECT name FROM row_tags'


def _total(of: str, where: str | None) -> str:
    amount = _COLUMNS[of] if where is None else f"CASE WHEN {where} THEN {_COLUMNS[of]} END"
    return f"trim_scale(sum({amount}))::text"


def dialect_of(zone: Zone, first: datetime, last: datetime) -> Dialect:
    """The dialect of questions by this clock about calls between these instants."""
    changes = list(offsets(zone, first, last))
    off = by_change(changes, lambda offset: f"interval '{offset.total_seconds():.0f} seconds'", _before)
    local = f"((ended_at AT TIME ZONE 'UTC') + {off})"
    named = by_change(changes, lambda offset: f"'{iso_offset(offset)}'", _before)
    periods = {period: _period(period, local) for period in PERIODS if period != "hour"}
    periods["hour"] = f'(to_char({local}, \'YYYY-MM-DD"T"HH24:00\') || {named}) COLLATE "C"'
    scope = "(SELECT string_agg(part, ' / ' ORDER BY place) FROM json_array_elements_text(scope::json) "
    return Dialect(
        keys=KEYS | {"scope": f'{scope}WITH ORDINALITY AS s (part, place)) COLLATE "C"'} | periods,
        tag='((calls.tags ->> ?::text) COLLATE "C")',
        has_tag=f"SELECT 1 FROM ({_TAG_NAMES}) AS t WHERE key = ? LIMIT 1",
        tags=f"{_TAG_NAMES} ORDER BY 1",
        compared="{column} {operator} {value}::text::numeric",
        like="{column} {negated}ILIKE {value} ESCAPE ''",
        total=_total,
        sum_of_x="trim_scale(sum(x))::text",
        utc_day="((ended_at AT TIME ZONE 'UTC')::date - date '1970-01-01')",
        order=lambda amount: (amount,),
    )


def rows(dialect: Dialect) -> SumSource:
    """The rows of calls."""
    return SumSource("rows", "calls", dialect.keys, "ended_at", _at, dialect)


def days(dialect: Dialect) -> SumSource:
    """The roll-up by day."""
    return SumSource(
        "rollup", _days(), rolled_keys(dialect.keys, lambda one: _period(one, "day")), "day", _date, dialect
    )


def charges(dialect: Dialect) -> SumSource:
    """One row for each charge of a call, as `sum_sources.CHARGES` has them of a file."""
    return SumSource("charges", _charges(), {**dialect.keys, COMPONENT: "component"}, "ended_at", _at, dialect)


def _before(at: datetime) -> str:
    return f"ended_at < '{at.isoformat()}'"


def _at(at: datetime, zone: Zone) -> datetime:
    return at


@cache
def _charges() -> str:
    kept = {name: f"c.{name}" for name in (*COLUMNS, "calls", *MARKS)}
    kept |= {"amount": "coalesce((charge ->> 'amount')::numeric, c.amount)", "vendor_amount": "NULL::numeric"}
    kept |= {
        part.usage: f"CASE charge ->> 'component' WHEN '{part.name}' THEN (charge ->> 'quantity')::numeric END"
        for part in FIELDS
    }
    kept["component"] = "(charge ->> 'component') COLLATE \"C\""
    selected = ", ".join(f"{sql} AS {name}" for name, sql in kept.items())
    each = "LEFT JOIN LATERAL json_array_elements(c.charges::json) AS charge ON true"
    return f"(SELECT {selected} FROM calls AS c {each}) AS calls"


@cache
def _days() -> str:
    dims = ", ".join(f"d.{name}" for name in DIMS if name != "known")
    tokens = (f"CASE WHEN d.known & {1 << bit} <> 0 THEN r.{name} END AS {name}" for bit, name in enumerate(ROLLED))
    amounts = (
        f"CASE WHEN d.{currency} IS NOT NULL THEN r.{amount} END AS {amount}"
        for amount, currency in (("amount", "currency"), ("vendor_amount", "vendor_currency"))
    )
    return (
        f"(SELECT r.day, r.calls, t.tags, {dims}, {', '.join((*tokens, *amounts))} FROM days AS r "
        "JOIN dims AS d ON d.id = r.dims JOIN tagsets AS t ON t.id = r.tagset WHERE r.calls > 0) AS calls"
    )


def _period(period: str, day: str) -> str:
    return f"to_char({day}, '{_FORMS[period]}') COLLATE \"C\""


def _date(at: datetime, zone: Zone) -> date:
    return zone.local(at).date()
