"""Recording rules and alert rules for Prometheus, and for VictoriaMetrics' vmalert."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple

from tokenmeter.dashboards.names import (
    CURRENCY,
    FAMILY,
    FLAG,
    KIND,
    MODEL,
    PROVIDER,
    SOURCE,
    counter,
    grown,
    label,
    ledger,
    tag,
)
from tokenmeter.money import exact_decimal, plain
from tokenmeter.otel import semconv

__all__ = ["ALERTS", "RECORDED", "Alert", "Limit", "Recorded", "limit_of", "rules"]

_COST: Final = counter("cost")
_TOKENS: Final = counter("usage")
_CALLS: Final = counter("calls")
_SPOOL: Final = ledger("spooled")
_LEFT: Final = '{tokenmeter_end=~"closed_early|cancelled|dropped"}'
_TOKENIZER: Final = f"{PROVIDER}, {MODEL}, {FAMILY}, {KIND}"
_NAME: Final = label(semconv.BUDGET_NAME)
_LIMIT: Final = re.compile(r"(?P<team>[^=]+)=(?P<amount>[0-9.]+):(?P<currency>[A-Z]{3})")
_DURATION: Final = re.compile(r"[1-9][0-9]*(ms|s|m|h|d|w)")


class Recorded(NamedTuple):
    """A recording rule."""

    name: str
    query: str


class Alert(NamedTuple):
    """An alert rule. `summary` may use Prometheus's templates; `labels` are added to those of the query."""

    name: str
    query: str
    wait: str
    summary: str
    severity: str = "warning"
    labels: tuple[tuple[str, str], ...] = ()


class Limit(NamedTuple):
    """Spend limit of a team (`*`: each team) per window, in one currency."""

    team: str
    amount: Decimal
    currency: str


def limit_of(text: str) -> Limit:
    """Parse a limit such as `search=20:USD`. Raises ValueError with the expected form."""
    match = _LIMIT.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r}: write team=amount:currency, such as search=20:USD")
    try:
        return Limit(match["team"], exact_decimal(match["amount"]), match["currency"])
    except ValueError:
        raise ValueError(f"{text!r}: {match['amount']!r} is not an amount") from None


def _share(series: str, part: str) -> str:
    """PromQL for the share of series with a label, by provider, in the last hour."""
    return f"{grown(PROVIDER, series + part, '1h')} / {grown(PROVIDER, series, '1h')}"


def _reported_per_counted(window: str, offset: str = "") -> str:
    sums = [
        f"sum by ({_TOKENIZER}) (increase({counter(name)}[{window}]{offset}))"
        for name in ("compared_reported", "compared_counted")
    ]
    return " / ".join(sums)


def _in_window(metric: str) -> str:
    """PromQL for a figure of each budget's window, whichever process reports it."""
    return f"max by ({_NAME}, {label(semconv.BUDGET_VALUE)}, {label(semconv.BUDGET_UNIT)}) ({label(metric)})"


RECORDED: Final = (
    Recorded("tokenmeter:cost:rate5m", f"sum by ({CURRENCY}, {PROVIDER}, {MODEL}) (rate({_COST}[5m]))"),
    Recorded("tokenmeter:unreported_tokens:ratio1h", _share(_TOKENS, f'{{{SOURCE}!="reported"}}')),
    Recorded("tokenmeter:aborted_calls:ratio1h", _share(_CALLS, _LEFT)),
    Recorded("tokenmeter:reported_per_counted:ratio1d", _reported_per_counted("1d")),
    Recorded("tokenmeter:reported_per_counted:ratio7d_before", _reported_per_counted("7d", " offset 1d")),
)

ALERTS: Final = (
    Alert(
        "TokenmeterUnpricedCalls",
        f"{grown(f'{PROVIDER}, {MODEL}', counter('unpriced'), '1h')} > 0",
        "0m",
        f"{{{{ $value | humanize }}}} calls of {{{{ $labels.{PROVIDER} }}}} {{{{ $labels.{MODEL} }}}} in an hour have "
        "no known price; they are in no sum.",
    ),
    Alert(
        "TokenmeterPriceOverdue",
        f"{grown(f'{PROVIDER}, {MODEL}, {FLAG}', counter('overdue'), '1h')} > 0",
        "0m",
        f"Calls of {{{{ $labels.{PROVIDER} }}}} {{{{ $labels.{MODEL} }}}} are priced by a rate that is "
        f"{{{{ $labels.{FLAG} }}}}: install newer prices, or add the rate in force.",
    ),
    Alert(
        "TokenmeterTokenizerDrift",
        "abs(tokenmeter:reported_per_counted:ratio1d / tokenmeter:reported_per_counted:ratio7d_before - 1) > 0.1"
        f" and sum by ({_TOKENIZER}) (increase({counter('compared_counted')}[1d])) > 1000",
        "0m",
        f"{{{{ $labels.{PROVIDER} }}}} counts the {{{{ $labels.{KIND} }}}} tokens of {{{{ $labels.{MODEL} }}}} in "
        f"another way than in the week before: {{{{ $value | humanizePercentage }}}} off. Counts of ours by "
        f"{{{{ $labels.{FAMILY} }}}} are as far off where nothing is reported.",
    ),
    Alert(
        "TokenmeterUsageNotReported",
        "tokenmeter:unreported_tokens:ratio1h > 0.2",
        "15m",
        f"{{{{ $value | humanizePercentage }}}} of {{{{ $labels.{PROVIDER} }}}}'s tokens are counted or estimated.",
        "info",
    ),
    Alert(
        "TokenmeterCallsAborted",
        "tokenmeter:aborted_calls:ratio1h > 0.2",
        "15m",
        f"{{{{ $value | humanizePercentage }}}} of {{{{ $labels.{PROVIDER} }}}}'s calls were left before their end.",
        "info",
    ),
    Alert(
        "TokenmeterBudgetNearlySpent",
        # Every process that shares a store reports the same window.
        f"{_in_window(semconv.BUDGET_SPENT)} / {_in_window(semconv.BUDGET_LIMIT)} > 0.9",
        "0m",
        f"Budget {{{{ $labels.{_NAME} }}}} {{{{ $labels.{label(semconv.BUDGET_VALUE)} }}}}: "
        "{{ $value | humanizePercentage }} of its window is spent.",
    ),
    Alert(
        "TokenmeterBudgetRefusesCalls",
        f"{grown(_NAME, f'{label(semconv.BUDGET_REFUSED)}_total', '1h')} > 0",
        "0m",
        f"Budget {{{{ $labels.{_NAME} }}}} has refused {{{{ $value | humanize }}}} calls in an hour.",
    ),
    Alert(
        "TokenmeterLedgerLosesCalls",
        f"{grown('job, instance', ledger('lost'), '1h')} > 0",
        "0m",
        "The ledger of {{ $labels.instance }} could not keep {{ $value | humanize }} calls in an hour: see the disk of "
        "its file, and the program's log.",
        "critical",
    ),
    Alert(
        "TokenmeterSpoolGrows",
        f"delta({_SPOOL}[30m]) > 0 and min_over_time({_SPOOL}[30m]) > 0",
        "15m",
        "{{ $labels.instance }} does not ship its calls to the fleet's database as fast as they come: "
        "{{ $value | humanize }} more wait in its spool than half an hour ago.",
    ),
    Alert(
        "TokenmeterRecordsUnreadable",
        f"{grown('job, instance', counter('failures'), '1h')} > 0",
        "0m",
        "tokenmeter could not sum some calls, a fault of its own: see its log.",
    ),
)


def rules(limits: Sequence[Limit] = (), *, window: str = "1h", by: str = "team") -> dict[str, Any]:
    """The rule file: recording rules, alerts, and one alert for each spend limit per `window`.

    `by` is the tag whose values have limits. Raises ValueError for a window that is no Prometheus duration.
    """
    if not _DURATION.fullmatch(window):
        raise ValueError(f"{window!r} is not a window such as 1h, 30m or 1d")
    spent = Recorded(f"tokenmeter:{label(by)}_cost:increase{window}", grown(f"{tag(by)}, {CURRENCY}", _COST, window))
    return {
        "groups": [
            {
                "name": "tokenmeter",
                "rules": [
                    *({"record": one.name, "expr": one.query} for one in (*RECORDED, spent)),
                    *map(_rule, (*ALERTS, *(_over(limit, spent.name, window, by) for limit in limits))),
                ],
            }
        ]
    }


def _rule(alert: Alert) -> dict[str, Any]:
    return {
        "alert": alert.name,
        "expr": alert.query,
        "for": alert.wait,
        "labels": {"severity": alert.severity, **dict(alert.labels)},
        "annotations": {"summary": alert.summary, **({"amount": "{{ $value }}"} if alert.labels else {})},
    }


def _over(limit: Limit, spent: str, window: str, by: str) -> Alert:
    """Alert of one limit. The amount is an annotation: as a label it would start a new alert at each evaluation."""
    amount, owner = plain(limit.amount), tag(by)
    one = "" if limit.team == "*" else f", {owner}={json.dumps(limit.team, ensure_ascii=False)}"
    name = f'{{{{ or $labels.{owner} "(none)" }}}}'
    return Alert(
        "TokenmeterSpendOverLimit",
        f'{spent}{{{CURRENCY}="{limit.currency}"{one}}} > {amount}',
        "0m",
        f"{by} {name} has spent {{{{ $value }}}} {limit.currency} in {window}; the limit is {amount}.",
        "critical",
        ((label(by), name), ("currency", limit.currency), ("limit", amount)),
    )
