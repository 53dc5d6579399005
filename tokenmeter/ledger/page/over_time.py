"""The sections of spend over time: a chart for each currency with its legend, table and marked price changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from tokenmeter.ledger.page.charts import StackedColumn, legend, stacked
from tokenmeter.ledger.page.groups import Group
from tokenmeter.ledger.page.markup import Markup, element
from tokenmeter.ledger.page.price_changes import ChargedChange
from tokenmeter.ledger.page.series import OTHERS, Series
from tokenmeter.ledger.page.tables import folded, head, standing
from tokenmeter.ledger.page.wording import amount, exact, instant, named, places_of
from tokenmeter.ledger.page.words import Words
from tokenmeter.ledger.report.answer import ReportRow
from tokenmeter.ledger.report.periods import Zone
from tokenmeter.money import plain

__all__ = ["colour", "figure", "markers", "over_time"]

_REST: Final = "c7"
_MOST_LABELS: Final = 12
_QUARTERS: Final = {"06": "06:00", "12": "12:00", "18": "18:00"}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def colour(group: Group, shown: Sequence[Group]) -> str:
    """The class of a group's colour: by its place among the dearest."""
    return f"c{shown.index(group)}" if group in shown else _REST


def over_time(found: Series, changes: Sequence[ChargedChange], zone: Zone, words: Words) -> list[Markup]:
    """A figure for each currency, and the list of the price changes marked in it."""
    parts = []
    for currency in found.currencies:
        some = [change for change in changes if change.currency == currency]
        numbered = markers(some, found, zone)
        parts.append(figure(found, currency, [(at, number) for at, number, _ in numbered], words))
        if numbered:
            parts.append(_changes([(number, change) for _, number, grouped in numbered for change in grouped], words))
    return parts


def markers(
    changes: Sequence[ChargedChange], found: Series, zone: Zone
) -> list[tuple[float, str, list[ChargedChange]]]:
    """Where the changes lie in columns, with a number for those of one place."""
    name = zone.buckets(found.timeline.period)
    at: dict[float, list[ChargedChange]] = {}
    for change in changes:
        place = _place(change.at, found.timeline.buckets, name)
        if place is not None:
            at.setdefault(place, []).append(change)
    return [(place, str(number), some) for number, (place, some) in enumerate(sorted(at.items()), 1)]


def _place(at: datetime, buckets: Sequence[str], name: Callable[[int], str]) -> float | None:
    """The left edge of the period that begins at an instant, else the middle of the one that holds it."""
    us = (at - _EPOCH) // timedelta(microseconds=1)
    held = name(us)
    if held not in buckets:
        return None
    return buckets.index(held) + (0.5 if name(us - 1) == held else 0.0)


def figure(found: Series, currency: str, marks: Sequence[tuple[float, str]], words: Words) -> Markup:
    """One currency's chart, with its legend above and its table below."""
    shown, line = found.shown(currency), found.timeline
    cells, totals = found.table(currency), found.totals(currency)
    groups: list[Group] = [*shown]
    if rest := found.others(currency):
        groups.append(OTHERS)
    sums = {group: row for group in shown if (row := found.sums.get((currency, group)))} | (
        {OTHERS: rest} if rest else {}
    )
    names = _names(found, shown, currency, words)
    classes = [colour(group, shown) for group in groups]
    columns = [
        StackedColumn(
            label,
            {one: _cost(cells.get((bucket, group))) for one, group in zip(classes, groups, strict=True)},
            _tooltip(bucket, currency, cells, groups, names, totals.get(bucket)),
        )
        for bucket, label in zip(line.buckets, _labels(line.buckets, line.period), strict=True)
    ]
    per = words.say(f"per {line.period}")
    chart = stacked(columns, classes, label=_said(currency, per, line.buckets, totals, words), marks=marks)
    whole = [row for row in sums.values() if row.cost is not None]
    caption = element("figcaption", element("h3", currency), element("span", per, class_="soft"))
    entries = [(one, names[group], amount(sums[group].cost)) for one, group in zip(classes, groups, strict=True)]
    table = _table(found, currency, groups, names, cells, totals, sums if whole else {}, words)
    return element("figure", caption, legend(entries), chart, folded(f"{words.say('figures')} · {currency}", table))


def _names(found: Series, shown: Sequence[Group], currency: str, words: Words) -> dict[Group, str]:
    names = {group: named(group, shown, words) for group in shown}
    rest = {group for one, group in found.sums if one == currency} - set(shown) - {OTHERS}
    count = len(rest) if len(rest) and (currency, OTHERS) not in found.sums else max(found.groups - len(shown), 1)
    return names | {OTHERS: words.say("others", count=f"{count:,}")}


def _cost(row: ReportRow | None) -> Decimal:
    return Decimal(0) if row is None or row.cost is None else row.cost


def _labels(buckets: Sequence[str], period: str) -> list[str]:
    """The labels below a plot, the most of them empty: a dozen days, or the quarters of each day."""
    if period == "hour" and any(bucket[11:13] in _QUARTERS for bucket in buckets):
        return [
            _QUARTERS.get(bucket[11:13], "") or (bucket[5:10] if bucket[11:13] == "00" else "") for bucket in buckets
        ]
    step = -(-len(buckets) // _MOST_LABELS)
    part = {"hour": slice(11, 16), "day": slice(5, None)}.get(period, slice(None))
    return [bucket[part] if number % step == 0 else "" for number, bucket in enumerate(buckets)]


def _tooltip(
    bucket: str, currency: str, cells: Mapping[tuple[str, Group], ReportRow], groups: Sequence[Group],
    names: Mapping[Group, str], total: ReportRow | None,
) -> str:  # fmt: skip
    lines = [f"{bucket}  {amount(_cost(total))} {currency}"]
    for group in reversed(groups):  # as they are stacked, the topmost first
        row = cells.get((bucket, group))
        if row is not None and row.cost:
            lines.append(f"{names[group]}  {amount(row.cost)}")
    return "\n".join(lines)


def _said(currency: str, per: str, buckets: Sequence[str], totals: Mapping[str, ReportRow], words: Words) -> str:
    peak = max(buckets, key=lambda bucket: _cost(totals.get(bucket)))
    return words.say(
        "chart", currency=currency, per=per, count=len(buckets), first=buckets[0], last=buckets[-1], peak=peak,
        amount=amount(_cost(totals.get(peak))),
    )  # fmt: skip


def _table(
    found: Series, currency: str, groups: Sequence[Group], names: Mapping[Group, str],
    cells: Mapping[tuple[str, Group], ReportRow], totals: Mapping[str, ReportRow], sums: Mapping[Group, ReportRow],
    words: Words,
) -> Markup:  # fmt: skip
    key = words.key(found.keys[-1])
    caption = words.say("table over", currency=currency, per=words.say(f"per {found.timeline.period}"), key=key)
    heads = head((words.say("period"), "t"), words.say("total"), *(names[group] for group in groups))
    places = places_of(row.cost for row in cells.values())
    rows = [
        element(
            "tr",
            element("th", bucket, scope="row"),
            _cell(totals.get(bucket), places),
            *(_cell(cells.get((bucket, group)), places) for group in groups),
        )
        for bucket in found.timeline.buckets
    ]
    whole = (_cell(sums.get(group), places) for group in groups)
    foot = element("tr", element("th", words.say("total"), scope="row"), _cell(found.total(currency), places), *whole)
    return standing(caption, heads, rows, [foot], kind="periods")


def _cell(row: ReportRow | None, places: int) -> Markup:
    return element("td") if row is None else exact(row.cost, places)


def _changes(changes: Sequence[tuple[str, ChargedChange]], words: Words) -> Markup:
    """The list of marked changes, with the unit prices before and after."""
    items = []
    for number, change in changes:
        said = words.say("change", at=instant(change.at), model=change.model or words.say("unset"))
        items.append(element("li", element("b", number), element("span", f"{said} · {_steps(change, words)}")))
    return element("div", element("h3", words.say("changes")), element("ol", *items), class_="changes")


def _steps(change: ChargedChange, words: Words) -> str:
    """The components with their prices, those for the same number of units together."""
    by_unit: dict[int, list[str]] = {}
    for step in change.steps:
        by_unit.setdefault(step.per, []).append(f"{step.component} {_range(step.before)} → {_range(step.after)}")
    return "; ".join(f"{', '.join(parts)} {_unit(per, change.currency, words)}" for per, parts in by_unit.items())


def _unit(per: int, currency: str, words: Words) -> str:
    if per == 1_000_000:
        return words.say("per million", currency=currency)
    return words.say("per unit", currency=currency, per=f"{per:,}")


def _range(rates: tuple[Decimal, Decimal]) -> str:
    low, high = rates
    return plain(low) if low == high else f"{plain(low)}–{plain(high)}"
