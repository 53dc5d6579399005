"""A report for programs (JSON) and for spreadsheets (CSV), both exact; `screen` has the table for people."""

from __future__ import annotations

import csv
import io
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any, Final

from tokenmeter._support.logs import printable
from tokenmeter.ledger.report.conversion import Conversion
from tokenmeter.ledger.report.flat import SHARES, flat
from tokenmeter.ledger.report.query import LedgerReport, ReportRow
from tokenmeter.money import EXACT, plain

__all__ = ["SHARES", "as_csv", "as_json", "csv_text", "share_of", "together", "unpriced_calls", "weak_costs"]

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""How a cell begins that a spreadsheet evaluates (OWASP, "CSV Injection")."""
_ROUND: Final = Context(prec=60, rounding=ROUND_HALF_EVEN)


def _row_json(row: ReportRow, conversion: Conversion | None = None) -> dict[str, Any]:
    answer = _sums_json(row)
    if conversion is not None:
        answer["converted"] = {
            "amount": None if row.converted is None else plain(row.converted),
            "currency": conversion.currency,
            "calls_without_rate": row.unconverted,
        }
    return answer


def _sums_json(row: ReportRow) -> dict[str, Any]:
    return {
        "currency": row.currency,
        "cost": None if row.cost is None else plain(row.cost),
        "complete": row.complete,
        "vendor_cost": None if row.vendor_cost is None else plain(row.vendor_cost),
        "vendor_cost_gaps": row.vendor_gaps,
        **{name: _weak_json(row, part) for name, part in weak_costs(row).items()},
        "calls": row.calls,
        "errors": row.errors,
        "attempts": row.attempts,
        "tokens": row.tokens,
        "calls_without_tokens": {name: row.unknown[name] for name in ("input_tokens", "output_tokens")},
        "sources": {
            source: {"calls": tally.calls, "cost": None if tally.cost is None else plain(tally.cost)}
            for source, tally in sorted(row.sources.items())
        },
        "shares": {name: plain(row.shares[name]) for name in SHARES},
    }


def weak_costs(row: ReportRow) -> dict[str, Decimal | None]:
    """The parts of a row's cost that are by prices to be looked at again."""
    return {"stale_prices": row.stale_cost, "single_source_prices": row.single_source_cost}


def _weak_json(row: ReportRow, part: Decimal | None) -> dict[str, str | None]:
    if row.cost is None:
        return {"cost": None, "share": None}
    part = part or Decimal(0)
    return {"cost": plain(part), "share": plain(share_of(part, row.cost))}


def share_of(part: Decimal, whole: Decimal) -> Decimal:
    """A part of a cost as a fraction of four places."""
    return _ROUND.quantize(_ROUND.divide(part, whole), Decimal("0.0001")) if whole else Decimal(0)


def _more_json(row: ReportRow, report: LedgerReport) -> dict[str, Any]:
    """What a row says beside its sums where it was asked for: statistics, and the earlier period."""
    more: dict[str, Any] = {}
    if report.question.stats:
        more["stats"] = {
            label: plain(value) if isinstance(value, Decimal) else value for label, value in row.stats.items()
        }
    if report.comparison is not None:
        previous = row.previous
        more["previous"] = None if previous is None else _sums_json(previous)
        more["change"] = None if row.change is None else plain(row.change)
    return more


def as_json(report: LedgerReport) -> dict[str, Any]:
    """The whole report; money and shares are exact strings, `null` is not known."""
    question = report.question
    conversion = question.conversion
    more: dict[str, Any] = {} if conversion is None else {"conversion": _conversion_json(report, conversion)}
    rows = [
        {
            "group": dict(zip(question.by, row.group, strict=True)),
            **_row_json(row, conversion),
            **_more_json(row, report),
        }
        for row in report.rows
    ]
    if question.where is not None:
        more["where"] = question.where.text
    if report.comparison is not None:
        more["comparison"] = report.comparison.to_dict()
    if report.left_out:
        more["rows_left_out"] = report.left_out
    return {
        "ledger": report.path,
        "by": list(question.by),
        "timezone": question.zone.name,
        "source": report.source,
        "since": None if question.since is None else question.since.isoformat(),
        "until": None if question.until is None else question.until.isoformat(),
        "rows": rows,
        "totals": [{**_row_json(row, conversion), **_more_json(row, report)} for row in report.totals],
        "lost_calls": report.lost,
        "unpriced_reasons": [{"reason": reason, "calls": calls} for reason, calls in report.reasons],
        **more,
    }


def _conversion_json(report: LedgerReport, conversion: Conversion) -> dict[str, Any]:
    total, missing = together(report)
    return {
        **conversion.to_dict(),
        "total": None if total is None else plain(total),
        "calls_without_rate": missing,
        "unpriced_calls": unpriced_calls(report),
    }


def together(report: LedgerReport) -> tuple[Decimal | None, int]:
    """Everything in the currency asked for, and the calls that no rate reached."""
    total: Decimal | None = None
    for row in report.totals:
        if row.converted is not None:
            total = row.converted if total is None else EXACT.add(total, row.converted)
    return total, sum(row.unconverted for row in report.totals)


def unpriced_calls(report: LedgerReport) -> int:
    """How many calls have no cost."""
    return sum(row.calls for row in report.totals if row.currency is None)


def as_csv(report: LedgerReport) -> str:
    """One line per row and a header; what is not known is empty. Totals are left to the reader's spreadsheet."""
    columns, rows = flat(report)
    target = io.StringIO()
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow([name for name, _ in columns])
    for row in rows:
        writer.writerow(map(_cell, row))  # None is written as an empty field
    return target.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return plain(value) if isinstance(value, Decimal) else csv_text(value)


def csv_text(value: object) -> object:
    """A name as a cell that no spreadsheet takes for a formula and no terminal obeys: a tag may hold anything."""
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
