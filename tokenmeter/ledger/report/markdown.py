"""A report as Markdown, for an issue, a chat or a wiki: the table of the screen with pipes, and its notes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from tokenmeter.ledger.report.query import LedgerReport
from tokenmeter.ledger.report.screen import cells

__all__ = ["as_markdown"]

_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]<>()#|~!&])")


def as_markdown(report: LedgerReport) -> str:
    """The period, the table with its totals, and what a reader must know; rounded as on the screen."""
    period, heads, rows, notes = cells(report)
    lines = [f"_{_escaped(period)}_", ""]
    if rows:
        right = len(report.question.by)
        rule = ["---"] * right + [("---" if head == "currency" else "---:") for head in heads[right:]]
        lines += [_line([_escaped(head) for head in heads]), _line(rule)]
        lines += [_line([_escaped(cell) for cell in row]) for row in rows]
        lines.append("")
    lines += [f"- {_escaped(note.strip())}" for note in notes if note.strip()]
    return "\n".join(lines).rstrip() + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    """Text that no renderer takes for markup."""
    return _SPECIAL.sub(r"\\\1", text)
