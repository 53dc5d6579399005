"""Finds the calls behind a difference of quantity: failed ones, those of a plan, those on the other side of a cut.

A cause is named only where the quantities of certain calls are the difference, component by component.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from tokenmeter.ledger.bills.metered import LedgerCall
from tokenmeter.money import EXACT

__all__ = ["CallsOf", "Cut", "cut_between", "failed_calls", "next_day", "planned_calls", "quantities"]

CallsOf = Callable[[str, str], list[LedgerCall]]
"""The calls of a day and a model, in the order in which they ended."""
_MOST_MOVED: Final = 2_000
"""Calls on each side of a cut that are tried."""
_CUT_US: Final = 6 * 3600 * 1_000_000
"""How far from the cut a call may have ended."""


def next_day(day: str, days: int = 1) -> str:
    """The day after another, as `2026-11-02`."""
    return (date.fromisoformat(day) + timedelta(days=days)).isoformat()


def quantities(calls: Iterable[LedgerCall]) -> dict[str, Decimal]:
    """What calls used, by component."""
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for call in calls:
        for part in call.parts:
            sums[part.component] = EXACT.add(sums[part.component], part.quantity)
    return {component: quantity for component, quantity in sums.items() if quantity}


class Cut:
    """Calls that the bill has on the other side of a midnight. `later` says whether it moved them to the later day."""

    def __init__(self, calls: list[LedgerCall], moved: Mapping[str, Decimal], *, later: bool) -> None:
        self.calls, self.moved, self.later = calls, moved, later


def cut_between(
    before: list[LedgerCall],
    after: list[LedgerCall],
    net_before: dict[str, Decimal] | None,
    net_after: dict[str, Decimal] | None,
    cut_us: int,
) -> Cut | None:
    """The calls whose move over the cut explains both days; None if none do.

    A net is what the bill has more of each component on a day; None for a day outside the bill.
    """
    for cut in _candidates(before, after, cut_us):
        gains, loses = (net_after, net_before) if cut.later else (net_before, net_after)
        if cut.moved and _is(gains, cut.moved, 1) and _is(loses, cut.moved, -1):
            return cut
    return None


def _candidates(before: list[LedgerCall], after: list[LedgerCall], cut_us: int) -> Iterator[Cut]:
    near = [call for call in before[-_MOST_MOVED:] if cut_us - call.ended_us <= _CUT_US]
    yield from _growing(near[::-1], later=True)
    close = [call for call in after[:_MOST_MOVED] if call.ended_us - cut_us <= _CUT_US]
    in_flight = [call for call in close if call.started_us < cut_us]
    if in_flight:
        yield Cut(in_flight, quantities(in_flight), later=False)
    yield from _growing(close, later=False)


def _growing(calls: list[LedgerCall], *, later: bool) -> Iterator[Cut]:
    """The first call, the first two, and so on; sums are carried along, not made anew."""
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for count, call in enumerate(calls, 1):
        for part in call.parts:
            sums[part.component] = EXACT.add(sums[part.component], part.quantity)
        yield Cut(calls[:count], sums, later=later)


def _is(net: dict[str, Decimal] | None, moved: Mapping[str, Decimal], sign: int) -> bool:
    if net is None:
        return True
    return all(net.get(component) == (one if sign > 0 else EXACT.minus(one)) for component, one in moved.items())


def failed_calls(calls: Iterable[LedgerCall], net: dict[str, Decimal]) -> list[LedgerCall]:
    """The failed calls that the bill lacks: all of the day, all of one kind, or a single one; empty if none fit."""
    failed = [call for call in calls if call.failed is not None and call.parts]
    kinds: dict[str, list[LedgerCall]] = defaultdict(list)
    for call in failed:
        kinds[call.failed or ""].append(call)
    for some in (failed, *kinds.values(), *([call] for call in failed)):
        moved = quantities(some)
        if moved and _is(net, moved, -1):
            return some
    return []


def planned_calls(calls: Iterable[LedgerCall], net: Mapping[str, Decimal]) -> list[LedgerCall]:
    """The calls made under a plan, where the bill lacks at least what they used; else empty."""
    planned = [call for call in calls if call.plan is not None and call.parts]
    lacking = all(
        net.get(component, Decimal(0)) <= EXACT.minus(used) for component, used in quantities(planned).items()
    )
    return planned if lacking else []
