"""The sections of tables: values of a key, sources, unpriced calls, dearest calls and runs, budgets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import reduce
from typing import Final

from tokenmeter._support.text_tables import cut
from tokenmeter.budgets.limits import CALLS
from tokenmeter.ledger.page.budget_windows import BudgetUse
from tokenmeter.ledger.page.charged import ChargedComponent
from tokenmeter.ledger.page.charts import StackedColumn, bar, stacked, swatch
from tokenmeter.ledger.page.dearest import DearCall, DearTrace, UnpricedModel
from tokenmeter.ledger.page.groups import TagCensus
from tokenmeter.ledger.page.markup import Markup, element, joined
from tokenmeter.ledger.page.series import Series
from tokenmeter.ledger.page.tables import folded, head, standing
from tokenmeter.ledger.page.wording import amount, exact, instant, named, percent, places_of, seconds, whole
from tokenmeter.ledger.page.words import Words
from tokenmeter.ledger.report.answer import ReportRow, totals_of
from tokenmeter.money import EXACT, plain

__all__ = [
    "SOURCES",
    "budgets",
    "components",
    "dearest",
    "most_of",
    "source_parts",
    "sources",
    "traces",
    "unpriced",
]

SOURCES: Final = ("reported", "partial", "counted", "estimated", "none")
_CLASS: Final = {"none": "unknown"}
_ZERO: Final = Decimal(0)
_WINDOW: Final = 16
"""Columns that a label of a window takes at most."""


def source_parts(row: ReportRow) -> list[tuple[str, Decimal]]:
    """What of a row's cost comes from each source of usage, by class."""
    return [
        (_CLASS.get(name, name), tally.cost)
        for name in SOURCES
        if (tally := row.sources.get(name)) is not None and tally.cost
    ]


def most_of(found: Series, words: Words) -> list[Markup]:
    """The dearest values of a key in each currency, with the bars of their cost."""
    parts = []
    key = words.key(found.keys[-1])
    for currency in found.currencies:
        shown = found.shown(currency)
        rows = [(named(group, shown, words), found.sums[currency, group]) for group in shown]
        if rest := found.others(currency):
            count = max(found.groups - len(shown), 1)
            rows.append((words.say("others", count=f"{count:,}"), rest))
        total = totals_of([row for _, row in rows])[0].cost
        places = places_of(row.cost for _, row in rows)
        body = [
            element(
                "tr",
                element("th", name, scope="row"),
                element("td", bar([("c0", row.cost or _ZERO)], total or _ZERO), class_="share"),
                exact(row.cost, places),
                element("td", percent(row.cost, total)),
                element("td", whole(row.calls), class_="w"),
            )
            for name, row in rows
        ]
        heads = head((key, "t"), "", words.say("cost"), words.say("share"), (words.say("call"), "w"))
        parts.append(standing(words.say("most of", key=key), heads, body, kind="ranked", shown=currency))
    return parts


def sources(totals: Sequence[ReportRow], words: Words) -> list[Markup]:
    """Cost and calls by where their tokens come from."""
    parts = []
    for total in totals:
        if total.currency is None:
            continue
        body = []
        for name in SOURCES:
            tally = total.sources.get(name)
            if tally is None:
                continue
            kind = _CLASS.get(name, name)
            body.append(
                element(
                    "tr",
                    element("th", joined(swatch(kind), " ", words.say(kind)), scope="row", class_="key"),
                    element("td", bar([(kind, tally.cost or _ZERO)], total.cost or _ZERO), class_="share"),
                    exact(tally.cost),
                    element("td", percent(tally.cost, total.cost)),
                    element("td", whole(tally.calls), class_="w"),
                )
            )
        heads = head((words.say("source"), "t"), "", words.say("cost"), words.say("share"), (words.say("call"), "w"))
        parts.append(standing(words.say("sources"), heads, body, kind="ranked", shown=total.currency))
    return parts


def components(found: Sequence[ChargedComponent], currencies: Sequence[str], words: Words) -> list[Markup]:
    """Cost by component in each currency."""
    parts = []
    for currency in currencies:
        some = [one for one in found if one.currency == currency]
        if not some:
            continue
        total = reduce(EXACT.add, (one.cost for one in some))
        places = places_of(one.cost for one in some)
        body = [
            element(
                "tr",
                element("th", one.component or words.say("whole"), scope="row"),
                element("td", bar([("c0", one.cost)], total), class_="share"),
                exact(one.cost, places),
                element("td", percent(one.cost, total)),
                element("td", whole(one.calls), class_="w"),
            )
            for one in some
        ]
        heads = head((words.say("component"), "t"), "", words.say("cost"), words.say("share"), (words.say("call"), "w"))
        parts.append(standing(words.say("components"), heads, body, kind="ranked", shown=currency))
    return parts


def unpriced(rows: Sequence[UnpricedModel], words: Words) -> Markup:
    """Which models have calls without a known cost, and why."""
    body = [
        element(
            "tr",
            element("th", _model(row.provider, row.model, words), scope="row"),
            element("td", row.reason or words.say("no reason"), class_="t wrap"),
            element("td", whole(row.calls)),
        )
        for row in rows
    ]
    heads = head((words.say("model"), "t"), (words.say("reason"), "t"), words.say("call"))
    return standing(words.say("unpriced models"), heads, body, shown="")


def _model(provider: str | None, model: str | None, words: Words) -> Markup:
    name = element("span", model or words.say("unset"))
    return name if provider is None else joined(name, " ", element("span", provider, class_="soft"))


def dearest(calls: Sequence[DearCall], currency: str, tags: Sequence[TagCensus], words: Words) -> Markup:
    """The dearest calls of a currency."""
    names = [tag.name for tag in tags[:3]]
    places = places_of(call.cost for call in calls)
    body = [
        element(
            "tr",
            element("th", call.model or words.say("unset"), scope="row", title=call.id),
            element("td", instant(call.ended), class_="t"),
            element("td", _tags(call, names), class_="t wrap w"),
            element("td", whole(call.input_tokens), class_="m"),
            element("td", whole(call.output_tokens), class_="m"),
            element("td", seconds(call.duration), class_="w"),
            exact(call.cost, places),
        )
        for call in calls
    ]
    heads = head(
        (words.say("model"), "t"), (words.say("ended"), "t"), (words.say("tags"), "t w"),
        (words.say("input"), "m"), (words.say("output"), "m"), (words.say("duration"), "w"),
        words.say("cost"),
    )  # fmt: skip
    return standing(words.say("dearest"), heads, body, kind="calls", shown=currency)


def _tags(call: DearCall, names: Iterable[str]) -> str:
    return ", ".join(f"{name}={call.tags[name]}" for name in names if name in call.tags)


def traces(rows: Sequence[DearTrace], currency: str, words: Words) -> Markup:
    """The dearest traces of a currency."""
    places = places_of(row.cost for row in rows)
    body = [
        element(
            "tr",
            element("th", row.scope or words.say("unset"), scope="row"),
            element("td", instant(row.began), class_="t"),
            element("td", element("code", row.trace), class_="t w"),
            element("td", whole(row.calls)),
            exact(row.cost, places),
        )
        for row in rows
    ]
    heads = head(
        (words.say("scope"), "t"), (words.say("began"), "t"), (words.say("trace"), "t w"), words.say("call"),
        words.say("cost"),
    )  # fmt: skip
    return standing(words.say("traces"), heads, body, kind="calls", shown=currency)


def budgets(uses: Sequence[BudgetUse], words: Words) -> list[Markup]:
    """Each budget: its newest window against the limit, and a column for each window."""
    return [_budget(use, words) for use in uses if use.windows]


def _budget(use: BudgetUse, words: Words) -> Markup:
    last = use.windows[-1]
    places = 0 if use.unit == CALLS else places_of(one.spent for one in use.windows)
    peak = max(use.windows, key=lambda one: one.spent)
    said = f"{amount(last.spent, places)} {use.unit}"
    kind = "over" if use.limit is not None and last.spent > use.limit else "c0"
    if use.limit is None:
        against = f"{words.say('limit')}: {words.say('no limit')}"
    else:
        against = f"{percent(last.spent, use.limit)} · {words.say('limit')} {plain(use.limit)} {use.unit}"
    heading = element(
        "div",
        element("h3", use.name),
        element("span", f"{last.window}: ", element("strong", said), " ", element("span", against, class_="soft")),
        class_="row",
    )
    whole_bar = bar([(kind, min(last.spent, use.limit))], use.limit) if use.limit is not None else None
    columns = [
        StackedColumn(
            cut(one.window, _WINDOW), {"c0": one.spent}, f"{one.window}  {amount(one.spent, places)} {use.unit}"
        )
        for one in use.windows
    ]
    label = words.say(
        "budget chart",
        budget=use.name,
        count=len(columns),
        peak=amount(peak.spent, places),
        unit=use.unit,
        window=peak.window,
    )
    chart = stacked(columns, ["c0"], label=label, limit=use.limit, axis=False) if len(columns) > 1 else None
    body = [
        element(
            "tr",
            element("th", one.window, scope="row"),
            exact(one.spent, places),
            element("td", whole(one.calls)),
            element("td", "–" if use.limit is None else percent(one.spent, use.limit)),
        )
        for one in use.windows
    ]
    heads = head((words.say("window"), "t"), f"{words.say('spent')} {use.unit}", words.say("call"), words.say("used"))
    table = standing(f"{words.say('budget')} {use.name} · {use.unit}", heads, body)
    return element("div", heading, whole_bar, chart, folded(words.say("figures"), table), class_="budget")
