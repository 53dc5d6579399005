"""The digest of a day: what was spent by a tag, and what is unpriced; as a short text in English or Chinese."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from tokenmeter.ledger.report.query import LedgerReport, ReportRow
from tokenmeter.money import plain

__all__ = ["digest"]

_ROWS_MOST: Final = 20
_WORDS: Final = {
    "en": ("Spend of {day}", "{calls} calls, {cost} {currency}", "{calls} calls without a price", "no calls", "none"),
    "zh": ("{day} 支出", "{calls} 次调用,{cost} {currency}", "{calls} 次调用无价格", "没有调用", "无"),
}


def digest(report: LedgerReport, day: str, language: str) -> tuple[str, str]:
    """Title and text: the totals by currency, then a line for each group, the dearest first."""
    title, spent, unpriced, nothing, none = _WORDS[language]

    def line(row: ReportRow) -> str:
        if row.currency is None or row.cost is None:
            return unpriced.format(calls=row.calls)
        return spent.format(calls=row.calls, cost=plain(round(row.cost, 4)), currency=row.currency)

    lines = [line(row) for row in report.totals] or [nothing]
    lines.extend(f"{_name(row.group, none)}: {line(row)}" for row in report.rows[:_ROWS_MOST])
    if len(report.rows) > _ROWS_MOST:
        lines.append(f"… {len(report.rows) - _ROWS_MOST}")
    return title.format(day=day), "\n".join(lines)


def _name(group: Iterable[str | None], none: str) -> str:
    return " / ".join(none if one is None else one for one in group)
