"""Answers questions over sealed months by DuckDB, equal to the last digit to what SQLite answers from the rows.

The sums are those of `ledger/report/query.py` in DuckDB's SQL: decimals add up exactly, and amounts with finer digits
are counted by their text and added up in Python. A question that DuckDB would not answer in the same way (`like`,
which has another idea of case; conversions; sums of floating-point numbers) is left to SQLite: `ask_duckdb` answers
None.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from tokenmeter.ledger.report.answer import LedgerReport, ReportRow, completed, in_order, totals_of
from tokenmeter.ledger.report.columns import KEYS, NUMBERS, TAG, TOKENS
from tokenmeter.ledger.report.periods import PERIODS
from tokenmeter.ledger.report.question import Question
from tokenmeter.ledger.report.selection import refuse_tag
from tokenmeter.ledger.report.stats import Stat, Value
from tokenmeter.ledger.report.sum_sources import COMPONENT, microseconds
from tokenmeter.ledger.schema import LedgerError
from tokenmeter.ledger.sealed.duckdb_view import opened
from tokenmeter.ledger.sealed.in_sqlite import losses_of
from tokenmeter.ledger.sealed.manifest import SealedMonth, sealed_months
from tokenmeter.money import EXACT, plain

__all__ = ["ask_duckdb"]

_MONEY: Final = frozenset({"cost", "vendor_cost", "list_cost"})
_FLOATS: Final = frozenset({"duration", "time_to_first_chunk"})
_WILD: Final = frozenset("*?[")
"""Characters by which DuckDB takes a path for a pattern."""

_KEYS: Final[dict[str, str]] = {
    **KEYS,
    "scope": "array_to_string(scope, ' / ')",
    "stream": "CASE WHEN stream = false THEN 'no' ELSE 'yes' END",
    **{period: f"calls.{period}_name" for period in PERIODS},
}
_TAG: Final = "calls.tags[?]"


def ask_duckdb(path: str, question: Question) -> LedgerReport | None:
    """The answer from sealed months; None where DuckDB is not installed or does not answer this in the same way.

    Raises ConfigurationError for an unknown key, LedgerError for a file that cannot be read.
    """
    try:
        import duckdb
    except ImportError:
        return None
    months = sealed_months(path)
    if not _answers(question, months):
        return None
    try:
        with opened(duckdb, months, question) as connection:
            return _Asking(connection, path, question, months).report()
    except duckdb.OutOfRangeException:  # a sum that no decimal holds
        return None
    except (duckdb.IOException, duckdb.InvalidInputException) as error:
        raise LedgerError(f"{path} cannot be read: restore it from a copy ({error})") from error


def _answers(question: Question, months: Sequence[SealedMonth]) -> bool:
    """Whether DuckDB's answer is the same as SQLite's."""
    if question.conversion is not None or any(_WILD & {*str(month.path)} for month in months):
        return False
    where = question.where
    if COMPONENT in question.by:
        return False
    inexact = any(month.inexact for month in months)
    if where is not None and (" LIKE " in where.sql or (inexact and _MONEY & {*where.names})):
        return False
    if where is not None and any(_is_fine(value) for value in where.values):
        return False
    return not any(
        stat.measure not in NUMBERS or (inexact and stat.money) or (stat.percent is None and stat.measure in _FLOATS)
        for stat in question.stats
    )


def _is_fine(value: object) -> bool:
    """Whether a bound value could be an amount with digits that DECIMAL(38,12) has no room for."""
    if not isinstance(value, str):
        return False
    try:
        number = Decimal(value)
    except ArithmeticError:
        return False
    digits = number.as_tuple()
    return not number.is_finite() or int(digits.exponent) < -12 or number.adjusted() > 25


class _Asking:
    """One question to one connection."""

    def __init__(self, connection: Any, path: str, question: Question, months: Sequence[SealedMonth]) -> None:
        self._connection, self._path, self._question, self._months = connection, path, question, months
        where = question.where
        if any(month.rows for month in months):
            self._tags = sorted({tag for month in months for tag in month.tags})
            for tag in () if where is None else where.tags:
                self._check_tag(tag, "--where", (*KEYS, *NUMBERS))
        else:
            self._tags = []
        self._where, self._values = self._conditions()
        self._keys, self._key_values = self._group_keys()

    def report(self) -> LedgerReport:
        """The answer."""
        question, months = self._question, self._months
        rows = self._rows()
        totals = totals_of(rows)
        if question.stats:
            self._add_stats(rows, totals)
        lost = losses_of(tuple(months))
        since = None if question.since is None else microseconds(question.since)
        until = None if question.until is None else microseconds(question.until)
        first = min((month.first for month in months if month.first is not None), default=None)
        last = max((month.last for month in months if month.last is not None), default=None)
        return LedgerReport(
            path=self._path,
            question=question,
            rows=in_order(rows, question),
            totals=totals,
            lost=sum(
                calls
                for first_us, last_us, calls, _ in lost
                if (since is None or last_us >= since) and (until is None or first_us < until)
            ),
            reasons=tuple(self._unpriced_reasons()),
            source="duckdb",
            held=sum(month.rows for month in months),
            first=self._shown(first),
            last=self._shown(last),
        )

    def _shown(self, at: datetime | None) -> str | None:
        return None if at is None else self._question.zone.local(at.replace(microsecond=0)).isoformat()

    def _check_tag(self, tag: str, flag: str, names: Iterable[str] = KEYS) -> None:
        if self._tags and tag not in self._tags:
            refuse_tag(tag, flag, self._tags, names)

    def _conditions(self) -> tuple[str, list[Any]]:
        """The question's conditions as SQL, and the values bound in it."""
        question = self._question
        conditions = ["end_state <> 'delegated'"]
        values: list[Any] = []
        for at, compare in ((question.since, ">="), (question.until, "<")):
            if at is not None:
                conditions.append(f"ended_at {compare} make_timestamptz(CAST(? AS BIGINT))")
                values.append(microseconds(at))
        for names, column in ((question.providers, "provider"), (question.models, "model")):
            if names:
                conditions.append(f"{column} IN ({', '.join('?' * len(names))})")
                values += names
        for key, value in question.tags:
            conditions.append(f"{_TAG} = ?")
            values += [key, value]
        if (where := question.where) is not None:
            sql = where.sql.replace(TAG, _TAG)  # made of names of `columns.py`, with all of a user's texts bound
            for name in KEYS.keys() & {*where.names}:
                sql = sql.replace(KEYS[name], _KEYS[name])
            conditions.append(f"({sql})")
            values += where.values
        return " AND ".join(conditions), values

    def _group_keys(self) -> tuple[list[str], list[str]]:
        keys: list[str] = []
        values: list[str] = []
        for name in self._question.by:
            if name in _KEYS:
                keys.append(_KEYS[name])
                continue
            tag = name.removeprefix("tag:")
            self._check_tag(tag, f"--by {name}")
            keys.append(_TAG)
            values.append(tag)
        return keys, values

    def _rows(self) -> list[ReportRow]:
        count = len(self._keys)
        places = ", ".join(str(number + 1) for number in range(count + 2))
        names = [*(f"key_{number}" for number in range(count)), "currency", "usage_source", *_SUMS]
        selected = ", ".join([*self._keys, "currency", "usage_source", *_SUMS.values()])
        query = f"SELECT {selected} FROM calls WHERE {self._where} GROUP BY {places}"  # noqa: S608
        found: dict[tuple[Any, ...], ReportRow] = {}
        cursor = self._connection.execute(query, [*self._key_values, *self._values])
        while part := cursor.fetchone():
            group = tuple(None if key is None else str(key) for key in part[:count])
            row = found.setdefault((group, part[count]), ReportRow(group, part[count]))
            row.add(part[count + 1], _part(dict(zip(names, part, strict=True))))
        return completed(list(found.values()))

    def _unpriced_reasons(self) -> list[tuple[str | None, int]]:
        query = (
            f"SELECT cost_reason, count(*) FROM calls WHERE {self._where} AND status = 'unpriced' "  # noqa: S608
            "GROUP BY 1 ORDER BY 2 DESC, 1 NULLS FIRST"
        )
        return [(row[0], row[1]) for row in self._connection.execute(query, self._values).fetchall()]

    def _add_stats(self, rows: Sequence[ReportRow], totals: Sequence[ReportRow]) -> None:
        by_group = self._measured(self._keys, self._key_values)
        together = by_group if not self._keys else self._measured([], [])
        for some, stats in ((rows, by_group), (totals, together)):
            for row in some:
                found = stats.get((*row.group, row.currency), {})
                row.stats = {stat.label: found.get(stat.label) for stat in self._question.stats}

    def _measured(self, keys: Sequence[str], key_values: Sequence[str]) -> dict[tuple[Any, ...], dict[str, Value]]:
        """The statistics of each group and currency: `(*keys, currency)` to label to value."""
        answer: dict[tuple[Any, ...], dict[str, Value]] = {}
        names = ", ".join([*(f"k{number}" for number in range(len(keys))), "currency"])
        selected = ", ".join([*(f"{key} AS k{number}" for number, key in enumerate(keys)), "currency"])
        for measure in dict.fromkeys(stat.measure for stat in self._question.stats):
            stats = [stat for stat in self._question.stats if stat.measure == measure]
            calls = f"SELECT {selected}, {NUMBERS[measure]} AS x FROM calls WHERE {self._where}"  # noqa: S608
            columns = ", ".join(map(_stat_sql, stats))
            query = (
                f"SELECT {names}, {columns} FROM (SELECT {names}, x, "  # noqa: S608
                f"row_number() OVER (PARTITION BY {names} ORDER BY x NULLS LAST) AS n, "
                f"count(x) OVER (PARTITION BY {names}) AS m FROM ({calls})) GROUP BY {names}"
            )
            for row in self._connection.execute(query, [*key_values, *self._values]).fetchall():
                group = tuple(None if key is None else str(key) for key in row[: len(keys) + 1])
                values = answer.setdefault(group, {})
                for stat, value in zip(stats, row[len(keys) + 1 :], strict=True):
                    values[stat.label] = Decimal(plain(value)) if stat.money and value is not None else value
        return answer


def _stat_sql(stat: Stat) -> str:
    if stat.percent is None:
        return "sum(x)"
    return f"max(x) FILTER (WHERE n = greatest(1, (m * {stat.percent} + 99) // 100))"


_SINGLE: Final = "confidence = 'single-source'"


def _money(name: str, column: str, where: str | None = None) -> dict[str, str]:
    """Two sums as SQL: of decimals that are exact, and of the texts of the others how often each is there."""
    more = "" if where is None else f" AND {where}"
    return {
        name: f"sum({column}) FILTER (WHERE {column}_text IS NULL{more})",
        f"{name}_texts": f"histogram({column}_text) FILTER (WHERE {column}_text IS NOT NULL{more})",
    }


_SUMS: Final = {
    "calls": "count(*)",
    "errors": "count(*) FILTER (WHERE end_state = 'error')",
    "attempts": "sum(attempt_count)",
    **_money("amount", "amount"),
    **_money("vendor", "vendor_amount", "vendor_currency = currency"),
    "gaps": "count(*) FILTER (WHERE vendor_gap)",
    **_money("stale", "amount", "stale"),
    **_money("single", "amount", _SINGLE),
    **{
        name: sql for token in TOKENS for name, sql in ((token, f"sum({token})"), (f"{token}_known", f"count({token})"))
    },
}
"""The sums of a group, as SQL, by the names of `ReportRow.add`."""


def _part(part: dict[str, Any]) -> Mapping[str, Any]:
    """The sums of a group as SQLite gives them: exact amounts as texts."""
    for name in ("amount", "vendor", "stale", "single"):
        total: Decimal | None = part[name]
        for text, calls in (part[f"{name}_texts"] or {}).items():
            some = EXACT.multiply(Decimal(text), Decimal(calls))
            total = some if total is None else EXACT.add(total, some)
        part[name] = None if total is None else plain(total)
    return part
