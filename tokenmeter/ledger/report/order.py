"""Order and number of a report's rows: `--sort` and `--top`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger.report.query import TOKENS, LedgerReport, ReportRow

__all__ = ["ordered"]

_NUMBERS: Final = ("cost", "calls", "errors", "attempts", "vendor_cost", "converted", "change")


def ordered(report: LedgerReport, sort: str | None, top: int | None) -> LedgerReport:
    """The rows in another order, and of each currency only the first `top`; the totals stay those of all rows.

    `sort` is a key of the groups, a number of the rows, or the label of a statistic, with `:asc` or `:desc`; by
    default numbers run down and names up, and with `top` alone rows stand by cost. What is not known stands last.
    Raises ConfigurationError for another name.
    """
    if sort is None and top is None:
        return report
    name, _, direction = (sort or "cost").partition(":")
    number, value = _value(report, name)
    if direction not in ("", "asc", "desc"):
        raise ConfigurationError(f"--sort: {direction!r} is not asc or desc")
    down = direction == "desc" if direction else number
    # Sorted twice, as sorting is stable: what is known, then currencies apart where the order is one of amounts.
    rows = sorted((row for row in report.rows if value(row) is not None), key=value, reverse=down)
    rows += [row for row in report.rows if value(row) is None]
    if number:
        rows.sort(key=lambda row: (row.currency is None, row.currency or ""))
    if top is None:
        return replace(report, rows=tuple(rows))
    seen: Counter[str | None] = Counter()
    kept = []
    for row in rows:
        seen[row.currency] += 1
        if seen[row.currency] <= top:
            kept.append(row)
    return replace(report, rows=tuple(kept), left_out=len(rows) - len(kept))


def _value(report: LedgerReport, name: str) -> tuple[bool, Callable[[ReportRow], Any]]:
    """Whether a name is of a number, and how it is read off a row."""
    by = report.question.by
    if name in by:
        place = by.index(name)
        return False, lambda row: row.group[place]
    if name in _NUMBERS:
        return True, lambda row: getattr(row, name)
    if name in TOKENS:
        return True, lambda row: row.tokens[name]
    labels = [stat.label for stat in report.question.stats]
    if name in labels:
        return True, lambda row: row.stats.get(name)
    raise ConfigurationError(f"--sort: {name!r} is not one of {', '.join((*by, *_NUMBERS, *TOKENS, *labels))}")
