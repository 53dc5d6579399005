"""Checks sealed months against their manifests, and finds the calls of a ledger that arrived after the seal.

A sealed month never changes: late calls are named beside it, with their sums.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from tokenmeter.ledger.schema import LedgerError, open_for_reading
from tokenmeter.ledger.sealed.in_sqlite import batches, exact_texts
from tokenmeter.ledger.sealed.manifest import SealedMonth, is_sealed, microseconds, sealed_months
from tokenmeter.ledger.sealed.seal import MonthSums, digest
from tokenmeter.money import EXACT, plain

__all__ = ["Late", "Verified", "late_calls", "verify_sealed"]


class Verified(NamedTuple):
    """A sealed month and what is wrong with it; nothing where it is sound."""

    month: SealedMonth
    problems: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {"month": self.month.month, "file": str(self.month.path), "problems": list(self.problems)}


@dataclass(frozen=True)
class Late:
    """Calls of a sealed month that the ledger has and the sealed file has not, and calls whose cost changed since.

    `amounts` are the exact sums of late calls by currency, `changes` how much the changed ones cost more or less.
    """

    month: SealedMonth
    calls: int
    changed: int
    amounts: dict[str, Decimal]
    changes: dict[str, Decimal]

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "month": self.month.month,
            "late_calls": self.calls,
            "late_amounts": {currency: plain(amount) for currency, amount in sorted(self.amounts.items())},
            "changed_calls": self.changed,
            "changes": {currency: plain(amount) for currency, amount in sorted(self.changes.items())},
        }


def verify_sealed(path: str) -> list[Verified]:
    """Check each sealed month of a folder, or one: digest, rows, sums and period. Raises LedgerError where there is
    none, or its file is missing or has another size."""
    return [Verified(month, tuple(_problems(month))) for month in sealed_months(path)]


def _problems(month: SealedMonth) -> Iterator[str]:
    if digest(month.path) != month.sha256:
        yield "the digest of the file is another than the manifest's: it was changed or damaged"
    sums = MonthSums()
    try:
        for batch in batches(month, list(MonthSums.COLUMNS)):
            sums.add(batch)
    except LedgerError as error:
        yield str(error)
        return
    for name, value in sums.found().items():
        if value != (said := getattr(month, name)):
            yield f"{name}: the manifest says {_shown(said)}, the rows {_shown(value)}"
    if sums.rows and not month.since <= (sums.found()["first"]) <= sums.found()["last"] < month.until:
        yield f"calls that did not end in {month.month} of {month.zone}"


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(_shown(one) for one in value) or "none"
    return plain(value) if isinstance(value, Decimal) else str(value)


def late_calls(ledger: str, path: str) -> list[Late]:
    """What a ledger has beside each sealed month of a folder, or one. Raises LedgerError for what cannot be read."""
    if is_sealed(ledger):
        raise LedgerError(f"{ledger} holds sealed months: name the ledger that they were sealed from")
    return [_late(ledger, month) for month in sealed_months(path)]


def _late(ledger: str, month: SealedMonth) -> Late:
    with closing(open_for_reading(ledger)) as connection:
        connection.execute("ATTACH '' AS sealed")  # on disk, private, removed at the end
        connection.execute("CREATE TABLE sealed.calls (id TEXT PRIMARY KEY, amount TEXT) WITHOUT ROWID")
        for batch in batches(month, ["id", "amount", "amount_text"]):
            rows = zip(batch.column("id").to_pylist(), exact_texts(batch, "amount"), strict=True)
            connection.executemany("INSERT INTO sealed.calls VALUES (?, ?)", rows)
        calls = changed = 0
        amounts: dict[str, Decimal] = {}
        changes: dict[str, Decimal] = {}
        query = (
            "SELECT s.id IS NULL, c.currency, c.amount, s.amount FROM temp.calls AS c "
            "LEFT JOIN sealed.calls AS s ON s.id = c.id "
            "WHERE c.ended_us >= ? AND c.ended_us < ? AND (s.id IS NULL OR s.amount IS NOT c.amount)"
        )
        span = microseconds(month.since), microseconds(month.until)
        for late, currency, amount, before in connection.execute(query, span):
            calls += late
            changed += not late
            if currency is not None:
                sums = amounts if late else changes
                more = EXACT.subtract(Decimal(amount or 0), Decimal(before or 0))
                sums[currency] = EXACT.add(sums.get(currency, Decimal(0)), more)
        return Late(month, calls, changed, amounts, changes)
