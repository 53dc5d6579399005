"""The answer to a question: rows and totals of sums, completed and put in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from tokenmeter.ledger.report.causes import Comparison
from tokenmeter.ledger.report.columns import TOKENS
from tokenmeter.ledger.report.periods import PERIODS
from tokenmeter.ledger.report.question import Question
from tokenmeter.ledger.report.stats import Value
from tokenmeter.money import EXACT

__all__ = ["LedgerReport", "ReportRow", "Tally", "completed", "in_order", "totals_of"]

_SOURCES: Final = ("reported", "partial", "counted", "estimated", "none")


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
    source: str = "rows"
    """What answered: the `rows` of calls, the `rollup` by day, or sealed months: `duckdb` or a copy (`sealed`)."""
    comparison: Comparison | None = None
    left_out: int = 0
    """How many rows were left out because fewer were asked for; the totals have them."""


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def _plus(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else one + other


def _exact_plus(one: Decimal | None, other: Decimal | None) -> Decimal | None:
    return other if one is None else one if other is None else EXACT.add(one, other)


def _by_group(rows: Sequence[ReportRow]) -> Iterator[list[ReportRow]]:
    groups: dict[tuple[str | None, ...], list[ReportRow]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    yield from groups.values()


def completed(rows: list[ReportRow]) -> list[ReportRow]:
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


def totals_of(rows: Sequence[ReportRow]) -> tuple[ReportRow, ...]:
    """One row for each currency, and one for all calls that have none."""
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
    return tuple(sorted(completed(list(totals.values())), key=_currency_order))


def _currency_order(row: ReportRow) -> tuple[bool, str]:
    return row.currency is None, row.currency or ""


def in_order(rows: Sequence[ReportRow], question: Question) -> tuple[ReportRow, ...]:
    """Periods run forward; else each currency's dearest first. What is unpriced or unnamed stands last."""
    names: Callable[[ReportRow], Any] = lambda row: [(key is None, key or "") for key in row.group]  # noqa: E731
    if any(key in PERIODS for key in question.by):
        return tuple(sorted(rows, key=lambda row: (names(row), _currency_order(row))))
    dearest = sorted(rows, key=lambda row: (_currency_order(row), -(row.cost or Decimal(0)), -row.calls, names(row)))
    return tuple(dearest)
