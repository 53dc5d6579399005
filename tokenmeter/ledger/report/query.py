"""Sums over a ledger: a question by names, tags and periods becomes SQL, its answer rows.

Money is summed exactly, by an aggregate of our own over the exact text, never by SQLite's floating point. A row is
one group in one currency; the calls of a group whose cost is not known are a row of their own, with no currency
and no cost, and the group's other rows say that they are not complete. Delegated calls carry nothing themselves
and are left out. A call belongs to the period in which it ended.

Where the question names a currency and the user's own rates, each sum stands beside itself in that currency
(`ledger/report/conversion.py`); the original stays what it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from tokenmeter.cost import STALE
from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger.report.causes import Comparison
from tokenmeter.ledger.report.columns import KEYS, NUMBERS, TAG, TOKENS, register
from tokenmeter.ledger.report.conversion import Conversion, ConvertedParts
from tokenmeter.ledger.report.periods import PERIODS, Zone
from tokenmeter.ledger.report.stats import Stat, Value, measured
from tokenmeter.ledger.report.where import CallFilter, compare_exactly
from tokenmeter.ledger.schema import open_for_reading
from tokenmeter.money import EXACT
from tokenmeter.record import VENDOR_GAP

if TYPE_CHECKING:
    import sqlite3

__all__ = [
    "KEYS",
    "TOKENS",
    "LedgerReport",
    "Question",
    "ReportRow",
    "Tally",
    "ask",
    "count_lost",
    "select",
    "unpriced_reasons",
]

_SOURCES: Final = ("reported", "partial", "counted", "estimated", "none")


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked of a ledger. `by` holds keys of `KEYS`, tag names, or `tag:NAME` for a tag named like a key.

    `since` is included, `until` is not; `providers` and `models` are alternatives, `tags` must all hold.
    """

    by: tuple[str, ...]
    zone: Zone
    since: datetime | None = None
    until: datetime | None = None
    providers: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    where: CallFilter | None = None
    stats: tuple[Stat, ...] = ()
    conversion: Conversion | None = None


@dataclass
class Tally:
    """Calls of one source within a row."""

    calls: int = 0
    cost: Decimal | None = None


@dataclass
class ReportRow:
    """Sums of one group in one currency; `currency` and `cost` are None for its calls that have no known cost.

    `tokens` holds sums of what is known (None where no call knows), `unknown` how many calls don't know.
    `shares` are fractions of the row's own calls, by the source of their usage; a row without a currency is all
    `unpriced`. `converted` is the cost in the currency asked for, None where no rate reaches any of it; `unconverted`
    counts the row's calls that no rate reaches. `vendor_cost` is what vendors reported in this currency, None where
    none did; `vendor_gaps` counts calls for which it is more than 1% off the price book's. `stale_cost` is the part of
    the cost that is by prices no source has shown for long, `single_source_cost` by prices of one source alone. `stats`
    holds the statistics asked for by label, `previous` the same group and currency in the period compared with.
    """

    group: tuple[str | None, ...]
    currency: str | None
    cost: Decimal | None = None
    calls: int = 0
    errors: int = 0
    attempts: int | None = None
    tokens: dict[str, int | None] = field(default_factory=lambda: dict.fromkeys(TOKENS))
    unknown: dict[str, int] = field(default_factory=lambda: dict.fromkeys(TOKENS, 0))
    sources: dict[str, Tally] = field(default_factory=dict)
    shares: dict[str, Decimal] = field(default_factory=dict)
    complete: bool = True
    converted: Decimal | None = None
    unconverted: int = 0
    vendor_cost: Decimal | None = None
    vendor_gaps: int = 0
    stale_cost: Decimal | None = None
    single_source_cost: Decimal | None = None
    stats: Mapping[str, Value] = field(default_factory=dict)
    previous: ReportRow | None = None

    @property
    def change(self) -> Decimal | None:
        """The cost less that of the earlier period, in which a group without a row had no calls; None if unpriced."""
        if self.cost is None:
            return None
        before = None if self.previous is None else self.previous.cost
        return self.cost if before is None else EXACT.subtract(self.cost, before)

    def add(self, source: str, part: Mapping[str, Any]) -> None:
        """Add the sums of some calls of one source."""
        amount = _decimal(part["amount"])
        self.calls += part["calls"]
        self.errors += part["errors"]
        self.attempts = _plus(self.attempts, part["attempts"])
        self.cost = _exact_plus(self.cost, amount)
        parts = ConvertedParts.read(part["converted"])
        self.converted = _exact_plus(self.converted, parts.amount)
        self.unconverted += parts.missing
        self.vendor_cost = _exact_plus(self.vendor_cost, _decimal(part["vendor"]))
        self.vendor_gaps += part["gaps"]
        self.stale_cost = _exact_plus(self.stale_cost, _decimal(part["stale"]))
        self.single_source_cost = _exact_plus(self.single_source_cost, _decimal(part["single"]))
        tally = self.sources.setdefault(source, Tally())
        tally.calls += part["calls"]
        tally.cost = _exact_plus(tally.cost, amount)
        for name in TOKENS:
            self.tokens[name] = _plus(self.tokens[name], part[name])
            self.unknown[name] += part["calls"] - part[f"{name}_known"]


@dataclass(frozen=True, kw_only=True)
class LedgerReport:
    """The answer: rows, totals by currency, and what a reader must know to trust them.

    `held` is how many calls the ledger holds in all, from `first` to `last`; `lost` counts calls of the period
    that could not be written.
    """

    path: str
    question: Question
    rows: tuple[ReportRow, ...]
    totals: tuple[ReportRow, ...]
    lost: int
    held: int
    first: str | None
    last: str | None
    reasons: tuple[tuple[str | None, int], ...] = ()
    """Why calls are unpriced and how many for each reason, the most frequent first."""
    comparison: Comparison | None = None
    left_out: int = 0
    """How many rows were left out because fewer were asked for; the totals have them."""


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def _plus(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else one + other


def _exact_plus(one: Decimal | None, other: Decimal | None) -> Decimal | None:
    return other if one is None else one if other is None else EXACT.add(one, other)


class _ExactSum:
    """SQL aggregate: the exact sum of decimal texts; NULL of none."""

    def __init__(self) -> None:
        self._sum: Decimal | None = None

    def step(self, amount: str | None) -> None:
        if amount is not None:
            self._sum = _exact_plus(self._sum, Decimal(amount))

    def finalize(self) -> str | None:
        return None if self._sum is None else str(self._sum)


@contextmanager
def select(path: str, question: Question) -> Iterator[tuple[sqlite3.Connection, str, list[Any]]]:
    """Open a ledger for one snapshot: the connection, and the question's conditions as SQL with its values.

    Raises LedgerError for a file that cannot be read.
    """
    import sqlite3

    with closing(open_for_reading(path)) as connection:
        connection.row_factory = sqlite3.Row
        connection.create_aggregate("exact_sum", 1, _ExactSum)  # type: ignore[arg-type]
        register(connection, question.zone)
        connection.create_function("compare_exactly", 2, compare_exactly, deterministic=True)
        if question.conversion is not None:
            connection.create_aggregate("converted_sum", 3, question.conversion.aggregate)  # type: ignore[arg-type]
        connection.execute("BEGIN")  # one snapshot for all that follows
        for tag in () if question.where is None else question.where.tags:
            _known(connection, tag, "--where", (*KEYS, *NUMBERS))
        where, values = _where(question)
        yield connection, where, values


def ask(path: str, question: Question) -> LedgerReport:
    """Answer a question from a ledger, as of one instant, also while it is being written.

    Raises ConfigurationError for an unknown key, LedgerError for a file that cannot be read.
    """
    with select(path, question) as (connection, where, values):
        rows = _rows(connection, question)
        totals = _totals(rows)
        if question.stats:
            _add_stats(connection, question, rows, totals)
        held = connection.execute("SELECT count(*), min(ended_us), max(ended_us) FROM calls").fetchone()
        return LedgerReport(
            path=path,
            question=question,
            rows=_sorted(rows, question),
            totals=totals,
            lost=count_lost(connection, question),
            reasons=tuple(unpriced_reasons(connection, where, values)),
            held=held[0],
            first=_shown(held[1], question.zone),
            last=_shown(held[2], question.zone),
        )


def unpriced_reasons(
    connection: sqlite3.Connection, where: str = "end_state <> 'delegated'", values: Sequence[Any] = ()
) -> list[tuple[str | None, int]]:
    """Why calls are unpriced and how many for each reason, most frequent first. `where` is SQL of this module."""
    query = (
        f"SELECT cost_reason, count(*) FROM calls WHERE {where} AND status = 'unpriced' "  # noqa: S608
        "GROUP BY 1 ORDER BY 2 DESC, 1"
    )
    return [(row[0], row[1]) for row in connection.execute(query, list(values))]


def _shown(us: int | None, zone: Zone) -> str | None:
    from datetime import UTC

    return None if us is None else zone.local(datetime.fromtimestamp(us // 1_000_000, UTC)).isoformat()


def _sums(connection: sqlite3.Connection) -> str:
    """The sums of a group, as SQL. A ledger that an older version wrote may lack a component's column: unknown."""
    columns = {row[1] for row in connection.execute("PRAGMA table_info(calls)")}
    return ", ".join(
        (
            "count(*) AS calls",
            "sum(end_state = 'error') AS errors",
            "sum(attempt_count) AS attempts",
            "exact_sum(amount) AS amount",
            "exact_sum(CASE WHEN vendor_currency = currency THEN vendor_amount END) AS vendor",
            f"sum(coalesce(instr(cost_flags, '{VENDOR_GAP}') > 0, 0)) AS gaps",
            f"exact_sum(CASE WHEN instr(cost_flags, '\"{STALE}\"') > 0 THEN amount END) AS stale",
            "exact_sum(CASE WHEN confidence = 'single-source' THEN amount END) AS single",
            *(
                f"sum({name}) AS {name}, count({name}) AS {name}_known"
                if name in columns
                else f"NULL AS {name}, 0 AS {name}_known"
                for name in TOKENS
            ),
        )
    )


def _rows(connection: sqlite3.Connection, question: Question) -> list[ReportRow]:
    keys, key_values = _keys(connection, question.by)
    where, where_values = _where(question)
    count = len(question.by)
    places = ", ".join(str(number + 1) for number in range(count + 2))
    converted = "NULL" if question.conversion is None else "converted_sum(amount, currency, ended_us)"
    selected = ", ".join([*keys, "currency", "usage_source", _sums(connection), f"{converted} AS converted"])
    # Expressions are this module's own; everything a user gave is bound.
    query = f"SELECT {selected} FROM calls WHERE {where} GROUP BY {places}"  # noqa: S608
    found: dict[tuple[Any, ...], ReportRow] = {}
    for part in connection.execute(query, [*key_values, *where_values]):
        group = tuple(None if key is None else str(key) for key in part[:count])
        currency, source = part[count], part[count + 1]
        row = found.setdefault((group, currency), ReportRow(group, currency))
        row.add(source, part)
    return _completed(list(found.values()))


def _add_stats(
    connection: sqlite3.Connection, question: Question, rows: Sequence[ReportRow], totals: Sequence[ReportRow]
) -> None:
    where, values = _where(question)
    keys, key_values = _keys(connection, question.by)
    by_group = measured(connection, keys, where, [*key_values, *values], question.stats)
    together = by_group if not keys else measured(connection, (), where, values, question.stats)
    for some, stats in ((rows, by_group), (totals, together)):
        for row in some:
            found = stats.get((*row.group, row.currency), {})
            row.stats = {stat.label: found.get(stat.label) for stat in question.stats}


def _keys(connection: sqlite3.Connection, by: Sequence[str]) -> tuple[list[str], list[str]]:
    """The SQL of each group key, and the values bound in it. Raises ConfigurationError for an unknown key."""
    expressions: list[str] = []
    values: list[str] = []
    for name in by:
        if name in KEYS:
            expressions.append(KEYS[name])
            continue
        tag = name.removeprefix("tag:")
        _known(connection, tag, f"--by {name}")
        expressions.append(TAG)
        values.append(tag)
    return expressions, values


def _known(connection: sqlite3.Connection, tag: str, flag: str, names: Iterable[str] = KEYS) -> None:
    if connection.execute("SELECT 1 FROM calls, json_each(calls.tags) WHERE key = ? LIMIT 1", [tag]).fetchone():
        return
    if not connection.execute("SELECT 1 FROM calls LIMIT 1").fetchone():
        return  # nothing to group yet
    import difflib

    tags = [row[0] for row in connection.execute("SELECT DISTINCT key FROM calls, json_each(calls.tags) ORDER BY 1")]
    near = difflib.get_close_matches(tag, [*names, *tags], n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    known = ", ".join(tags[:50]) if tags else "none"
    raise ConfigurationError(f"{flag}: no call has this tag; {hint}Keys are {', '.join(names)}; tags here: {known}")


def _where(question: Question) -> tuple[str, list[Any]]:
    conditions = ["end_state <> 'delegated'"]
    values: list[Any] = []
    for at, compare in ((question.since, ">="), (question.until, "<")):
        if at is not None:
            conditions.append(f"ended_us {compare} ?")
            values.append(_microseconds(at))
    for names, column in ((question.providers, "provider"), (question.models, "model")):
        if names:
            conditions.append(f"{column} IN ({', '.join('?' * len(names))})")
            values += names
    for key, value in question.tags:
        conditions.append(f"{TAG} = ?")
        values += [key, value]
    if question.where is not None:
        conditions.append(f"({question.where.sql})")
        values += question.where.values
    return " AND ".join(conditions), values


def _microseconds(at: datetime) -> int:
    from datetime import UTC, timedelta

    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def count_lost(connection: sqlite3.Connection, question: Question) -> int:
    """How many calls of the question's period could not be written."""
    since = -(2**63) if question.since is None else _microseconds(question.since)
    until = 2**63 - 1 if question.until is None else _microseconds(question.until)
    found = connection.execute(
        "SELECT coalesce(sum(calls), 0) FROM losses WHERE last_us >= ? AND first_us < ?", [since, until]
    )
    lost: int = found.fetchone()[0]
    return lost


def _by_group(rows: Sequence[ReportRow]) -> Iterator[list[ReportRow]]:
    groups: dict[tuple[str | None, ...], list[ReportRow]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    yield from groups.values()


def _completed(rows: list[ReportRow]) -> list[ReportRow]:
    """Fill in what a row can only say with its group's other rows in view: shares, and whether it is complete."""
    for group in _by_group(rows):
        unpriced = sum(row.calls for row in group if row.currency is None)
        for row in group:
            row.complete = not unpriced
            row.shares = {name: Decimal(0) for name in (*_SOURCES, "unpriced")}
            if row.currency is None:
                row.shares["unpriced"] = Decimal(1)
                continue
            for source, tally in row.sources.items():
                row.shares[source] = _share(tally.calls, row.calls)
    return rows


def _share(part: int, whole: int) -> Decimal:
    return EXACT.scaleb(Decimal(round(part * 10_000 / whole)), -4)


def _totals(rows: Sequence[ReportRow]) -> tuple[ReportRow, ...]:
    totals: dict[str | None, ReportRow] = {}
    for row in rows:
        total = totals.setdefault(row.currency, ReportRow((), row.currency))
        total.calls += row.calls
        total.errors += row.errors
        total.attempts = _plus(total.attempts, row.attempts)
        total.cost = _exact_plus(total.cost, row.cost)
        total.converted = _exact_plus(total.converted, row.converted)
        total.unconverted += row.unconverted
        total.vendor_cost = _exact_plus(total.vendor_cost, row.vendor_cost)
        total.vendor_gaps += row.vendor_gaps
        total.stale_cost = _exact_plus(total.stale_cost, row.stale_cost)
        total.single_source_cost = _exact_plus(total.single_source_cost, row.single_source_cost)
        for source, tally in row.sources.items():
            sum_ = total.sources.setdefault(source, Tally())
            sum_.calls += tally.calls
            sum_.cost = _exact_plus(sum_.cost, tally.cost)
        for name in TOKENS:
            total.tokens[name] = _plus(total.tokens[name], row.tokens[name])
            total.unknown[name] += row.unknown[name]
    return tuple(sorted(_completed(list(totals.values())), key=_currency_order))


def _currency_order(row: ReportRow) -> tuple[bool, str]:
    return row.currency is None, row.currency or ""


def _sorted(rows: Sequence[ReportRow], question: Question) -> tuple[ReportRow, ...]:
    """Periods run forward; else each currency's dearest first. What is unpriced or unnamed stands last."""
    names: Callable[[ReportRow], Any] = lambda row: [(key is None, key or "") for key in row.group]  # noqa: E731
    if any(key in PERIODS for key in question.by):
        return tuple(sorted(rows, key=lambda row: (names(row), _currency_order(row))))
    dearest = sorted(rows, key=lambda row: (_currency_order(row), -(row.cost or Decimal(0)), -row.calls, names(row)))
    return tuple(dearest)
