"""Compares a vendor's bill with a ledger in three layers: usage, list cost, and what is payable.

The way: read the bill (`bill_files`, `bill_lines`), add the calls of its days up (`metered`), match by day, model and
component or by call (`residue`), name the causes (`causes`), compare what is payable with list cost (`payable`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger.bills.aliases import BillNames
from tokenmeter.ledger.bills.bill_files import open_bill
from tokenmeter.ledger.bills.bill_format import CAUSES, BillFormat
from tokenmeter.ledger.bills.bill_lines import read_lines
from tokenmeter.ledger.bills.bill_rows import BillLine
from tokenmeter.ledger.bills.book_prices import BookPrices
from tokenmeter.ledger.bills.causes import Attribution
from tokenmeter.ledger.bills.differences import BillDifference, merged
from tokenmeter.ledger.bills.metered import (
    Key,
    LedgerCall,
    MeteredSpend,
    day_start_us,
    metered_calls,
    metered_spend,
)
from tokenmeter.ledger.bills.payable import payable_differences
from tokenmeter.ledger.bills.residue import residue_of
from tokenmeter.ledger.bills.values import exact_sum
from tokenmeter.ledger.bills.volumes import next_day
from tokenmeter.ledger.file_problem import FileProblem
from tokenmeter.ledger.opening import open_calls
from tokenmeter.ledger.report.periods import Zone
from tokenmeter.money import EXACT, plain

if TYPE_CHECKING:
    import sqlite3

    from tokenmeter.prices.book import Book

__all__ = ["Reconciliation", "reconcile"]

ZERO: Final = Decimal(0)


@dataclass(slots=True)
class Reconciliation:
    """The answer. Money is exact, in `currency`; `cost` and `paid` are None for a bill without that layer."""

    provider: str
    format: str
    currency: str
    zone: str
    first: str
    last: str
    metered: Decimal
    cost: Decimal | None
    paid: Decimal | None
    usage: Mapping[str, tuple[Decimal, Decimal]]
    """Quantities by component: in the ledger and on the bill."""
    differences: list[BillDifference]
    unpriced: Mapping[str, int]
    proposal: str | None
    days: tuple[tuple[str, int], ...]
    """The days of the bill and their first microseconds since the epoch."""
    until_us: int
    problems: list[FileProblem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def gap(self) -> Decimal:
        """What the bill has more than the ledger: payable if it says so, else at list."""
        billed = self.paid if self.paid is not None else self.cost
        return ZERO if billed is None else EXACT.subtract(billed, self.metered)

    def causes(self) -> dict[str, Decimal]:
        """The money of each cause, in the order of `CAUSES`; they sum to `gap`."""
        sums: dict[str, Decimal] = {}
        for cause in CAUSES:
            some = [one for one in self.differences if one.cause == cause]
            if some:
                sums[cause] = exact_sum(one.money for one in some)
        return sums

    def to_dict(self) -> dict[str, Any]:
        """The JSON form: exact numbers as plain strings, null for a layer that the bill does not have."""
        return {
            "provider": self.provider,
            "format": self.format,
            "currency": self.currency,
            "zone": self.zone,
            "first": self.first,
            "last": self.last,
            "usage": {
                name: {"metered": plain(ours), "billed": plain(theirs), "gap": plain(EXACT.subtract(theirs, ours))}
                for name, (ours, theirs) in self.usage.items()
            },
            "metered": plain(self.metered),
            "cost": None if self.cost is None else plain(self.cost),
            "paid": None if self.paid is None else plain(self.paid),
            "gap": plain(self.gap),
            "causes": {cause: plain(money) for cause, money in self.causes().items()},
            "differences": [one.to_dict() for one in self.differences],
            "unpriced": dict(self.unpriced),
            "proposal": self.proposal,
            "problems": [one.to_dict() for one in self.problems],
            "notes": self.notes,
        }


def reconcile(
    ledger: str, bills: Sequence[str], form: BillFormat, *, provider: str, book: Book, tz: str | None = None
) -> list[Reconciliation]:
    """Compare a bill with the calls of the days it covers: one answer for each currency.

    `tz` is the clock of the bill's days; None takes the format's, or the offset that its rows carry. Raises
    ConfigurationError for a bill without a readable line, LedgerError for a file that is no ledger.
    """
    tables, problems, notes = open_bill(bills)
    clock = Zone.named(tz or form.zone)
    if clock.rules is None:  # a name was given
        raise ConfigurationError(f"--tz: {tz!r} is no time zone")
    reading = read_lines(tables, form, clock.rules, fixed=tz is not None)
    problems += reading.problems
    if not reading.lines:
        raise ConfigurationError(f"no line of the bill can be read: {problems[0] if problems else 'it has none'}")
    days = [line.day for line in reading.lines]
    with closing(open_calls(ledger)) as connection:
        work = _Work(connection, form, provider, book, reading.zone, min(days), max(days))
        by_currency = work.by_currency(reading.lines, problems)
        answers = [work.compare(currency, lines) for currency, lines in sorted(by_currency.items())]
    for answer in answers:
        answer.problems, answer.notes = problems, notes
        answer.zone = clock.name if reading.zone == clock.rules else str(reading.zone)
    return answers


class _Work:
    """One bill against one ledger."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        form: BillFormat,
        provider: str,
        book: Book,
        zone: tzinfo,
        first: str,
        last: str,
    ) -> None:
        self.connection, self.form, self.provider, self.book = connection, form, provider, book
        self.zone, self.first, self.last = zone, first, last
        self.known = form.known_components()
        self.listed = book.at_list()

    def by_currency(self, lines: Iterable[BillLine], problems: list[FileProblem]) -> dict[str, list[BillLine]]:
        """The lines of each currency. A line without one has that of its day and model, else the ledger's only one."""
        found: dict[str, list[BillLine]] = defaultdict(list)
        without: list[BillLine] = []
        said: dict[tuple[str, str | None], set[str]] = defaultdict(set)
        for line in lines:
            if line.currency is None:
                without.append(line)
            else:
                found[line.currency].append(line)
                said[line.day, line.model].add(line.currency)
        known = set(found) or self._ledger_currencies()
        for line in without:
            own = said.get((line.day, line.model)) or known
            if len(own) == 1:
                found[next(iter(own))].append(line)
            elif line.component != "requests":
                name, _, number = line.place.rpartition(":")
                text = "no line says in which currency" if not own else f"{' or '.join(sorted(own))}? No line says"
                problems.append(FileProblem(name, int(number), "currency", text))
        return found

    def _ledger_currencies(self) -> set[str]:
        rows = self.connection.execute(
            "SELECT DISTINCT currency FROM calls WHERE provider = ? AND currency IS NOT NULL AND ended_us >= ?"
            " AND ended_us < ?",
            (self.provider, day_start_us(self.first, self.zone), day_start_us(next_day(self.last), self.zone)),
        )
        return {row[0] for row in rows}

    def compare(self, currency: str, lines: list[BillLine]) -> Reconciliation:
        prices = BookPrices(self.listed, self.provider, self.zone, currency)
        ids = {line.id: line.day for line in lines if line.id}
        since, until = day_start_us(self.first, self.zone), day_start_us(next_day(self.last), self.zone)
        days = self._days()
        day_of = _day_of(days)

        def key_of(call: LedgerCall) -> Key:
            known = call.response_id if call.response_id in ids else ""
            return (ids[known] if known else day_of(call.ended_us), call.model, known or "")

        spend = metered_spend(self._metered(since, until), key_of, currency)
        names = BillNames(spend, prices)
        lines = _with_list_cost(names.apply(lines))
        by_key: dict[Key, list[BillLine]] = defaultdict(list)
        for line in lines:
            if line.component is not None:
                by_key[line.day, line.model or "", line.id or ""].append(line)
        residues = {}
        for key in sorted({*by_key, *spend.parts}):

            def hint(component: str, key: Key = key) -> Decimal | None:
                return prices.hint(key[1], component, key[0])

            residues[key] = residue_of(key, by_key.get(key, []), spend, hint, self.form.decimals)
        own = BookPrices(self.book, self.provider, self.zone, currency)
        attribution = Attribution(residues, spend, prices, own, self._calls_of(currency), self.zone)
        found = names.found + attribution.run(self.first, self.last)
        has_cost = any(line.amount is not None for line in lines if line.component is not None)
        if not has_cost:
            found = [replace(one, cost=ZERO) for one in found]
        paid_found, paid = payable_differences(lines, self.form.decimals, checksum=self.form.checksum)
        cost = exact_sum(line.amount for line in lines if line.amount is not None) if has_cost else None
        return Reconciliation(
            provider=self.provider,
            format=self.form.name,
            currency=currency,
            zone="",
            first=self.first,
            last=self.last,
            metered=exact_sum(spend.amounts.values()),
            cost=cost,
            paid=paid,
            usage=_usage(spend, lines),
            differences=merged([*found, *paid_found]),
            unpriced=dict(spend.unpriced),
            proposal=attribution.overlay.proposal(
                self.provider, currency, prices, f"bill of {self.first} to {self.last}"
            ),
            days=days,
            until_us=until,
        )

    def _metered(self, since_us: int, until_us: int) -> Iterator[LedgerCall]:
        return metered_calls(self.connection, self.provider, since_us, until_us, self.known, self.listed)

    def _days(self) -> tuple[tuple[str, int], ...]:
        days = [self.first]
        while days[-1] < self.last:
            days.append(next_day(days[-1]))
        return tuple((day, day_start_us(day, self.zone)) for day in days)

    def _calls_of(self, currency: str) -> Callable[[str, str], list[LedgerCall]]:
        @lru_cache(8)
        def of_day(day: str) -> dict[str, list[LedgerCall]]:
            found: dict[str, list[LedgerCall]] = defaultdict(list)
            since, until = day_start_us(day, self.zone), day_start_us(next_day(day), self.zone)
            for call in self._metered(since, until):
                if call.currency in (None, currency):
                    found[call.model].append(call)
            return found

        return lambda day, model: of_day(day).get(model, [])


def _day_of(days: Sequence[tuple[str, int]]) -> Callable[[int], str]:
    """The day of an instant in microseconds, looked up between midnights."""
    starts = [start for _, start in days]
    return lambda at: days[max(0, bisect_right(starts, at) - 1)][0]


def _with_list_cost(lines: list[BillLine]) -> list[BillLine]:
    """Where a bill has only what is payable, list cost is that without what the bill itself names."""
    if any(line.amount is not None for line in lines):
        return lines
    return [
        line
        if line.paid is None
        else replace(line, amount=EXACT.subtract(line.paid, exact_sum(money for _, money, _ in line.adjust)))
        for line in lines
    ]


def _usage(spend: MeteredSpend, lines: Iterable[BillLine]) -> dict[str, tuple[Decimal, Decimal]]:
    ours: dict[str, Decimal] = defaultdict(Decimal)
    theirs: dict[str, Decimal] = defaultdict(Decimal)
    for parts in spend.parts.values():
        for (component, _, _), quantity in parts.items():
            ours[component] = EXACT.add(ours[component], quantity)
    for line in lines:
        if line.quantity is not None and line.component not in (None, "requests", "total"):
            theirs[line.component or ""] = EXACT.add(theirs[line.component or ""], line.quantity)
    if not theirs:
        return {}
    return {name: (ours.get(name, ZERO), theirs.get(name, ZERO)) for name in sorted({*ours, *theirs})}
