"""What a fleet's database holds, as `ledger/upkeep.py` has it of a file."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from tokenmeter.ledger.fleet.database import shown
from tokenmeter.ledger.fleet.engines import engine_of

__all__ = ["information"]


def information(url: str) -> dict[str, Any]:
    """What a database holds. Raises FleetError."""
    engine = engine_of(url)
    with engine.snapshot(url) as database:
        calls, first, last = database.execute(
            "SELECT coalesce(sum(calls), 0), min(first_at), max(last_at) FROM days WHERE calls > 0"
        ).fetchone()
        ends = (None if at is None else at.astimezone(UTC).replace(microsecond=0).isoformat() for at in (first, last))
        answer = {"ledger": shown(url), "calls": calls, **dict(zip(("first", "last"), ends, strict=True))}
        answer["lost_calls"] = database.execute("SELECT coalesce(sum(calls), 0) FROM losses").fetchone()[0]
        answer["zone"] = database.execute("SELECT value FROM settings WHERE name = 'zone'").fetchone()[0]
        return answer | engine.information(database)
