"""The page: head, totals, sections in order, foot. One file without script, which loads nothing."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from pathlib import PurePath
from typing import Final

from tokenmeter._support.logs import printable
from tokenmeter.ledger.page import model_sections, sections
from tokenmeter.ledger.page.changes import against, compared
from tokenmeter.ledger.page.charts import bar
from tokenmeter.ledger.page.figures import PageFigures
from tokenmeter.ledger.page.markup import Markup, element, joined
from tokenmeter.ledger.page.over_time import over_time
from tokenmeter.ledger.page.style import sheet
from tokenmeter.ledger.page.wording import amount, instant, percent, whole
from tokenmeter.ledger.page.words import Words
from tokenmeter.ledger.report.answer import ReportRow
from tokenmeter.ledger.report.render import weak_costs
from tokenmeter.money import plain

__all__ = ["POLICY", "page"]

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
"""Nothing is loaded and nothing runs, whatever a name in the ledger says."""
_ZERO: Final = Decimal(0)


def page(figures: PageFigures, words: Words, made: datetime) -> str:
    """The whole page; `made` is when its snapshot was read."""
    name = printable(PurePath(figures.totals.path).name)
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width,initial-scale=1"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", f"{words.say('title')} · {name}"),
        element("style", sheet()),
    )
    body = element("body", _header(figures, name, words, made), element("main", *_main(figures, words)), _footer(words))
    return f"<!DOCTYPE html>\n{element('html', head, body, lang=words.tag)}\n"


def _header(figures: PageFigures, name: str, words: Words, made: datetime) -> Markup:
    question = figures.totals.question
    zone = question.zone
    line = figures.by_model.timeline if figures.by_model is not None else None
    parts = [] if line is None else [f"{instant(line.first)} – {instant(line.last)}"]
    parts += [words.say("clock", zone=zone.name), words.say("made", at=instant(zone.local(made)))]
    asked = [
        *(
            words.say(name, at=instant(zone.local(at)))
            for name, at in (("since", question.since), ("until", question.until))
            if at is not None
        ),
        *(f"provider = {one}" for one in question.providers),
        *(f"model = {one}" for one in question.models),
        *(f"{key} = {value}" for key, value in question.tags),
        *([question.where.text] if question.where is not None else []),
    ]
    only = element("p", words.say("only", text=" · ".join(asked))) if asked else None
    return element(
        "header", element("p", "tokenmeter", class_="brand"), element("h1", name), element("p", " · ".join(parts)), only
    )


def _main(figures: PageFigures, words: Words) -> list[Markup]:
    report = figures.totals
    if figures.by_model is None:
        held = (
            words.say("held", calls=whole(report.held), first=str(report.first), last=str(report.last))
            if report.held
            else words.say("empty")
        )
        return [element("p", f"{words.say('none')} {held}")]
    parts = [_totals(figures, words)]
    if figures.comparison is not None:
        changes = compared(figures.comparison, words)
        parts.append(_section(words.say("against"), changes, against(figures.comparison, words)))
    zone = report.question.zone
    charts = over_time(figures.by_model, figures.changes, zone, words)
    parts.append(_section(words.say("over model"), charts, words.say("over note")))
    for found in figures.over_time:
        heading = words.say("over", key=words.key(found.keys[-1]))
        parts.append(_section(heading, over_time(found, (), zone, words)))
    parts += [
        _section(words.say("most of", key=words.key(found.keys[-1])), sections.most_of(found, words))
        for found in figures.most_of
    ]
    paid = sections.components(figures.components, figures.currencies, words)
    parts.append(_section(words.say("components"), paid, words.say("components note")))
    parts.append(_section(words.say("sources"), sections.sources(report.totals, words), words.say("sources note")))
    if figures.unpriced:
        parts.append(_section(words.say("unpriced models"), [sections.unpriced(figures.unpriced, words)]))
    saved = model_sections.cache(figures.statistics, figures.by_model, words)
    parts.append(_section(words.say("cache"), saved, words.say("cache note")))
    plots = model_sections.latency(figures.statistics, figures.by_model, words)
    parts.append(_section(words.say("latency"), plots, words.say("latency note")))
    calls = [
        sections.dearest(some, currency, figures.tags, words) for currency, some in figures.dearest.items() if some
    ]
    parts.append(_section(words.say("dearest"), calls))
    runs = [sections.traces(some, currency, words) for currency, some in figures.traces.items() if some]
    parts.append(_section(words.say("traces"), runs, words.say("traces note")))
    used = sections.budgets(figures.budgets, words)
    parts.append(_section(words.say("budgets"), used, words.say("budgets note")))
    return [part for part in parts if part]


def _section(heading: str, content: list[Markup], note: str | None = None) -> Markup:
    """A section with its heading beside it in a wide window; nothing where it has no content."""
    if not content:
        return Markup()
    about = element("p", note, class_="note") if note else None
    return element("section", element("div", element("h2", heading), about), element("div", *content))


def _totals(figures: PageFigures, words: Words) -> Markup:
    report = figures.totals
    priced = [row for row in report.totals if row.currency is not None]
    without = [row for row in report.totals if row.currency is None]
    cards = [_total(row, words) for row in priced]
    cards += [_unpriced(row, report.lost, words) for row in without]
    if not without and report.lost:
        cards.append(element("div", element("p", words.say("lost", calls=whole(report.lost)), class_="exact")))
    return element("div", *cards, class_="totals")


def _total(row: ReportRow, words: Words) -> Markup:
    """One currency: its total first, then where it comes from."""
    parts = sections.source_parts(row)
    shares = [
        element("li", element("i", class_=kind), joined(words.say(kind), " ", element("span", percent(cost, row.cost))))
        for kind, cost in parts
    ]
    said = words.say("calls", calls=whole(row.calls))
    return element(
        "div",
        element("h2", str(row.currency)),
        element("p", amount(row.cost), class_="big"),
        element("p", f"{words.say('exactly', amount=plain(row.cost or _ZERO))} · {said}", class_="exact"),
        bar(parts, row.cost or _ZERO),
        element("ul", *shares, class_="legend"),
        *_weak(row, words),
    )


def _weak(row: ReportRow, words: Words) -> list[Markup]:
    """What share of a total is by prices to be looked at again."""
    said = [(name, part) for name, part in weak_costs(row).items() if part]
    return [element("p", f"{percent(part, row.cost)} {words.say(name)}", class_="exact") for name, part in said]


def _unpriced(row: ReportRow, lost: int, words: Words) -> Markup:
    more = [words.say("unpriced note")]
    if row.errors:
        more.append(words.say("errors", calls=whole(row.errors)))
    if lost:
        more.append(words.say("lost", calls=whole(lost)))
    return element(
        "div",
        element("h2", words.say("unpriced")),
        element("p", whole(row.calls), " ", element("span", words.say("call unit")), class_="big"),
        element("p", " · ".join(more), class_="exact"),
        class_="warn",
    )


def _footer(words: Words) -> Markup:
    return element("footer", element("p", words.say("foot")))
