"""Table of the dashboard's panels: one row per panel with its query, in the order of the screen.

`$__rate_interval` and `$__range` are Grafana's; `$tag`, `$provider`, `$model`, `$currency` are chosen on the dashboard.
A chart of money is drawn once for each currency, so no axis has two.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from tokenmeter.dashboards.names import (
    CURRENCY,
    FAMILY,
    FLAG,
    KIND,
    MODEL,
    PRICE_FROM,
    PRICED_MODEL,
    PROVIDER,
    SOURCE,
    buckets,
    counter,
    grown,
    ledger,
)

__all__ = ["ANNOTATION", "PANELS", "Panel", "Section"]


class Panel(NamedTuple):
    """One chart, or with `now` one number: the query's value at the end of the range. `legend` is a template."""

    title: str
    query: str
    legend: str
    unit: str = "short"
    note: str = ""
    now: bool = False


class Section(NamedTuple):
    """Panels under a heading."""

    title: str
    panels: tuple[Panel, ...]


_CHOSEN: Final = f'{{{PROVIDER}=~"$provider", {MODEL}=~"$model"}}'


def _chosen(table: str, more: str = "") -> str:
    return counter(table) + (_CHOSEN if not more else f"{_CHOSEN[:-1]}, {more}}}")


def _per_second(by: str, table: str, more: str = "") -> str:
    return f"sum by ({by}) (rate({_chosen(table, more)}[$__rate_interval]))"


def _less(one: str, other: str) -> str:
    """PromQL for a difference, also where one of the two series is missing."""
    return f"({one} or 0 * {other}) - ({other} or 0 * {one})"


def _by(*labels: str) -> str:
    """A legend of these labels' values."""
    return " ".join(f"{{{{{name}}}}}" for name in labels)


_COST: Final = _chosen("cost")
_OF_CURRENCY: Final = f'{CURRENCY}=~"$currency"'
_UNREPORTED: Final = f'{SOURCE}!="reported"'
_FROM_CACHE: Final = 'tokenmeter_component="cache_read"'
_INPUT: Final = f'{KIND}="input"'
_SAVED, _ADDED = _chosen("cache_saved"), _chosen("cache_added")

PANELS: Final = (
    Section(
        "Money",
        (
            Panel("Spend", grown(CURRENCY, _COST, "$__range"), _by(CURRENCY), "money", now=True),
            Panel(
                "Saved by caches",
                _less(grown(CURRENCY, _SAVED, "$__range"), grown(CURRENCY, _ADDED, "$__range")),
                _by(CURRENCY),
                "money",
                "Against the same input at the uncached price; what writing to the cache cost is taken off.",
                now=True,
            ),
            Panel(
                "Calls without a price",
                f"{grown('', _chosen('unpriced'), '$__range')} or vector(0)",
                "calls",
                note="Unknown is not free: these are in no sum of money.",
                now=True,
            ),
            Panel(
                "Tokens not reported by the vendor",
                f"({grown('', _chosen('usage', _UNREPORTED), '$__range')} or vector(0))"
                f" / {grown('', _chosen('usage'), '$__range')}",
                "share",
                "percentunit",
                "Counted, estimated, or of an answer that broke off.",
                now=True,
            ),
            Panel(
                "$currency per hour by vendor",
                f"3600 * {_per_second(f'{PROVIDER}, {CURRENCY}', 'cost', _OF_CURRENCY)}",
                _by(PROVIDER, CURRENCY),
                "money",
            ),
            Panel(
                "$currency per hour by model",
                f"3600 * {_per_second(f'{MODEL}, {CURRENCY}', 'cost', _OF_CURRENCY)}",
                _by(MODEL, CURRENCY),
                "money",
            ),
            Panel(
                "$currency per hour by $tag",
                f"3600 * {_per_second(f'$tag, {CURRENCY}', 'cost', _OF_CURRENCY)}",
                _by("$tag", CURRENCY),
                "money",
                "Choose the tag above.",
            ),
            Panel(
                "$currency per hour saved by caches",
                "3600 * ("
                + _less(
                    _per_second(f"{PROVIDER}, {CURRENCY}", "cache_saved", _OF_CURRENCY),
                    _per_second(f"{PROVIDER}, {CURRENCY}", "cache_added", _OF_CURRENCY),
                )
                + ")",
                _by(PROVIDER, CURRENCY),
                "money",
                "Below zero where more is written to the cache than read from it.",
            ),
        ),
    ),
    Section(
        "Tokens and calls",
        (
            Panel(
                "Tokens per second by component",
                _per_second("tokenmeter_component", "usage"),
                "{{tokenmeter_component}}",
                note="Components are disjoint: they add up to all tokens.",
            ),
            Panel(
                "Input read from caches",
                f"{_per_second(PROVIDER, 'usage', _FROM_CACHE)} / {_per_second(PROVIDER, 'usage', _INPUT)}",
                _by(PROVIDER),
                "percentunit",
                "The share of input tokens billed at the cache's price.",
            ),
            Panel(
                "Tokens not reported, by source",
                f"{_per_second(f'{PROVIDER}, {SOURCE}', 'usage', _UNREPORTED)}"
                f" / ignoring({SOURCE}) group_left {_per_second(PROVIDER, 'usage')}",
                _by(PROVIDER, SOURCE),
                "percentunit",
            ),
            Panel(
                "Unpriced calls",
                grown(f"{PROVIDER}, {MODEL}", _chosen("unpriced"), "$__rate_interval"),
                _by(PROVIDER, MODEL),
            ),
            Panel("Calls per second by end", _per_second("tokenmeter_end", "calls"), "{{tokenmeter_end}}", "reqps"),
            Panel(
                "Requests per call",
                f"{_per_second(PROVIDER, 'attempts')} / {_per_second(PROVIDER, 'calls')}",
                _by(PROVIDER),
                note="Above 1 are retries. Spans of other instrumentations say nothing of them.",
            ),
            Panel(
                "Duration, 95th percentile",
                f'histogram_quantile(0.95, sum by (le, {MODEL}) (rate({buckets("duration")}{{{MODEL}=~"$model"}}'
                "[$__rate_interval])))",
                _by(MODEL),
                "s",
            ),
        ),
    ),
    Section(
        "Prices and counts",
        (
            Panel(
                "Calls by a price that is overdue",
                grown(f"{PROVIDER}, {MODEL}, {FLAG}", _chosen("overdue"), "$__rate_interval"),
                _by(PROVIDER, MODEL, FLAG),
                note="By a rate past its review date, or past the last day it is known to hold.",
            ),
            Panel(
                "Reported tokens per token counted here",
                f"sum by ({PROVIDER}, {MODEL}, {FAMILY}, {KIND}) (increase({_chosen('compared_reported')}[1d]))"
                f" / sum by ({PROVIDER}, {MODEL}, {FAMILY}, {KIND}) (increase({_chosen('compared_counted')}[1d]))",
                _by(PROVIDER, MODEL, KIND, FAMILY),
                note="Only where calibration is on. A step is a vendor who changed its tokenizer.",
            ),
        ),
    ),
    Section(
        "Ledger",
        (
            Panel(
                "Calls lost",
                grown("job, instance", ledger("lost"), "$__rate_interval"),
                _by("job", "instance"),
                note="They could not be written, and are in no report of the ledger.",
            ),
            Panel(
                "Calls that wait",
                f"sum by (job, instance) ({ledger('waiting')})",
                _by("job", "instance"),
                note="In memory, for the ledger's file. Callers wait when 10,000 do.",
            ),
            Panel(
                "Calls in the spool",
                f"sum by (job, instance) ({ledger('spooled')})",
                _by("job", "instance"),
                note="In the file, for the fleet's database.",
            ),
            Panel(
                "Duration of a commit",
                f"max by (job, instance) ({ledger('commit_seconds')})",
                _by("job", "instance"),
                "s",
            ),
        ),
    ),
)

ANNOTATION: Final = Panel(
    "Price changes",
    f'1000 * max by ({PROVIDER}, {PRICED_MODEL}, {CURRENCY}) ({PRICE_FROM}{{{PROVIDER}=~"$provider"}})',
    _by(PROVIDER, PRICED_MODEL, CURRENCY),
    note="Drawn at its value, the instant from which the price in use holds.",
)
