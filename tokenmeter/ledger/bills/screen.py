"""Shows a reconciliation as text for people: layers, causes, differences, problems."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from tokenmeter._support.logs import printable
from tokenmeter._support.text_tables import table, wrapped
from tokenmeter.ledger.bills.reconcile import Reconciliation
from tokenmeter.money import EXACT, plain

__all__ = ["as_text"]

_MOST = 40
"""Differences that are shown; --json has all."""


def as_text(answer: Reconciliation, columns: int) -> str:
    """The text, in at most so many columns where words can be broken."""
    return "\n".join(_lines(answer, columns))


def _lines(answer: Reconciliation, columns: int) -> Iterator[str]:
    yield f"{answer.provider} by {answer.format}: {answer.first} to {answer.last}, days in {answer.zone}"
    yield ""
    money = [("metered at list", answer.metered), ("billed at list", answer.cost), ("payable", answer.paid)]
    rows = [(name, "not on the bill" if sum_ is None else plain(sum_), answer.currency) for name, sum_ in money]
    yield table(("layer", "amount", "currency"), rows, right=("amount",))
    if answer.usage:
        yield ""
        usage = [
            (name, plain(ours), plain(theirs), _signed(EXACT.subtract(theirs, ours)))
            for name, (ours, theirs) in answer.usage.items()
        ]
        yield table(("usage", "metered", "billed", "gap"), usage, right=("metered", "billed", "gap"))
    yield ""
    causes = [(name, _signed(sum_)) for name, sum_ in answer.causes().items()]
    if causes:
        yield table(
            ("cause", "amount"), [*causes, ("gap", _signed(answer.gap))], right=("amount",), rules=(len(causes),)
        )
        yield ""
        for one in answer.differences[:_MOST]:
            place = " ".join(part for part in (one.day, one.model, one.component) if part)
            sum_ = _signed(one.money)
            yield from wrapped(printable(f"{one.cause}: {place}: {sum_}; {one.evidence}"), columns, "  ")
        if len(answer.differences) > _MOST:
            yield f"and {len(answer.differences) - _MOST} more differences; --json has all"
    else:
        yield "no difference"
    for reason, calls in answer.unpriced.items():
        yield from wrapped(printable(f"{calls} calls are unpriced: {reason}"), columns, "  ")
    if answer.proposal is not None:
        yield "\nthe rates that the bill charged, as a price file (TOKENMETER_PRICES):\n"
        yield answer.proposal.rstrip()
    for note in answer.notes:
        yield from wrapped(printable(f"note: {note}"), columns, "  ")


def _signed(number: Decimal) -> str:
    return plain(number) if number <= 0 else f"+{plain(number)}"
