"""Ready-made views of the metrics: a Grafana dashboard, and recording and alert rules for Prometheus.

    python -m tokenmeter.views dashboard > tokenmeter-dashboard.json
    python -m tokenmeter.views rules --limit search=20:USD --limit '*=100:CNY' > tokenmeter-rules.yml

Both come from the tables below, so that a query is written once. Names are those that Prometheus gets from our metrics
by OpenTelemetry's rules (dots become underscores, counters end in `_total`), by scrape and by OTLP alike. Every sum
keeps currencies apart: yuan and dollars are never added. Rules are written as JSON, which is YAML.

Nothing here is imported by the package.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple

from tokenmeter.money import exact_decimal, plain

__all__ = ["ALERTS", "PANELS", "RECORDED", "Limit", "dashboard", "main", "rules"]

CURRENCY: Final = "tokenmeter_cost_currency"
TEAM: Final = "tokenmeter_tag_team"
MODEL: Final = "gen_ai_request_model"
PROVIDER: Final = "tokenmeter_provider"
_COST: Final = "tokenmeter_cost_total"
_TOKENS: Final = "tokenmeter_usage_total"
_CALLS: Final = "tokenmeter_calls_total"
_UNPRICED: Final = "tokenmeter_calls_unpriced_total"
_SOURCE: Final = "tokenmeter_usage_source"
_LIMIT: Final = re.compile(r"(?P<team>[^=]+)=(?P<amount>[0-9.]+):(?P<currency>[A-Z]{3})")


class Recorded(NamedTuple):
    """A recording rule."""

    name: str
    query: str


class Alert(NamedTuple):
    """An alert rule; `summary` may use Prometheus's templates."""

    name: str
    query: str
    wait: str
    summary: str
    severity: str = "warning"
    limit: str | None = None


class Panel(NamedTuple):
    """One chart. `$__rate_interval` in the query is Grafana's; `legend` names labels."""

    title: str
    query: str
    legend: str
    unit: str = "short"
    note: str = ""


class Limit(NamedTuple):
    """What a team (`*`: each team) may spend in an hour, in one currency."""

    team: str
    amount: Decimal
    currency: str


RECORDED: Final = (
    Recorded("tokenmeter:cost:rate5m", f"sum by ({CURRENCY}, {PROVIDER}, {MODEL}) (rate({_COST}[5m]))"),
    Recorded("tokenmeter:team_cost:increase1h", f"sum by ({TEAM}, {CURRENCY}) (increase({_COST}[1h]))"),
    Recorded(
        "tokenmeter:unreported_tokens:ratio1h",
        f'sum by ({PROVIDER}) (increase({_TOKENS}{{{_SOURCE}!="reported"}}[1h]))'
        f" / sum by ({PROVIDER}) (increase({_TOKENS}[1h]))",
    ),
    Recorded(
        "tokenmeter:aborted_calls:ratio1h",
        f'sum by ({PROVIDER}) (increase({_CALLS}{{tokenmeter_end=~"closed_early|cancelled|dropped"}}[1h]))'
        f" / sum by ({PROVIDER}) (increase({_CALLS}[1h]))",
    ),
)

ALERTS: Final = (
    Alert(
        "TokenmeterUnpricedCalls",
        f"sum by ({PROVIDER}, {MODEL}) (increase({_UNPRICED}[1h])) > 0",
        "5m",
        f"Calls of {{{{ $labels.{PROVIDER} }}}} {{{{ $labels.{MODEL} }}}} have no known price; they are in no sum.",
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
        "TokenmeterRecordsUnreadable",
        "increase(tokenmeter_records_unreadable_total[1h]) > 0",
        "0m",
        "tokenmeter could not sum some calls, a fault of its own: see its log.",
    ),
)

_PER_HOUR: Final = "3600 * "
PANELS: Final = (
    Panel(
        "Spend per hour by vendor",
        f"{_PER_HOUR}sum by ({PROVIDER}, {CURRENCY}) (rate({_COST}[$__rate_interval]))",
        f"{{{{{PROVIDER}}}}} {{{{{CURRENCY}}}}}",
    ),
    Panel(
        "Spend per hour by model",
        f"{_PER_HOUR}sum by ({MODEL}, {CURRENCY}) (rate({_COST}[$__rate_interval]))",
        f"{{{{{MODEL}}}}} {{{{{CURRENCY}}}}}",
    ),
    Panel(
        "Spend per hour by team",
        f"{_PER_HOUR}sum by ({TEAM}, {CURRENCY}) (rate({_COST}[$__rate_interval]))",
        f"{{{{{TEAM}}}}} {{{{{CURRENCY}}}}}",
        note="From the tag `team`; put another label here for another tag.",
    ),
    Panel(
        "Spend in the range shown",
        f"sum by ({CURRENCY}) (increase({_COST}[$__range]))",
        f"{{{{{CURRENCY}}}}}",
    ),
    Panel(
        "Tokens per second by component",
        f"sum by (tokenmeter_component) (rate({_TOKENS}[$__rate_interval]))",
        "{{tokenmeter_component}}",
        note="Components are disjoint: they add up to all tokens.",
    ),
    Panel(
        "Input read from caches",
        f'sum by ({PROVIDER}) (rate({_TOKENS}{{tokenmeter_component="cache_read"}}[$__rate_interval]))'
        f' / sum by ({PROVIDER}) (rate({_TOKENS}{{gen_ai_token_type="input"}}[$__rate_interval]))',
        f"{{{{{PROVIDER}}}}}",
        "percentunit",
        "The share of input tokens billed at the cache's price.",
    ),
    Panel(
        "Tokens not reported by the vendor",
        f'sum by ({PROVIDER}, {_SOURCE}) (rate({_TOKENS}{{{_SOURCE}!="reported"}}[$__rate_interval]))'
        f" / ignoring({_SOURCE}) group_left sum by ({PROVIDER}) (rate({_TOKENS}[$__rate_interval]))",
        f"{{{{{PROVIDER}}}}} {{{{{_SOURCE}}}}}",
        "percentunit",
        "Counted, estimated, or of an answer that broke off.",
    ),
    Panel(
        "Calls without a price",
        f"sum by ({PROVIDER}, {MODEL}) (increase({_UNPRICED}[$__rate_interval]))",
        f"{{{{{PROVIDER}}}}} {{{{{MODEL}}}}}",
        note="Unknown is not free: these are in no sum of money.",
    ),
    Panel(
        "Calls per second by end",
        f"sum by (tokenmeter_end) (rate({_CALLS}[$__rate_interval]))",
        "{{tokenmeter_end}}",
        "reqps",
    ),
    Panel(
        "Requests per call",
        f"sum by ({PROVIDER}) (rate(tokenmeter_attempts_total[$__rate_interval]))"
        f" / sum by ({PROVIDER}) (rate({_CALLS}[$__rate_interval]))",
        f"{{{{{PROVIDER}}}}}",
        note="Above 1 are retries. Spans of other instrumentations say nothing of them.",
    ),
    Panel(
        "Duration, 95th percentile",
        f"histogram_quantile(0.95, sum by (le, {MODEL})"
        " (rate(gen_ai_client_inference_duration_seconds_bucket[$__rate_interval])))",
        f"{{{{{MODEL}}}}}",
        "s",
    ),
)


def rules(limits: Sequence[Limit] = ()) -> dict[str, Any]:
    """The rule file: recording rules, alerts, and one alert for each limit."""
    alerts = [*ALERTS, *(_over(limit) for limit in limits)]
    return {
        "groups": [
            {
                "name": "tokenmeter",
                "rules": [
                    *({"record": one.name, "expr": one.query} for one in RECORDED),
                    *(
                        {
                            "alert": one.name,
                            "expr": one.query,
                            "for": one.wait,
                            "labels": {"severity": one.severity, **({"limit": one.limit} if one.limit else {})},
                            "annotations": {"summary": one.summary},
                        }
                        for one in alerts
                    ),
                ],
            }
        ]
    }


def _over(limit: Limit) -> Alert:
    team = "" if limit.team == "*" else f", {TEAM}={json.dumps(limit.team, ensure_ascii=False)}"
    return Alert(
        "TokenmeterSpendOverLimit",
        f'tokenmeter:team_cost:increase1h{{{CURRENCY}="{limit.currency}"{team}}} > {plain(limit.amount)}',
        "0m",
        f"Team {{{{ $labels.{TEAM} }}}} has spent {{{{ $value }}}} {limit.currency} in an hour; "
        f"its limit is {plain(limit.amount)}.",
        "critical",
        f"{limit.team} {plain(limit.amount)} {limit.currency}",
    )


def dashboard() -> dict[str, Any]:
    """The dashboard, for Grafana's import; it asks for the Prometheus data source."""
    return {
        "title": "LLM spend (tokenmeter)",
        "uid": "tokenmeter-spend",
        "tags": ["llm", "cost", "tokenmeter"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "1m",
        "time": {"from": "now-24h", "to": "now"},
        "templating": {
            "list": [{"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}]
        },
        "panels": [_panel(position, panel) for position, panel in enumerate(PANELS)],
    }


def _panel(position: int, panel: Panel) -> dict[str, Any]:
    source = {"type": "prometheus", "uid": "${datasource}"}
    return {
        "id": position + 1,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.note,
        "datasource": source,
        "gridPos": {"h": 8, "w": 12, "x": 12 * (position % 2), "y": 8 * (position // 2)},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "table", "placement": "bottom", "calcs": ["mean", "lastNotNull"]}},
        "targets": [{"refId": "A", "datasource": source, "expr": panel.query, "legendFormat": panel.legend}],
    }


def _limit(text: str) -> Limit:
    match = _LIMIT.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r}: write team=amount:currency, such as search=20:USD")
    try:
        return Limit(match["team"], exact_decimal(match["amount"]), match["currency"])
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: {match['amount']!r} is not an amount") from None


def main(argv: Sequence[str] | None = None) -> int:
    """Write one of the views to standard output."""
    parser = argparse.ArgumentParser(prog="python -m tokenmeter.views", description="Views of tokenmeter's metrics.")
    commands = parser.add_subparsers(dest="view", required=True)
    commands.add_parser("dashboard", help="a Grafana dashboard, as JSON")
    ruled = commands.add_parser("rules", help="recording and alert rules for Prometheus")
    ruled.add_argument(
        "--limit", type=_limit, action="append", default=[], metavar="TEAM=AMOUNT:CURRENCY",
        help="alert when a team (*: any) spends more than this in an hour; may be given again",
    )  # fmt: skip
    given = parser.parse_args(argv)
    view = dashboard() if given.view == "dashboard" else rules(given.limit)
    sys.stdout.write(json.dumps(view, indent=2, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
