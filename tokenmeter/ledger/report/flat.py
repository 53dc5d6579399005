"""A report as a flat table of exact values, for CSV and Parquet: one row per group and currency, without totals."""

from __future__ import annotations

from decimal import Decimal
from typing import IO, Any, Final

from tokenmeter.ledger.report.parquet import write_parquet
from tokenmeter.ledger.report.query import TOKENS, LedgerReport, ReportRow

__all__ = ["SHARES", "flat", "to_parquet"]

SHARES: Final = ("reported", "partial", "counted", "estimated", "none", "unpriced")
"""The shares of a row's calls, by the source of their usage."""


def flat(report: LedgerReport) -> tuple[list[tuple[str, str]], list[list[Any]]]:
    """The columns, each a name and a type of `parquet.py`, and the rows; what is not known is None."""
    conversion, compared, stats = report.question.conversion, report.comparison, report.question.stats
    columns = [
        *((name, "String") for name in (*report.question.by, "currency")),
        ("cost", "Decimal"), ("complete", "Boolean"),
        *((name, "Integer") for name in ("calls", "errors", "attempts", *TOKENS)),
        *((f"share_{name}", "Decimal") for name in SHARES),
    ]  # fmt: skip
    if conversion is not None:
        columns += [("converted", "Decimal"), ("converted_currency", "String"), ("calls_without_rate", "Integer")]
    columns += [("vendor_cost", "Decimal"), ("vendor_cost_gaps", "Integer")]
    columns += [("cost_by_stale_prices", "Decimal"), ("cost_by_single_source_prices", "Decimal")]
    columns += [
        (stat.label, "Decimal" if stat.money else "Float" if _seconds(stat.measure) else "Integer") for stat in stats
    ]
    if compared is not None:
        columns += [("previous_cost", "Decimal"), ("previous_calls", "Integer"), ("change", "Decimal")]
    return columns, [_values(row, report) for row in report.rows]


def _seconds(measure: str) -> bool:
    return measure in ("duration", "time_to_first_chunk")


def _values(row: ReportRow, report: LedgerReport) -> list[Any]:
    conversion = report.question.conversion
    values: list[Any] = [
        *row.group, row.currency, row.cost, row.complete, row.calls, row.errors, row.attempts,
        *(row.tokens[name] for name in TOKENS), *(row.shares[name] for name in SHARES),
    ]  # fmt: skip
    if conversion is not None:
        values += [row.converted, conversion.currency, row.unconverted]
    weak = (row.stale_cost, row.single_source_cost)
    values += [row.vendor_cost, row.vendor_gaps]
    values += [None if row.cost is None else part or Decimal(0) for part in weak]
    values += [*(row.stats[stat.label] for stat in report.question.stats)]
    if report.comparison is not None:
        before = row.previous
        nothing = None if row.currency is None else Decimal(0)  # a group without a row had no calls
        values += [nothing if before is None else before.cost, 0 if before is None else before.calls, row.change]
    return values


def to_parquet(report: LedgerReport, target: IO[bytes]) -> None:
    """Write the rows as Parquet. Raises ConfigurationError without pyarrow."""
    columns, rows = flat(report)
    data = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in columns]
    notes = {"DataGenerator": "tokenmeter", "timezone": report.question.zone.name, "calls_lost": str(report.lost)}
    write_parquet(target, columns, data, notes)
