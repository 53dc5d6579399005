"""A report for people (a table), for programs (JSON) and for spreadsheets (CSV).

Only the table rounds. In it `+` after a number says "at least": some calls of the group do not know theirs; `?` is
not known at all, and `-` was not reported by anybody. A converted sum stands beside the original, never in its place.
"""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any, Final

from tokenmeter._support.logs import printable
from tokenmeter._support.text_tables import table, width
from tokenmeter.ledger.report.conversion import Conversion
from tokenmeter.ledger.report.query import TOKENS, LedgerReport, ReportRow
from tokenmeter.money import EXACT, plain

__all__ = ["as_csv", "as_json", "as_text"]

_TOKEN_HEADS: Final = dict(zip(TOKENS, ("input", "cache read", "cache write", "output", "reasoning"), strict=True))
_SHARES: Final = ("reported", "partial", "counted", "estimated", "none", "unpriced")
_PLACES: Final = 4
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""How a cell begins that a spreadsheet evaluates (OWASP, "CSV Injection")."""
_RATES_MOST: Final = 6
_REASONS_MOST: Final = 5
_LEAST: Final = (
    "none",
    "partial",
    "attempts",
    "reasoning",
    "cache write",
    "estimated",
    "counted",
    "reported",
    "cache read",
)
"""Columns that a narrow terminal leaves out, in this order."""
_SHOW: Final = Context(prec=60, rounding=ROUND_HALF_EVEN)


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
        "calls": row.calls,
        "errors": row.errors,
        "attempts": row.attempts,
        "tokens": row.tokens,
        "calls_without_tokens": {name: row.unknown[name] for name in ("input_tokens", "output_tokens")},
        "sources": {
            source: {"calls": tally.calls, "cost": None if tally.cost is None else plain(tally.cost)}
            for source, tally in sorted(row.sources.items())
        },
        "shares": {name: plain(row.shares[name]) for name in _SHARES},
    }


def as_json(report: LedgerReport) -> dict[str, Any]:
    """The whole report; money and shares are exact strings, `null` is not known."""
    question = report.question
    conversion = question.conversion
    more = {} if conversion is None else {"conversion": _conversion_json(report, conversion)}
    rows = [
        {"group": dict(zip(question.by, row.group, strict=True)), **_row_json(row, conversion)} for row in report.rows
    ]
    return {
        "ledger": report.path,
        "by": list(question.by),
        "timezone": question.zone.name,
        "since": None if question.since is None else question.since.isoformat(),
        "until": None if question.until is None else question.until.isoformat(),
        "rows": rows,
        "totals": [_row_json(row, conversion) for row in report.totals],
        "lost_calls": report.lost,
        "unpriced_reasons": [{"reason": reason, "calls": calls} for reason, calls in report.reasons],
        **more,
    }


def _conversion_json(report: LedgerReport, conversion: Conversion) -> dict[str, Any]:
    total, missing = _together(report)
    return {
        **conversion.to_dict(),
        "total": None if total is None else plain(total),
        "calls_without_rate": missing,
        "unpriced_calls": _unpriced(report),
    }


def _together(report: LedgerReport) -> tuple[Decimal | None, int]:
    """Everything in the currency asked for, and the calls that no rate reached."""
    total: Decimal | None = None
    for row in report.totals:
        if row.converted is not None:
            total = row.converted if total is None else EXACT.add(total, row.converted)
    return total, sum(row.unconverted for row in report.totals)


def _unpriced(report: LedgerReport) -> int:
    return sum(row.calls for row in report.totals if row.currency is None)


def as_csv(report: LedgerReport) -> str:
    """One line per row and a header; what is not known is empty. Totals are left to the reader's spreadsheet."""
    by = report.question.by
    fields = ("currency", "cost", "complete", "calls", "errors", "attempts")
    shares = [f"share_{name}" for name in _SHARES]
    conversion = report.question.conversion
    more = () if conversion is None else ("converted", "converted_currency", "calls_without_rate")
    vendor = ("vendor_cost", "vendor_cost_gaps")
    target = io.StringIO()
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow([*by, *fields, *TOKENS, *shares, *more, *vendor])
    for row in report.rows:
        data = _row_json(row, conversion)
        data["complete"] = "yes" if row.complete else "no"
        sums = [*(data[name] for name in fields), *(row.tokens[name] for name in TOKENS)]
        converted = data["converted"].values() if conversion is not None else ()
        writer.writerow(
            [*map(_csv_text, row.group), *sums, *data["shares"].values(), *converted, *(data[name] for name in vendor)]
        )  # None is written as an empty field
    return target.getvalue()


def _csv_text(value: object) -> object:
    """A name as a cell that no spreadsheet takes for a formula and no terminal obeys: a tag may hold anything."""
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _amount(amount: Decimal | None, *, complete: bool) -> str:
    if amount is None:
        return "?"
    # Small sums keep three digits: nothing but free may look like 0.
    places = max(_PLACES, 2 - amount.adjusted()) if amount else _PLACES
    text = f"{_SHOW.quantize(amount, Decimal(1).scaleb(-places)):,f}"
    text = text.rstrip("0") if places > _PLACES else text
    return text + ("" if complete else "+")


def _tokens(row: ReportRow, name: str) -> str:
    known, unknown = row.tokens[name], row.unknown[name]
    if name not in ("input_tokens", "output_tokens"):
        return "-" if known is None else f"{known:,}"
    return "?" if known is None else f"{known:,}+" if unknown else f"{known:,}"


def _columns(report: LedgerReport, rows: list[ReportRow]) -> dict[str, list[str]]:
    """The columns of numbers by their heads, those left out that say the same of every row."""
    conversion = report.question.conversion
    columns = {
        "cost": [_amount(row.cost, complete=row.complete) for row in rows],
        "currency": [row.currency or "unpriced" for row in rows],
    }
    if any(row.vendor_cost is not None for row in rows):
        columns["vendor's cost"] = [
            "-" if row.vendor_cost is None else _amount(row.vendor_cost, complete=True) for row in rows
        ]
    if conversion is not None:
        columns[f"in {conversion.currency}"] = [
            _amount(row.converted, complete=row.complete and not row.unconverted) for row in rows
        ]
    columns["calls"] = [f"{row.calls:,}" for row in rows]
    if any(row.attempts not in (None, row.calls) for row in rows):
        columns["attempts"] = ["-" if row.attempts is None else f"{row.attempts:,}" for row in rows]
    for name in TOKENS:
        if name in ("input_tokens", "output_tokens") or any(row.tokens[name] for row in rows):
            columns[_TOKEN_HEADS[name]] = [_tokens(row, name) for row in rows]
    for name in _shown_shares(rows):
        columns[name] = [f"{EXACT.multiply(row.shares[name], Decimal(100)):.1f}%" for row in rows]
    return columns


def as_text(report: LedgerReport, columns: int | None = None) -> str:
    """The table with a totals row per currency, and below it what a reader must know.

    Where it is wider than so many columns of a terminal, it leaves out the least of its own, and says which.
    """
    if not report.rows:
        return "\n".join([_period(report), _nothing(report), *_notes(report)])
    by, everything = report.question.by, [*report.rows, *(report.totals if report.question.by else ())]
    heads = [["-" if key is None else key for key in row.group] for row in report.rows]
    heads += [["total", *[""] * (len(by) - 1)] for _ in everything[len(heads) :]]
    numbers = _columns(report, everything)
    left_out = []
    text = _table(by, heads, numbers, len(report.rows))
    for name in _LEAST:
        if columns is None or max(map(width, text.splitlines())) <= columns:
            break
        if numbers.pop(name, None) is not None:
            left_out.append(name)
            text = _table(by, heads, numbers, len(report.rows))
    notes = _notes(report)
    if left_out:
        notes = [*(notes or [""]), f"left out for {columns} columns: {', '.join(left_out)}; --csv and --json have all"]
    return "\n".join([_period(report), "", text, *(line for note in notes for line in _wrapped(note, columns))])


def _wrapped(note: str, columns: int | None) -> list[str]:
    """A note in lines of the terminal's width; what follows the first is set in."""
    if columns is None or width(note) <= columns:
        return [note]
    return textwrap.wrap(note, max(columns, 40), subsequent_indent="     ", break_long_words=False)


def _table(by: Sequence[str], heads: list[list[str]], numbers: Mapping[str, list[str]], rule: int) -> str:
    rows = [[*head, *cells] for head, cells in zip(heads, zip(*numbers.values(), strict=True), strict=True)]
    right = [name for name in numbers if name != "currency"]
    return table([*by, *numbers], rows, right=right, rules=[rule] if len(rows) > rule else [])


def _shown_shares(rows: list[ReportRow]) -> list[str]:
    """Sources of usage worth a column: none where all is reported; whether a row is unpriced its currency says."""
    used = [name for name in _SHARES if name != "unpriced" and any(row.shares[name] for row in rows)]
    return [] if used == ["reported"] else used


def _period(report: LedgerReport) -> str:
    question = report.question
    local = question.zone.local
    parts = [f"times in {question.zone.name}"]
    if question.since is not None:
        parts.append(f"since {local(question.since).isoformat(timespec='minutes')}")
    if question.until is not None:
        parts.append(f"until {local(question.until).isoformat(timespec='minutes')}")
    return f"{report.path}: {', '.join(parts)}"


def _nothing(report: LedgerReport) -> str:
    if not report.held:
        return "the ledger holds no calls yet"
    return f"no call matches; the ledger holds {report.held:,} calls, from {report.first} to {report.last}"


def _converted(report: LedgerReport, conversion: Conversion) -> list[str]:
    """What all of it comes to in the currency asked for, and at whose rates."""
    total, missing = _together(report)
    whole = not missing and not _unpriced(report)
    notes = [f"together {_amount(total, complete=whole)} {conversion.currency}, by your own rates, for show"]
    rates = conversion.applied
    said = [f"{rate.pair} {plain(rate.rate)} of {rate.day} ({rate.source})" for rate in rates[:_RATES_MOST]]
    if rates:
        more = f", and {len(rates) - _RATES_MOST} more" if len(rates) > _RATES_MOST else ""
        notes.append(f"rates applied: {', '.join(said)}{more}")
    if missing:
        notes.append(f"{missing:,} calls have no rate into {conversion.currency} on or before their day")
    return notes


def _reasons(report: LedgerReport) -> list[str]:
    """Why calls are unpriced, how many, and what mends it: the reasons of the price book name the remedy."""
    if not report.reasons:
        return []
    shown = [f"  {calls:,}: {printable(reason or 'no reason was recorded')}" for reason, calls in report.reasons]
    rest = len(shown) - _REASONS_MOST
    more = [f"  and {rest} more reasons: report --json has all"] if rest > 0 else []
    return ["unpriced calls, by reason:", *shown[:_REASONS_MOST], *more]


def _notes(report: LedgerReport) -> list[str]:
    conversion = report.question.conversion
    notes = [] if conversion is None or not report.rows else _converted(report, conversion)
    if any(not row.complete or row.unknown["input_tokens"] or row.unknown["output_tokens"] for row in report.rows):
        notes.append("+ at least: some calls of the group have no known cost or tokens; ? not known")
    if gaps := sum(row.vendor_gaps for row in report.totals):
        notes.append(f"{gaps:,} calls cost more than 1% more or less by the vendor's own figure")
    notes += _reasons(report)
    failed = sum(row.errors for row in report.totals if row.currency is None)
    if failed:
        notes.append(f"{failed:,} of {_unpriced(report):,} unpriced calls ended in an error")
    if report.lost:
        notes.append(f"{report.lost:,} more calls were lost while the ledger could not be written")
    return ["", *notes] if notes else []
