"""What a budget store does, whichever it is: reserve, extend, settle, release, renew, read.

A store counts integers by series (one budget, or one value of its `each`) and bucket (`windows.py`). Every operation
is one transaction over all series that it names: all are held or none. The store has its own clock, which never goes
backwards; a caller whose window does not hold by that clock gets `WindowOver` and asks again with the right one.

A hold lives for a lease, which is renewed while its call is open. A hold whose lease is over is swept, and what it is
given as `lost` is charged, since a call whose process vanished may have been billed. Settling charges the actual
amount once, whatever became of the hold: above it, after it expired (less what was charged then), or without any.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

__all__ = ["BudgetAsk", "BudgetCharge", "BudgetRefusal", "BudgetStore", "StoreError", "WindowOver", "WindowSpend"]


class StoreError(Exception):
    """A store cannot be reached or used now. Caught where budgets decide what happens then."""


class BudgetAsk(NamedTuple):
    """`amount` units of a series, whose window allows `limit`. `lost` is charged if the call vanishes.

    The window holds for `start <= now < end`; its bucket counts until `until` (ms since the epoch).
    """

    series: str
    bucket: int
    span: int
    start: int
    end: int
    until: int
    limit: int
    amount: int
    lost: int = 0


class BudgetCharge(NamedTuple):
    """What a settled call costs one series, in the bucket in which it was reserved."""

    series: str
    bucket: int
    span: int
    until: int
    amount: int


class BudgetRefusal(NamedTuple):
    """The first ask that does not fit, by its `place` among the asks, and what its window holds.

    `oldest` is the window's first bucket with spend.
    """

    place: int
    spent: int
    held: int
    oldest: int | None


class WindowOver(NamedTuple):
    """An ask's window does not hold at the store's clock, `now` in ms since the epoch."""

    now: int


class WindowSpend(NamedTuple):
    """One window of one series: units spent and held, and of the spent those of calls that vanished, with their
    number."""

    spent: int
    held: int
    lost: int
    lost_calls: int


class BudgetStore(Protocol):
    """Counters that all who use the store see. Methods may be called from any thread."""

    waits: bool
    """Whether an operation may take longer than some microseconds: not to be called on an event loop."""

    def now(self) -> int:
        """Milliseconds since the epoch by the store's clock, as last seen, for choosing windows."""

    def reserve(self, call: str, asks: Sequence[BudgetAsk], lease: float) -> BudgetRefusal | WindowOver | None:
        """Hold every ask for `lease` seconds, or none of them and say which does not fit.

        An ask does not fit if its amount is above what is left, or nothing is left.
        """

    def extend(self, call: str, asks: Sequence[BudgetAsk]) -> BudgetRefusal | None:
        """Add each ask's amount to the hold of an open call, or none of them.

        The asks name the buckets of the reservation; their windows may be over by now.
        """

    def settle(self, call: str, charges: Sequence[BudgetCharge]) -> tuple[int, ...] | None:
        """End the hold and charge the actual amounts; None where the call has been settled or released before.

        Returns what each charge's window has spent now, this charge included.
        """

    def release(self, call: str) -> bool:
        """End the hold and charge nothing; False where the call has been settled or released before."""

    def once(self, key: str, until: int) -> bool:
        """True for the first to ask with this key, among all who use the store; remembered up to `until` (ms)."""

    def withdraw(self, call: str) -> None:
        """End a hold as if it had never been, since another store refused the call: it may be held again."""

    def renew(self, calls: Iterable[str], lease: float) -> None:
        """Let the holds of open calls live for another `lease` seconds."""

    def read(self, series: str, bucket: int, span: int) -> WindowSpend:
        """What a window of a series holds, holds whose lease is over left out."""

    def charge(self, charges: Sequence[BudgetCharge]) -> None:
        """Charge amounts that were never reserved, such as those of other programs."""

    def reset(self, series: str) -> None:
        """Forget what a series has spent, in all windows; open holds stay."""

    def series(self, prefix: str) -> list[str]:
        """The series known whose names begin so, such as all users of a budget, sorted."""

    def close(self) -> None:
        """Close files and connections."""
