"""Changes of vendors' prices inside a period, as the calls met them: which unit price was charged before and after.

A change is a rate that begins (`effective_from`) after calls to the same model by an earlier one, and that charged
other unit prices. These are read off the charges of the week before and the week after: those that at least a tenth of
the charges had, so a price with peak hours is a range, and a rare long prompt in a dearer tier is no change.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from tokenmeter.components import COMPONENTS
from tokenmeter.ledger.report.question import Question
from tokenmeter.ledger.report.selection import Snapshot, select

if TYPE_CHECKING:
    import sqlite3

__all__ = ["ChargedChange", "PriceStep", "price_changes"]

_WEEK_US: Final = 7 * 24 * 3_600_000_000
_MOST: Final = 12
_USUAL: Final = 10
_ORDER: Final = {component.name: place for place, component in enumerate(COMPONENTS)}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class PriceStep:
    """One component's lowest and highest unit price before and after, for `per` of it."""

    component: str
    before: tuple[Decimal, Decimal]
    after: tuple[Decimal, Decimal]
    per: int


@dataclass(frozen=True)
class ChargedChange:
    """What one model cost from `at` on."""

    at: datetime
    provider: str | None
    model: str | None
    currency: str
    steps: tuple[PriceStep, ...]


def price_changes(snapshot: Snapshot, question: Question, most: int = _MOST) -> list[ChargedChange]:
    """The changes between the first and the last call, earliest first."""
    with select(snapshot, question) as (connection, where, values):
        query = (
            "SELECT provider, model, currency, effective_from FROM calls "  # noqa: S608
            f"WHERE {where} AND effective_from IS NOT NULL AND currency IS NOT NULL GROUP BY 1, 2, 3, 4"
        )
        begins: dict[tuple[Any, ...], dict[datetime, str]] = defaultdict(dict)
        for provider, model, currency, text in connection.execute(query, values):
            begins[provider, model, currency][datetime.fromisoformat(text)] = text
        found = []
        for (provider, model, currency), texts in begins.items():
            days = sorted(texts)
            for old, new in pairwise(days):
                at = (new - _EPOCH) // timedelta(microseconds=1)
                which = [*values, provider, model, currency]
                before = _units(connection, where, [*which, texts[old], at - _WEEK_US, at])
                after = _units(connection, where, [*which, texts[new], at, at + _WEEK_US])
                if steps := tuple(_steps(before, after)):
                    found.append(ChargedChange(question.zone.local(new), provider, model, currency, steps))
        found.sort(key=lambda one: (one.at, one.provider or "", one.model or ""))
        return found[-most:]


def _units(
    connection: sqlite3.Connection, where: str, values: list[Any]
) -> dict[tuple[str, int], tuple[Decimal, Decimal]]:
    """The lowest and highest usual rate charged, by component and what it is for."""
    field = "json_extract(charge.value, '$.{}')".format
    query = (
        f"SELECT {field('component')}, {field('per')}, {field('rate')}, count(*) FROM "  # noqa: S608
        f"(SELECT charges FROM calls WHERE {where} AND provider IS ? AND model IS ? AND currency = ? "
        "AND effective_from = ? AND ended_us >= ? AND ended_us < ? AND charges IS NOT NULL) AS call, "
        "json_each(call.charges) AS charge GROUP BY 1, 2, 3"
    )
    found: dict[tuple[str, int], list[tuple[Decimal, int]]] = defaultdict(list)
    for component, per, rate, count in connection.execute(query, values):
        found[str(component), int(per)].append((Decimal(rate), count))
    return {name: _usual(rates) for name, rates in found.items()}


def _usual(rates: list[tuple[Decimal, int]]) -> tuple[Decimal, Decimal]:
    charges = sum(count for _, count in rates)
    usual = [rate for rate, count in rates if count * _USUAL >= charges] or [max(rates, key=lambda one: one[1])[0]]
    return min(usual), max(usual)


def _steps(
    before: dict[tuple[str, int], tuple[Decimal, Decimal]], after: dict[tuple[str, int], tuple[Decimal, Decimal]]
) -> Iterable[PriceStep]:
    for name, rates in sorted(before.items(), key=lambda one: _ORDER.get(one[0][0], len(_ORDER))):
        if name in after and after[name] != rates:
            yield PriceStep(name[0], rates, after[name], name[1])
