"""Ledgers to be shipped, and what a fleet's database holds, read with SQL alone."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.rigs.made_records import NOON, priced, record, unpriced
from tokenmeter.calls.scope import ScopePath
from tokenmeter.ledger.fleet.shipping import Shipped, Shipper
from tokenmeter.ledger.tables import COLUMNS, ROLLED
from tokenmeter.ledger.writer import Ledger
from tokenmeter.record import Attempt, End, Record
from tokenmeter.usage import Usage

__all__ = ["file_calls", "fleet_calls", "ship", "some_calls", "written", "wrong_days"]

_JSON = ("tags", "charges", "usage_raw", "attempts", "usage", "usage_ranges")
_MONEY = ("amount", "list_amount", "cache_saved", "vendor_amount")
_INSTANTS = ("started_at", "ended_at", "priced_at")


def some_calls(count: int, *, first: int = 0, name: str = "call", seconds: int = 997) -> list[Record]:
    """Calls of all kinds, one each so many seconds: two currencies, fine amounts, free, unpriced, failed."""
    costs = [
        priced("0.0012"), priced("0.25", "USD", model="gpt-4o", provider="openai"), priced("0"), unpriced(),
        priced("0.00000000000123456789"), priced("1.5", model="qwen-max", provider="alibaba"),
    ]  # fmt: skip
    made = []
    for number in range(first, first + count):
        cost = costs[number % len(costs)]
        ended = NOON + timedelta(seconds=number * seconds, microseconds=number)
        sent = Attempt(200, None, int(ended.timestamp() - 1) * 10**9, 10**9, f"req-{number}", True, None)
        made.append(
            record(
                cost, ended=ended, id=f"{name}-{number}", provider=cost.offer.provider, request_model=cost.offer.model,
                tags={"team": ("search", "ads", "推荐")[number % 3], "user": f"u{number % 90}"} if number % 5 else {},
                usage=Usage(input_tokens=1000 + number, output_tokens=number, cache_read_input_tokens=number // 2)
                if number % 7 else Usage(output_tokens=number),
                usage_raw={"prompt_tokens": 1000 + number, "completion_tokens": number},
                attempts=(sent,) if number % 2 else (sent, sent), trace_id=f"{number:032x}", span_id=f"{number:016x}",
                end=End.ERROR if number % 11 == 0 else End.COMPLETE,
                scope=ScopePath.of(("agent", f"step {number % 4}"), f"{number % 9:032x}"),
            )
        )  # fmt: skip
    return made


def written(path: Path, records: Iterable[Record]) -> Path:
    """A ledger of these records."""
    ledger = Ledger(path, queue_size=10**6)
    for one in records:
        ledger.write(one)
    ledger.close(120)
    return path


def ship(path: Path, url: str, batch: int = 1000) -> Shipped:
    """Ship what is there."""
    shipper = Shipper(str(path), url, batch=batch)
    try:
        return shipper.ship()
    finally:
        shipper.close()


def file_calls(path: Path) -> dict[str, dict[str, Any]]:
    """The calls of a file by id, each value as what it means."""
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return _by_id(dict(row) for row in connection.execute(f"SELECT {', '.join(COLUMNS)} FROM calls"))  # noqa: S608


def fleet_calls(url: str) -> dict[str, dict[str, Any]]:
    """The calls of a database by id, each value as what it means."""
    import psycopg
    from psycopg.rows import dict_row

    with psycopg.connect(url, row_factory=dict_row) as connection:
        query = f"SELECT {', '.join(COLUMNS)} FROM tokenmeter.calls"  # noqa: S608
        return _by_id(connection.execute(query).fetchall())  # type: ignore[call-overload]


def wrong_days(url: str) -> int:
    """Rows of the roll-up that are not what the rows of calls sum up to."""
    import psycopg

    sums = ", ".join(f"coalesce(sum({name}), 0)" for name in ROLLED)
    amounts = "coalesce(sum(coalesce(amount, amount_text::numeric)), 0)"
    made = f"SELECT day, dims, tagset, count(*), {sums}, {amounts} FROM tokenmeter.call_rows GROUP BY 1, 2, 3"  # noqa: S608
    kept = f"SELECT day, dims, tagset, calls, {', '.join(ROLLED)}, amount FROM tokenmeter.days WHERE calls > 0"  # noqa: S608
    with psycopg.connect(url) as connection:
        pairs = ((made, kept), (kept, made))
        wrong = (f"SELECT count(*) FROM ({one} EXCEPT {other}) AS w" for one, other in pairs)  # noqa: S608
        return sum(connection.execute(query).fetchall()[0][0] for query in wrong)  # type: ignore[call-overload]


def _by_id(rows: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["id"]: {name: _meant(name, value) for name, value in row.items()} for row in rows}


def _meant(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name in _JSON:
        return json.loads(value) if isinstance(value, str) else value
    if name in _MONEY:
        return Decimal(value)
    if name in _INSTANTS:
        at = datetime.fromisoformat(value) if isinstance(value, str) else value
        return at.astimezone(UTC)
    return value
