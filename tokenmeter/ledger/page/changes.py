"""The section that compares with an earlier period: what each currency's change comes from, and by model."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from tokenmeter.ledger.page.charts import diverging
from tokenmeter.ledger.page.groups import Group
from tokenmeter.ledger.page.markup import Markup, element
from tokenmeter.ledger.page.tables import head, standing
from tokenmeter.ledger.page.wording import amount, exact, instant, named, places_of
from tokenmeter.ledger.page.words import Words
from tokenmeter.ledger.report.answer import LedgerReport, ReportRow
from tokenmeter.ledger.report.causes import Causes

__all__ = ["against", "compared"]

_CAUSES: Final = ("volume", "price", "cache", "mix")
_MOST: Final = 8
_ZERO: Final = Decimal(0)


def against(report: LedgerReport, words: Words) -> str:
    """The earlier period in words."""
    comparison = report.comparison
    assert comparison is not None
    since, until = (instant(report.question.zone.local(at)) for at in (comparison.since, comparison.until))
    return words.say("against note", since=since, until=until)


def compared(report: LedgerReport, words: Words) -> list[Markup]:
    """For each currency the change by cause, then by model."""
    comparison = report.comparison
    assert comparison is not None
    parts = []
    totals = {row.currency: row for row in report.totals}
    for causes in comparison.causes:
        total = totals[causes.currency]
        parts.append(_by_cause(causes, total, words))
        rows = [row for row in report.rows if row.currency == causes.currency and row.group and row.change]
        rows.sort(key=lambda row: (-(row.change or _ZERO).copy_abs(), [name or "" for name in row.group]))
        if rows:
            parts.append(_by_model(rows[:_MOST], causes.currency, words))
    return parts


def _by_cause(causes: Causes, total: ReportRow, words: Words) -> Markup:
    changes = {name: getattr(causes, name) for name in _CAUSES}
    most = max(change.copy_abs() for change in (*changes.values(), causes.change))
    places = places_of([total.cost, _before(total)])
    *body, foot = (
        element(
            "tr",
            element("th", words.say("cache share" if name == "cache" else name), scope="row"),
            element("td", diverging(change, most), class_="share"),
            exact(change, places, signed=True),
        )
        for name, change in {**changes, "changed": causes.change}.items()
    )
    said = f"{causes.currency} {amount(_before(total), places)} → {amount(total.cost, places)}"
    heads = head((words.say("cause"), "t"), "", words.say("changed"))
    return standing(words.say("against"), heads, body, [foot], kind="ranked", shown=said)


def _before(row: ReportRow) -> Decimal:
    before = row.previous
    return _ZERO if before is None or before.cost is None else before.cost


def _by_model(rows: Sequence[ReportRow], currency: str, words: Words) -> Markup:
    groups: list[Group] = [row.group for row in rows]
    most = max((row.change or _ZERO).copy_abs() for row in rows)
    places = places_of(row.cost for row in rows)
    body = [
        element(
            "tr",
            element("th", named(row.group, groups, words), scope="row"),
            element("td", diverging(row.change or _ZERO, most), class_="share"),
            exact(_before(row), places, kind="w"),
            exact(row.cost, places),
            exact(row.change, places, signed=True),
        )
        for row in rows
    ]
    heads = head((words.say("model"), "t"), "", (words.say("before"), "w"), words.say("now"), words.say("changed"))
    caption = f"{words.say('against')} {words.say('model')}"
    return standing(caption, heads, body, kind="ranked", shown=currency)
