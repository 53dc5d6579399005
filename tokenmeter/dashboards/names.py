"""Prometheus names of tokenmeter's metrics and attributes, and the query for the growth of a counter.

Names follow from those in `otel/semconv` by OpenTelemetry's rules for Prometheus: dots become underscores, a unit of
seconds and the `_total` of counters are appended, a unit in braces is not. Scraping and OTLP give the same.
"""

from __future__ import annotations

import re
from typing import Final

from tokenmeter.otel import semconv

__all__ = [
    "CURRENCY", "FAMILY", "FLAG", "KIND", "MODEL", "PRICED_MODEL", "PRICE_FROM", "PROVIDER", "SOURCE", "buckets",
    "counter", "grown", "label", "ledger", "tag",
]  # fmt: skip


def label(attribute: str) -> str:
    """The label of an attribute."""
    return re.sub(r"[^a-zA-Z0-9_]", "_", attribute)


def tag(name: str) -> str:
    """The label of one of the user's tags."""
    return label(semconv.TAG + name)


def counter(table: str) -> str:
    """The series of one of our sums, by its name in `semconv.COUNTERS`."""
    return f"{label(semconv.COUNTERS[table][0])}_total"


def ledger(figure: str) -> str:
    """The series of a figure of ledgers, by its name in `semconv.LEDGER_COUNTERS` or `semconv.LEDGER_GAUGES`."""
    if figure in semconv.LEDGER_COUNTERS:
        return f"{label(semconv.LEDGER_COUNTERS[figure][0])}_total"
    name, unit, _ = semconv.LEDGER_GAUGES[figure]
    return f"{label(name)}{'_seconds' if unit == 's' else ''}"


def buckets(name: str) -> str:
    """The series of a histogram of seconds, by its name in `semconv.HISTOGRAMS`."""
    return f"{label(semconv.HISTOGRAMS[name][0])}_seconds_bucket"


PRICE_FROM: Final = f"{label(semconv.PRICE_FROM[0])}_seconds"
CURRENCY: Final = label(semconv.COST_CURRENCY)
FAMILY: Final = label(semconv.FAMILY)
FLAG: Final = label(semconv.COST_FLAG)
KIND: Final = label(semconv.TOKEN_TYPE)
MODEL: Final = label(semconv.REQUEST_MODEL)
PRICED_MODEL: Final = label(semconv.COST_MODEL)
PROVIDER: Final = label(semconv.SITE)
SOURCE: Final = label(semconv.USAGE_SOURCE)


def grown(by: str, series: str, window: str) -> str:
    """PromQL for the growth of a counter in the last `window`, its first sample included.

    Prometheus's `increase` works on differences, so it ignores the first value of a series: a team's first call, or
    the only call to an unpriced model. tokenmeter's counters start at zero, so a series that did not exist a window
    ago has grown by its whole value. (If its target was not scraped at that time, earlier calls count as growth once.)
    """
    return f"sum by ({by}) (({series} unless {series} offset {window}) or increase({series}[{window}]))"
