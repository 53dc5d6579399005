"""One frame of `tokenmeter top`, as a renderable of rich that fits the terminal; names are text and never markup."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

from tokenmeter._support.logs import printable
from tokenmeter._support.text_tables import cut
from tokenmeter.cli._top_figures import WINDOWS, Ranking, TopFigures
from tokenmeter.ledger.page.budget_windows import BudgetUse
from tokenmeter.ledger.page.wording import amount, percent, places_of, ratio
from tokenmeter.ledger.report.answer import ReportRow
from tokenmeter.money import plain

__all__ = ["frame"]

_SPARKS: Final = " ▁▂▃▄▅▆▇█"
_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"
_BAR: Final = 12
_SPARKED: Final = 76
"""Columns from which on the hours are drawn."""
_WIDE: Final = 110
"""Columns from which on rankings stand side by side."""
_MOST: Final = {"reasons": 3, "budgets": 6}
_ROWS: Final = 20
"""Rows of a ranking where the height is not known."""
_FIXED: Final = 6
"""Lines that every frame has around its rankings."""


def frame(figures: TopFigures, columns: int, lines: int | None = None) -> Any:
    """The frame; with `lines` the rankings are cut to so many lines in all."""
    side_by_side = columns >= _WIDE and len(figures.rankings) > 1
    below = [*_reasons(figures, columns), *_budgets(figures.budgets, columns)]
    room = None if lines is None else lines - _FIXED - len(figures.hours) - len(below)
    if room is not None and not side_by_side:
        room //= max(1, len(figures.rankings))
    width = (columns - 3) // 2 if side_by_side else columns
    rankings = [_ranking(ranking, width, room) for ranking in figures.rankings]
    return Group(_head(figures, columns), _windows(figures, columns), Text(), *_beside(rankings, side_by_side), *below)


def _head(figures: TopFigures, columns: int) -> Text:
    last = "no calls yet" if figures.last is None else f"last call {figures.last[:19].replace('T', ' ')}"
    right = f"{figures.at:%Y-%m-%d %H:%M:%S}  {last}"
    room = max(12, columns - len(right) - 18)
    head = Text("tokenmeter top  ", style="bold")
    head.append(cut(printable(figures.path), room), style="bold cyan")
    head.append(f"  {right}", style="dim")
    head.truncate(columns, overflow="ellipsis")
    return head


def _table(*heads: tuple[str, str]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    for name, justify in heads:
        table.add_column(name, justify=justify, no_wrap=True, overflow="ellipsis")  # type: ignore[arg-type]
    return table


def _windows(figures: TopFigures, columns: int) -> Table:
    """A row for each currency: spend of the last minute, hour and 24 hours, calls, and the hours as a line."""
    sparks = columns >= _SPARKED
    heads = [("", "left"), *((name, "right") for name in WINDOWS), ("calls", "right")]
    table = _table(*heads, *([("hours", "left")] if sparks else []))
    day = {row.currency: row for row in figures.windows["24 hours"]}
    for currency, total in day.items():
        rows = [_of(figures.windows[name], currency) for name in WINDOWS]
        if currency is None:
            counts = [Text("0" if row is None else f"{row.calls:,}", style="yellow") for row in rows]
            table.add_row(Text("unpriced calls", style="yellow"), *counts)
            continue
        costs = [_cost(row) for row in rows]
        places = places_of(costs)
        shown = [Text(amount(cost, places), style="bold") for cost in costs]
        spark = [Text(_spark(figures.hours.get(currency, [])), style="cyan")] if sparks else []
        table.add_row(Text(printable(currency)), *shown, Text(f"{total.calls:,}"), *spark)
    if figures.lost:
        table.add_row(Text("lost calls", style="red"), "", "", Text(f"{figures.lost:,}", style="red"))
    if not day:
        table.add_row(Text("no calls in 24 hours", style="dim"))
    return table


def _of(rows: Sequence[ReportRow], currency: str | None) -> ReportRow | None:
    return next((row for row in rows if row.currency == currency), None)


def _spark(costs: Sequence[Decimal]) -> str:
    """A character for each hour; an hour with any spend is seen."""
    most = max(costs, default=Decimal(0))
    return "".join(" " if not cost else _SPARKS[max(1, round(ratio(cost, most) * 8))] for cost in costs)


def _ranking(ranking: Ranking, columns: int, lines: int | None) -> Table:
    """Names by their spend of 24 hours, with the last hour beside it."""
    table = _table(
        (printable(ranking.key, 40), "left"), ("hour", "right"), ("24 hours", "right"), ("", "left"), ("", "left")
    )
    priced = [row for row in ranking.rows if row.currency is not None]
    most = {row.currency: max(_cost(one) for one in priced if one.currency == row.currency) for row in priced}
    unpriced = [row for row in ranking.rows if row.currency is None]
    rows = [*priced, *unpriced]
    kept = rows[: _ROWS if lines is None else max(1, lines - 2)]
    places = places_of(_cost(row) for row in priced)
    name = max(10, columns - 30 - _BAR)
    for row in kept:
        last = row.group[-1]
        label = Text(cut(printable("not set" if last is None else last, 200), name))
        hour = ranking.hour.get((row.group, row.currency))
        if row.currency is None:
            calls = Text(f"{row.calls:,} calls", style="yellow")
            table.add_row(
                label,
                Text(f"{0 if hour is None else hour.calls:,} calls", style="yellow"),
                calls,
                Text("unpriced", style="yellow"),
                "",
            )
            continue
        costs = (_cost(hour), _cost(row))
        bar = Text(_bar(ratio(_cost(row), most[row.currency])), style="cyan")
        table.add_row(
            label,
            Text(amount(costs[0], places)),
            Text(amount(costs[1], places), style="bold"),
            Text(printable(row.currency), style="dim"),
            bar,
        )
    if len(kept) < len(rows):
        table.add_row(Text(f"{len(rows) - len(kept):,} more", style="dim"))
    return table


def _cost(row: ReportRow | None) -> Decimal:
    return Decimal(0) if row is None or row.cost is None else row.cost


def _bar(share: float) -> str:
    eighths = round(min(max(share, 0.0), 1.0) * _BAR * 8)
    return "█" * (eighths // 8) + (_EIGHTHS[eighths % 8] if eighths % 8 else "")


def _beside(rankings: Sequence[Table], side_by_side: bool) -> list[Any]:
    if not side_by_side:
        return [part for table in rankings for part in (table, Text())]
    grid = Table.grid(padding=(0, 3, 0, 0))
    grid.add_row(*rankings[:2])
    return [grid, Text(), *(part for table in rankings[2:] for part in (table, Text()))]


def _reasons(figures: TopFigures, columns: int) -> list[Text]:
    """Why calls of 24 hours are unpriced, most calls first."""
    said = [
        Text(cut(f"{calls:,} unpriced: {printable(reason or 'no reason was recorded')}", columns), style="yellow")
        for reason, calls in figures.reasons[: _MOST["reasons"]]
    ]
    return [*said, Text()] if said else []


def _budgets(uses: Sequence[BudgetUse], columns: int) -> list[Text]:
    """The newest window of each budget, against its limit where that is known."""
    said = []
    for use in uses[: _MOST["budgets"]]:
        last = use.windows[-1]
        name = cut(printable(f"{use.name} {last.window}"), max(20, columns - 60))
        line = Text(f"budget {name}  ")
        line.append(f"{amount(last.spent)} {use.unit}", style="bold")
        if use.limit is not None:
            over = last.spent > use.limit
            line.append(f" of {plain(use.limit)}  {percent(last.spent, use.limit)}  ", style="red" if over else "dim")
            line.append(_bar(ratio(last.spent, use.limit)), style="red" if over else "cyan")
        line.truncate(columns, overflow="ellipsis")
        said.append(line)
    return said
