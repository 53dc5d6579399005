"""What a new edition of the book changes in money: for a typical million tokens, and as a share of a ledger's spend."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path

from tokenmeter.ledger.report.priced_calls import priced_calls
from tokenmeter.prices.book import Book
from tokenmeter.prices.upkeep.money_at_risk import Difference, by_calls, by_typical_use, totals
from tokenmeter.prices.upkeep.price_history import changes, percent


def keep_edition(package: Path, folder: Path) -> Path:
    """Copy the price files of a package into `folder`, which is then the root of a book that no later run changes."""
    shutil.copytree(package / "prices", folder / "prices", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    return folder


def spend_changes(old: Path, new: Path, providers: Iterable[str], ledger: str | None = None) -> Iterator[str]:
    """A line for every model whose prices of today differ, by provider: what typical use cost and costs.

    With a ledger, first the models whose calls would cost otherwise today, each with its share of the spend in its
    currency by the old book. Raises LedgerError for a ledger that cannot be read.
    """
    before, after, now = Book(old), Book(new), time.time()
    if ledger is not None:
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
        yield from _of_ledger(by_calls(priced_calls(ledger), (before, at), (after, at)))
    for provider in sorted(providers):
        if provider not in before.providers or provider not in after.providers:
            yield f"{provider}: a list that is {'new' if provider in after.providers else 'gone'}"
            continue
        models = [(one.provider, one.model, one.list) for one in changes(provider, (before, now), (after, now))]
        if not models:
            continue  # a date or a name changed, and no price of today
        moved = [one for one in by_typical_use(models, (before, None), (after, None)) if one.differs]
        yield f"{provider}: {len(moved)} of {len(models)} changed models cost otherwise for a typical million tokens"
        for one in moved:
            yield f"  {one.model}: {_shown(one)}"


def _of_ledger(found: list[Difference]) -> Iterator[str]:
    spent = {one.currency: one.before for one in totals(found)}
    moved = [one for one in found if one.differs]
    yield f"ledger: {len(moved)} of {len(found)} models cost otherwise"
    for one in moved:
        total = spent.get(one.currency)
        share = f"{one.before / total:.1%} of spend" if one.before is not None and total else "unpriced before"
        yield f"  {one.provider}/{one.model}: {share}, {_shown(one)}"


def _shown(one: Difference) -> str:
    was, now = (_amount(amount) for amount in (one.before, one.after))
    change = percent(str(one.before), str(one.after)) if one.before is not None and one.after is not None else ""
    return f"{was} -> {now} {one.currency or ''}".rstrip() + (f" ({change})" if change else "")


def _amount(amount: Decimal | None) -> str:
    return "unpriced" if amount is None else f"{amount.normalize():f}"
