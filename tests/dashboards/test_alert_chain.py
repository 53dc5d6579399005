"""From a call to a pager: the real SDK, metered → a real Prometheus → our rules → a real Alertmanager → a webhook."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import openai
import pytest
from opentelemetry.sdk.metrics import MeterProvider

from tests.rigs.http_receiver import http_receiver
from tests.rigs.metered_app import scraped
from tests.rigs.metrics_stack import alertmanager, prometheus
from tests.rigs.services import free_port, until
from tokenmeter import Tokenmeter
from tokenmeter.dashboards.__main__ import main
from tokenmeter.money import plain
from tokenmeter.testing import provider_server
from tokenmeter.testing.faults import Faults


@contextlib.contextmanager
def webhook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Where alerts end: an address, and the alerts that were posted there."""
    taken: list[dict[str, Any]] = []

    with http_receiver(lambda body: taken.extend(json.loads(body)["alerts"])) as address:
        yield f"{address}/", taken


def test_spend_over_a_teams_limit_reaches_the_pager(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One call is enough: the team's series begins with its whole spend. A team below its limit is left alone."""
    limits = ["--limit", "search=1.5:CNY", "--limit", "rerank=1.5:CNY", "--limit", "*=1.5:USD"]
    assert main(["rules", "--window", "2m", *limits]) == 0
    rules = capsys.readouterr().out

    with contextlib.ExitStack() as stack:
        address, alerts = stack.enter_context(webhook())
        reader, port = stack.enter_context(scraped())
        alerting = free_port()
        stack.enter_context(alertmanager(tmp_path, alerting, address))
        server = stack.enter_context(prometheus(tmp_path, port, rules, alerts_to=alerting, interval="250ms"))
        vendor = stack.enter_context(provider_server())
        provider = MeterProvider([reader], shutdown_on_exit=False)
        stack.callback(provider.shutdown)
        meter = Tokenmeter(meter_provider=provider, spans="none")
        until(lambda: server.ask('up{job="app"} == 1'), "the first scrape, before anything is spent")

        client = openai.OpenAI(base_url=vendor.url("deepseek"), api_key="any")
        stack.callback(client.close)
        meter.wrap(client, provider="deepseek")
        spent: dict[str, Decimal] = {}
        for team in ("search", "rerank"):
            vendor.faults = Faults(tokens_in=10_000_000 if team == "search" else 1_000, cached=0)
            with meter.tags(team=team), meter.scope(team) as scope:
                client.chat.completions.create(model="deepseek-chat", messages=[{"role": "user", "content": "hello"}])
            spent[team] = scope.cost["CNY"].amount
        assert spent["rerank"] < Decimal("1.5") < spent["search"]

        until(lambda: alerts, "an alert at the webhook")
        until(lambda: len(server.ask("tokenmeter:team_cost:increase2m")) == 2, "both teams recorded")

    assert {(alert["status"], alert["labels"]["alertname"]) for alert in alerts} == {
        ("firing", "TokenmeterSpendOverLimit")
    }
    labels, notes = alerts[0]["labels"], alerts[0]["annotations"]
    assert {name: labels[name] for name in ("team", "currency", "limit", "severity")} == {
        "team": "search", "currency": "CNY", "limit": "1.5", "severity": "critical",
    }  # fmt: skip
    assert notes["amount"] == plain(spent["search"])
    assert notes["summary"] == f"team search has spent {plain(spent['search'])} CNY in 2m; the limit is 1.5."
