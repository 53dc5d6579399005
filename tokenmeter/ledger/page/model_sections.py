"""The sections by model: what the cache saved, and latency against cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

from tokenmeter.ledger.page.charts import bar, legend
from tokenmeter.ledger.page.figures import Statistics
from tokenmeter.ledger.page.groups import Group
from tokenmeter.ledger.page.markup import Markup, element
from tokenmeter.ledger.page.over_time import colour
from tokenmeter.ledger.page.scatter import Point, scatter
from tokenmeter.ledger.page.series import Series
from tokenmeter.ledger.page.tables import folded, head, standing
from tokenmeter.ledger.page.wording import amount, exact, named, percent, places_of, seconds
from tokenmeter.ledger.page.words import Words
from tokenmeter.ledger.report.answer import ReportRow
from tokenmeter.ledger.report.stats import Value
from tokenmeter.money import EXACT

__all__ = ["cache", "latency"]

_ZERO: Final = Decimal(0)
_COSTS: Final = ("cost_p50", "cost_p95")
_TIMES: Final = ("duration_p50", "duration_p95")


def cache(statistics: Statistics, by_model: Series, words: Words) -> list[Markup]:
    """What was paid and what the cache saved, by model of each currency."""
    parts = []
    for currency in by_model.currencies:
        shown = by_model.shown(currency)
        rows = {group: by_model.sums[currency, group] for group in shown}
        saved = {group: statistics.get((group, currency), {}).get("cache_saved_sum") for group in shown}
        known = {group: amount for group, amount in saved.items() if isinstance(amount, Decimal)}
        if not known:
            continue
        most = max(EXACT.add(rows[group].cost or _ZERO, max(saving, _ZERO)) for group, saving in known.items())
        places = places_of(rows[group].cost for group in known)
        body = [
            element(
                "tr",
                element("th", named(group, shown, words), scope="row"),
                element("td", _bar(rows[group], saving, most, colour(group, shown)), class_="share"),
                exact(rows[group].cost, places),
                exact(saving, places),
                element("td", _cached(rows[group]), class_="w"),
            )
            for group, saving in known.items()
        ]
        heads = head((words.say("model"), "t"), "", words.say("paid"), words.say("saved"), (words.say("cached"), "w"))
        parts.append(standing(words.say("cache"), heads, body, kind="ranked", shown=currency))
    return parts


def _bar(row: ReportRow, saved: Decimal, most: Decimal, kind: str) -> Markup:
    return bar([(kind, row.cost or _ZERO), (f"{kind} saved", saved)], most)


def _cached(row: ReportRow) -> str:
    cached, received = row.tokens["cache_read_input_tokens"], row.tokens["input_tokens"]
    return "–" if cached is None or not received else percent(Decimal(cached), Decimal(received))


def latency(statistics: Statistics, by_model: Series, words: Words) -> list[Markup]:
    """A plot for each currency, and its table."""
    parts = []
    for currency in by_model.currencies:
        shown = by_model.shown(currency)
        found = {group: statistics[group, currency] for group in shown if (group, currency) in statistics}
        points = [
            point for group, some in found.items() if (point := _point(group, some, currency, shown, words)) is not None
        ]
        if points:
            parts.append(_figure(found, points, currency, shown, words))
    return parts


def _figure(
    found: Mapping[Group, Mapping[str, Value]], points: Sequence[Point], currency: str, shown: Sequence[Group],
    words: Words,
) -> Markup:  # fmt: skip
    label = words.say("latency chart", currency=currency, count=len(points))
    caption = element("figcaption", element("h3", currency))
    axis = element("p", f"{words.say('a call', currency=currency)} ↑   {words.say('seconds')} →", class_="axis")
    body = [
        element(
            "tr",
            element("th", named(group, shown, words), scope="row"),
            *(exact(_money(some[name]), 4) for name in _COSTS),
            *(element("td", seconds(_number(some[name]))) for name in _TIMES),
        )
        for group, some in found.items()
    ]
    names = ("cost p50", "cost p95", "duration p50", "duration p95")
    heads = head((words.say("model"), "t"), *map(words.say, names))
    table = folded(f"{words.say('figures')} · {currency}", standing(words.say("latency"), heads, body, shown=currency))
    entries = [(point.colour, point.name, "") for point in points]
    return element("figure", caption, legend(entries), axis, scatter(points, label=label), table)


def _money(value: Value) -> Decimal | None:
    return value if isinstance(value, Decimal) else None


def _number(value: Value) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _point(
    group: Group, some: Mapping[str, Value], currency: str, shown: Sequence[Group], words: Words
) -> Point | None:
    """A model's point; None where a median is not known or not above zero, which no logarithmic scale has."""
    costs = [_money(some[name]) for name in _COSTS]
    times = [_number(some[name]) for name in _TIMES]
    if not all(value is not None and value > 0 for value in (*costs, *times)):
        return None
    y, high = (float(value) for value in costs if value is not None)
    x, far = (value for value in times if value is not None)
    name = named(group, shown, words)
    title = f"{name}\n{amount(costs[0])} {currency} · {seconds(x)} {words.say('seconds')}"
    title += f"\n95%: {amount(costs[1])} {currency} · {seconds(far)} {words.say('seconds')}"
    return Point((x, far), (y, high), colour(group, shown), name, title)
