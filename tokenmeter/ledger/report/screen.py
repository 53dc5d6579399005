"""A report as a table that fits a terminal.

Only this form rounds. In it `+` after a number says "at least": some calls of the group do not know theirs; `?` is
not known at all, and `-` was not reported. A converted sum stands beside the original, never in its place.

Where the table is wider than the terminal, first columns of numbers are left out, least important first; then names are
cut in their middle, as far as different names stay different; then the names of a row stand above its numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from tokenmeter._support.logs import printable
from tokenmeter._support.text_tables import cut, table, width, wrapped
from tokenmeter.ledger.report.notes import notes_of, nothing_found, percent, period_line, rounded, signed
from tokenmeter.ledger.report.query import TOKENS, LedgerReport, ReportRow
from tokenmeter.ledger.report.render import SHARES

__all__ = ["as_text", "cells"]

_TOKEN_HEADS: Final = dict(zip(TOKENS, ("input", "cache read", "cache write", "output", "reasoning"), strict=True))
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
_LAST: Final = ("vendor's cost", "output", "input", "calls")
"""Columns that are left out where the numbers alone are wider than the terminal."""
_NAME_LEAST: Final = 12
"""Columns that a cut name keeps at least: fewer say too little."""


def as_text(report: LedgerReport, columns: int | None = None) -> str:
    """The table with a totals row per currency, and below it what a reader must know.

    No line but the path of the ledger is wider than `columns`.
    """
    if not report.rows:
        return "\n".join([period_line(report), *_wrapped([nothing_found(report), *notes_of(report)], columns)])
    by, names, numbers = _columns(report)
    grid = _Grid(by, names, numbers, len(report.rows))
    text, more = grid.fitted(columns)
    notes = notes_of(report)
    if more:
        notes = [*(notes or [""]), *more]
    return "\n".join([period_line(report), "", *text, *_wrapped(notes, columns)])


def cells(report: LedgerReport) -> tuple[str, list[str], list[list[str]], list[str]]:
    """The same table for another form: the period, the heads, the rows with the totals last, the notes."""
    if not report.rows:
        return period_line(report), [], [], [nothing_found(report), *notes_of(report)]
    by, names, numbers = _columns(report)
    rows = [[*name, *row] for name, row in zip(names, zip(*numbers.values(), strict=True), strict=True)]
    return period_line(report), [*by, *numbers], rows, notes_of(report)


def _columns(report: LedgerReport) -> tuple[list[str], list[list[str]], dict[str, list[str]]]:
    """The heads of the groups, their names by row, and the columns of numbers; totals are the last rows."""
    by, everything = report.question.by, [*report.rows, *(report.totals if report.question.by else ())]
    names = [["-" if key is None else printable(key) for key in row.group] for row in report.rows]
    names += [["total", *[""] * (len(by) - 1)] for _ in everything[len(names) :]]
    return [printable(key) for key in by], names, _numbers(report, everything)


class _Grid:
    """The cells of a table: names of groups, then numbers by their heads; `rule` is the row that totals begin at."""

    def __init__(self, by: list[str], names: list[list[str]], numbers: dict[str, list[str]], rule: int) -> None:
        self.by, self.names, self.numbers, self.rule = by, names, numbers, rule

    def fitted(self, columns: int | None) -> tuple[list[str], list[str]]:
        """The lines of the table, and notes on what was done to fit it."""
        lines = self._lines()
        if columns is None or _widest(lines) <= columns:
            return lines, []
        left_out = []
        for name in _LEAST:
            if self.numbers.pop(name, None) is not None:
                left_out.append(name)
                lines = self._lines()
                if _widest(lines) <= columns:
                    return lines, [_left_out(left_out, columns)]
        if self._cut_names(columns):
            notes = [f"names are cut for {columns} columns; --csv and --json have them whole"]
            return self._lines(), [*([_left_out(left_out, columns)] if left_out else []), *notes]
        for name in _LAST:
            if _widest(self._numbers_only()) <= columns:
                break
            if self.numbers.pop(name, None) is not None:
                left_out.append(name)
        return self._stacked(columns), [_left_out(left_out, columns)] if left_out else []

    def _lines(self) -> list[str]:
        rows = [[*names, *cells] for names, cells in zip(self.names, self._cells(), strict=True)]
        rules = [self.rule] if len(rows) > self.rule else []
        return table([*self.by, *self.numbers], rows, right=self._right(), rules=rules).splitlines()

    def _cells(self) -> list[tuple[str, ...]]:
        return list(zip(*self.numbers.values(), strict=True))

    def _right(self) -> list[str]:
        return [name for name in self.numbers if name != "currency"]

    def _numbers_only(self) -> list[str]:
        return table(list(self.numbers), self._cells(), right=self._right()).splitlines()

    def _cut_names(self, columns: int) -> bool:
        """Cut the widest names until the table fits; False where they would say too little, or the same."""
        if not self.by:
            return False
        room = columns - _widest(self._numbers_only()) - 2 * len(self.by)
        cells = [[head, *(row[place] for row in self.names)] for place, head in enumerate(self.by)]
        widths = [max(map(width, column)) for column in cells]
        while sum(widths) > room:
            widest = max(range(len(widths)), key=widths.__getitem__)
            if widths[widest] <= _NAME_LEAST:
                return False
            widths[widest] -= 1
        short = [[cut(cell, most) for cell in column] for column, most in zip(cells, widths, strict=True)]
        if any(len(set(column)) != len(set(whole)) for column, whole in zip(short, cells, strict=True)):
            return False
        self.by = [column[0] for column in short]
        self.names = [list(row) for row in zip(*(column[1:] for column in short), strict=True)]
        return True

    def _stacked(self, columns: int) -> list[str]:
        """The names of a row in lines above its numbers."""
        heads, rule, *cells = self._numbers_only()
        if not self.by:
            return [heads, rule, *cells]
        lines = [*wrapped(", ".join(self.by), columns, "  "), heads, rule]
        for number, (names, line) in enumerate(zip(self.names, cells, strict=True)):
            if number == self.rule:
                lines.append(rule)
            lines += [*wrapped(", ".join(filter(None, names)), columns, "  "), line]
        return lines


def _widest(lines: Sequence[str]) -> int:
    return max(map(width, lines))


def _left_out(names: Sequence[str], columns: int) -> str:
    return f"left out for {columns} columns: {', '.join(names)}; --csv and --json have all"


def _wrapped(notes: Sequence[str], columns: int | None) -> list[str]:
    return [line for note in notes for line in wrapped(note, columns, "     ")]


def _tokens(row: ReportRow, name: str) -> str:
    known, unknown = row.tokens[name], row.unknown[name]
    if name not in ("input_tokens", "output_tokens"):
        return "-" if known is None else f"{known:,}"
    return "?" if known is None else f"{known:,}+" if unknown else f"{known:,}"


def _numbers(report: LedgerReport, rows: list[ReportRow]) -> dict[str, list[str]]:
    """The columns of numbers by their heads, those left out that say the same of every row."""
    conversion = report.question.conversion
    columns = {
        "cost": [rounded(row.cost, complete=row.complete) for row in rows],
        "currency": [row.currency or "unpriced" for row in rows],
    }
    if report.comparison is not None:
        columns["before"] = [_before(row) for row in rows]
        columns["change"] = [_change(row) for row in rows]
    for stat in report.question.stats:
        head = stat.name if stat.measure == "cost" else f"{stat.name} {stat.measure.replace('_', ' ')}"
        columns[head] = [_statistic(row.stats[stat.label]) for row in rows]
    if any(row.vendor_cost is not None for row in rows):
        columns["vendor's cost"] = [
            "-" if row.vendor_cost is None else rounded(row.vendor_cost, complete=True) for row in rows
        ]
    if conversion is not None:
        columns[f"in {conversion.currency}"] = [
            rounded(row.converted, complete=row.complete and not row.unconverted) for row in rows
        ]
    columns["calls"] = [f"{row.calls:,}" for row in rows]
    if any(row.attempts not in (None, row.calls) for row in rows):
        columns["attempts"] = ["-" if row.attempts is None else f"{row.attempts:,}" for row in rows]
    for name in TOKENS:
        if name in ("input_tokens", "output_tokens") or any(row.tokens[name] for row in rows):
            columns[_TOKEN_HEADS[name]] = [_tokens(row, name) for row in rows]
    for name in _shown_shares(rows):
        columns[name] = [percent(row.shares[name]) for row in rows]
    return columns


def _before(row: ReportRow) -> str:
    if row.previous is None:
        return "?" if row.currency is None else rounded(Decimal(0), complete=True)
    return rounded(row.previous.cost, complete=row.previous.complete)


def _change(row: ReportRow) -> str:
    if row.change is None:
        return "?"
    complete = row.complete and (row.previous is None or row.previous.complete)
    return signed(row.change) + ("" if complete else "?")


def _statistic(value: Decimal | int | float | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, Decimal):
        return rounded(value, complete=True)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3f}"


def _shown_shares(rows: list[ReportRow]) -> list[str]:
    """Sources of usage worth a column: none where all is reported; whether a row is unpriced its currency says."""
    used = [name for name in SHARES if name != "unpriced" and any(row.shares[name] for row in rows)]
    return [] if used == ["reported"] else used
