"""Charges a response once in ClickHouse that calls of several files recorded.

The rule is that of one file (`charged_once.py`). Nothing keeps two shippers apart here, so that both records of a
response may be in before either shipper sees the other's: each looks after its insertion, and who sees two charged
calls inserts the one that came later once more, as delegated. That row counts before all others of its call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tokenmeter.ledger.charged_once import UNCHARGED, RecordingCall, delegated_dims, recorded_by
from tokenmeter.ledger.fleet.clickhouse.columns import COLUMNS, CORRECTED, FIRST
from tokenmeter.ledger.fleet.clickhouse.days import CONSISTENT
from tokenmeter.ledger.rows import is_unique
from tokenmeter.ledger.tables import DIMS

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

__all__ = ["charge_once"]

_AT_ONCE: Final = 200
_LONGEST: Final = "toIntervalDay(1)"  # what a call that began in the span of time may take

# Those that came first have the highest number.
_TWICE: Final = f"""
SELECT any(response_id), arraySort(one -> (-toInt64(one.1), one.3, one.4), groupArray(tuple(
    bitAnd(precedence, {FIRST}), toUnixTimestamp64Micro(ended_at) - span_us, toUnixTimestamp64Micro(ended_at), id
)))
FROM call_rows FINAL
WHERE ended_at >= fromUnixTimestamp64Micro({{since:Int64}}, 'UTC')
    AND ended_at <= fromUnixTimestamp64Micro({{until:Int64}}, 'UTC') + {_LONGEST}
    AND length(response_id) >= 22 AND isNull(duplicate_of) AND ifNull(end_state, '') <> 'delegated'
GROUP BY provider, response_id HAVING count() > 1
"""


def _corrected() -> str:
    """The statement that inserts calls once more as delegated to others, by the ids and ends that are bound."""
    kept = [name for name in COLUMNS if not name.endswith(("_whole", "_pico"))]
    made = {name: f"c.{name}" for name in (*kept, "amount", "vendor_amount")}
    made |= {name: "NULL" for name in (*UNCHARGED, "amount", "vendor_amount") if name in made}
    dims = delegated_dims(DIMS)
    made |= {
        name: "NULL" if value is None else f"{value!r}"
        for name, value in zip(DIMS, dims, strict=True)
        if value != name and name in made
    }
    made["duplicate_of"] = "l.first"
    made["precedence"] = f"bitOr(c.precedence, {CORRECTED})"
    losers = "arrayJoin(arrayZip({ids:Array(String)}, {ends:Array(Int64)}, {firsts:Array(String)}))"
    return (
        f"INSERT INTO call_rows ({', '.join(made)}) SELECT {', '.join(made.values())} FROM call_rows AS c FINAL "
        f"INNER JOIN (SELECT {losers} AS one, one.1 AS id, fromUnixTimestamp64Micro(one.2, 'UTC') AS ended_at, "
        "one.3 AS first) AS l ON l.id = c.id AND l.ended_at = c.ended_at "
        "WHERE c.ended_at >= fromUnixTimestamp64Micro({since:Int64}, 'UTC')"
    )


_CORRECT: Final = _corrected()


class _Later(NamedTuple):
    """A call whose response another one recorded."""

    id: str
    ended_us: int
    first: str


def charge_once(client: Client, since_us: int, until_us: int, settings: dict[str, Any]) -> int:
    """Make calls delegated whose response another one recorded, of those around a span of time; how many."""
    later: list[_Later] = []
    span = {"since": since_us, "until": until_us}
    for response, calls in client.query(_TWICE, span, settings=CONSISTENT).result_rows:
        if is_unique(response):
            later += _later(calls)
    for at in range(0, len(later), _AT_ONCE):
        ids, ends, firsts = (list(some) for some in zip(*later[at : at + _AT_ONCE], strict=True))
        values = {"ids": ids, "ends": ends, "firsts": firsts, "since": min(ends)}
        client.command(_CORRECT, values, settings=CONSISTENT | settings)
    return len(later)


def _later(calls: Sequence[tuple[int, int, int, str]]) -> list[_Later]:
    """Of calls that recorded a response, in the order in which they came, those that another one overlaps."""
    charged: list[RecordingCall] = []
    later = []
    for _, started_us, ended_us, name in calls:
        call = RecordingCall(name, started_us, ended_us)
        first = recorded_by(call, charged)
        if first is None:
            charged.append(call)
        else:
            later.append(_Later(name, ended_us, str(first)))
    return later
