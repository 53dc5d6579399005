"""The dearest calls and traces of each currency, and the reasons of unpriced calls by model."""

from __future__ import annotations

import heapq
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple

from tokenmeter.ledger.amounts import exact_total, order_sql, sum_parts_sql
from tokenmeter.ledger.report.periods import Zone
from tokenmeter.ledger.report.question import Question
from tokenmeter.ledger.report.selection import Snapshot, select

__all__ = ["DearCall", "DearTrace", "UnpricedModel", "dearest_calls", "dearest_traces", "unpriced_models"]

_CALL: Final = (
    "id, ended_us, provider, model, tags, duration, amount, usage_source, end_state, input_tokens, output_tokens"
)


@dataclass(frozen=True)
class DearCall:
    """One call; `duration` in seconds."""

    id: str
    ended: datetime
    provider: str | None
    model: str | None
    cost: Decimal
    source: str
    end: str
    duration: float
    input_tokens: int | None
    output_tokens: int | None
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class DearTrace:
    """The calls of one trace in one currency; `unpriced` of its calls have no known cost."""

    trace: str
    scope: str | None
    began: datetime
    ended: datetime
    calls: int
    unpriced: int
    cost: Decimal


class UnpricedModel(NamedTuple):
    """Calls of one model without a known cost, for one reason."""

    provider: str | None
    model: str | None
    reason: str | None
    calls: int


def dearest_calls(snapshot: Snapshot, question: Question, currency: str, most: int) -> list[DearCall]:
    """The dearest calls of a currency; of equal ones the earlier first."""
    with select(snapshot, question) as (connection, where, values):
        query = (
            f"SELECT {_CALL} FROM calls WHERE {where} AND currency = ? AND amount IS NOT NULL "  # noqa: S608
            f"ORDER BY {', '.join(f'{term} DESC' for term in order_sql('amount'))}, ended_us, id LIMIT ?"
        )
        return [_call(row, question.zone) for row in connection.execute(query, [*values, currency, most])]


def _call(row: Any, zone: Zone) -> DearCall:
    return DearCall(
        row["id"], _at(row["ended_us"], zone), row["provider"], row["model"], Decimal(row["amount"]),
        row["usage_source"], row["end_state"], row["duration"], row["input_tokens"], row["output_tokens"],
        json.loads(row["tags"]),
    )  # fmt: skip


def dearest_traces(snapshot: Snapshot, question: Question, currency: str, most: int) -> list[DearTrace]:
    """The dearest traces of a currency; of equal ones the earlier first."""
    with select(snapshot, question) as (connection, where, values):
        # Most traces have few calls: their order is found here, without a function of Python's for each in SQL.
        query = (
            f"SELECT trace_id, {sum_parts_sql('amount')}, min(started_us) FROM calls "  # noqa: S608
            f"WHERE {where} AND trace_id IS NOT NULL AND currency = ? AND amount IS NOT NULL GROUP BY trace_id"
        )
        rows = connection.execute(query, [*values, currency])
        costs = ((trace, Decimal(exact_total(*parts) or 0), began) for trace, *parts, began in map(tuple, rows))
        dearest = heapq.nsmallest(most, costs, key=lambda one: (-one[1], one[2], one[0]))
        found = {trace: cost for trace, cost, _ in dearest}
        query = (
            "SELECT trace_id, min(scope_path(scope)) AS scope, min(started_us) AS began, max(ended_us) AS ended, "  # noqa: S608
            "sum(currency IS ?) AS calls, sum(amount IS NULL) AS unpriced FROM calls "
            f"WHERE {where} AND trace_id IN ({', '.join('?' * len(found))}) GROUP BY trace_id"
        )
        details = {row["trace_id"]: row for row in connection.execute(query, [currency, *values, *found])}
    return [_trace(details[trace], cost, question.zone) for trace, cost in found.items()]


def _trace(row: Any, cost: Decimal, zone: Zone) -> DearTrace:
    began, ended = (_at(row[name], zone) for name in ("began", "ended"))
    return DearTrace(row["trace_id"], row["scope"], began, ended, row["calls"], row["unpriced"], cost)


def unpriced_models(snapshot: Snapshot, question: Question, most: int) -> Sequence[UnpricedModel]:
    """Why calls are unpriced, by model; most calls first."""
    with select(snapshot, question) as (connection, where, values):
        query = (
            "SELECT provider, model, cost_reason, count(*) FROM calls "  # noqa: S608
            f"WHERE {where} AND status = 'unpriced' GROUP BY 1, 2, 3 ORDER BY 4 DESC, 1, 2, 3 LIMIT ?"
        )
        return [UnpricedModel(*row) for row in connection.execute(query, [*values, most])]


def _at(us: int, zone: Zone) -> datetime:
    return zone.local(datetime.fromtimestamp(us // 1_000_000, UTC))
