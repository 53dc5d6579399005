"""The sums by day in ClickHouse, which answer for a day only as long as they are those of its rows.

A materialised view adds what is inserted, also what is inserted twice, and ReplacingMergeTree takes rows back long
after; so sums that a view keeps would differ from the rows. Here a day is summed from its rows as they count, and
holds the marks that the day had before: each insertion marks its days when it begins and when it ended, by a random
id that is added to a sum of each. A day is settled where those are what its marks are now. Where they are not, the
view `days` has its rows instead: slower, never wrong.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from tokenmeter.ledger.fleet.engine import RefusedError
from tokenmeter.ledger.tables import DIMS, ROLLED

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

__all__ = ["CONSISTENT", "DaySums"]

CONSISTENT: Final = {"select_sequential_consistency": 1}
"""What was inserted is seen, also where several replicas answer, as in ClickHouse Cloud."""

_EVERY: Final = 300.0  # seconds between two looks at what has changed, and until a day is summed again
_LOST: Final = 3_600  # seconds after which an insertion that did not end will not go on
_AT_ONCE: Final = 31  # days

_DIMS: Final = tuple(name for name in DIMS if name != "known")
_SUMS: Final = {
    "calls": "toInt64(count())",
    **{name: f"sum(c.{name})" for name in ROLLED},
    "amount": "sum(c.amount)",
    "vendor_amount": "sum(c.vendor_amount)",
    "first_at": "min(c.ended_at)",
    "last_at": "max(c.ended_at)",
}
_GROUPS: Final = (*_DIMS, "tags", *_SUMS)

_CHANGED: Final = f"""
SELECT m.day, m.begun, m.ended FROM (
    SELECT day, sum(begun) AS begun, sum(ended) AS ended, max(begun_at) AS begun_at FROM day_marks GROUP BY day
) AS m LEFT JOIN (SELECT day, begun, ended, made_at FROM day_sums FINAL) AS s ON s.day = m.day
WHERE (m.begun = m.ended OR m.begun_at < now() - {_LOST}) AND NOT (
    s.begun = m.begun AND s.ended = m.ended AND s.made_at > 0
) AND s.made_at < now() - {_EVERY:.0f}
ORDER BY m.day
"""
"""Days of which nothing is on its way and whose sums are of other marks, with their marks."""


def _renewal() -> str:
    """The statement that sums days by the marks that are bound."""
    keys = [
        *(f"c.{name}" for name in _DIMS),
        "mapFilter((name, value) -> NOT has({on_rows:Array(String)}, name), c.tags)",
    ]
    by = [f"{key} AS k{number}" for number, key in enumerate(keys)]
    known = [f"isNull(c.{name}) AS n{number}" for number, name in enumerate(ROLLED)]
    sums = [f"{sql} AS s{number}" for number, sql in enumerate(_SUMS.values())]
    names = [*(f"k{number}" for number in range(len(keys))), *(f"s{number}" for number in range(len(sums)))]
    places = ", ".join(str(1 + number) for number in range(1 + len(by) + len(known)))
    arrays = ", ".join(f"arrayMap(g -> g.{place}, found)" for place in range(1, len(names) + 1))
    return (
        f"INSERT INTO day_sums (day, begun, ended, {', '.join(f'groups.{name}' for name in _GROUPS)}) "
        "SELECT d, transform(d, {days:Array(Date32)}, {begun:Array(UInt64)}, toUInt64(0)), "
        f"transform(d, {{days:Array(Date32)}}, {{ended:Array(UInt64)}}, toUInt64(0)), {arrays} "
        f"FROM (SELECT d, groupArray(tuple({', '.join(names)})) AS found FROM ("
        f"SELECT c.day AS d, {', '.join([*by, *known, *sums])} FROM calls AS c "
        f"WHERE c.day IN ({{days:Array(Date32)}}) GROUP BY {places}"
        ") GROUP BY d)"
    )


_RENEW: Final = _renewal()


class DaySums:
    """The sums by day of one database, as one shipper sees to them."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._looked: float | None = None

    @contextmanager
    def marked(self, days: Iterable[int]) -> Iterator[None]:
        """Mark days around an insertion; one that may still go on is not marked as ended."""
        mark = secrets.randbits(64)
        touched = sorted(days)
        self._mark("begun", touched, mark)
        try:
            yield
        except RefusedError:
            self._mark("ended", touched, mark)
            raise
        self._mark("ended", touched, mark)

    def _mark(self, which: str, days: Iterable[int], mark: int) -> None:
        self._client.insert(
            "day_marks", [[day, mark] for day in days], column_names=["day", which],
            column_type_names=["Date32", "UInt64"], settings={"async_insert": 1, "wait_for_async_insert": 1},
        )  # fmt: skip

    def renew(self) -> None:
        """Sum days anew that have changed, now and then."""
        if self._looked is not None and time.monotonic() - self._looked < _EVERY:
            return
        self._looked = time.monotonic()
        changed = self._client.query(_CHANGED, settings=CONSISTENT).result_rows
        on_rows = [name for (name,) in self._client.query("SELECT DISTINCT name FROM row_tags").result_rows]
        for at in range(0, len(changed), _AT_ONCE):
            days, begun, ended = (list(some) for some in zip(*changed[at : at + _AT_ONCE], strict=True))
            values = {"on_rows": on_rows, "days": days, "begun": begun, "ended": ended}
            self._client.command(_RENEW, values, settings=CONSISTENT)
