"""Every query of the dashboard and the rules, asked of a real Prometheus and a real VictoriaMetrics: it must find data.

Prometheus scrapes the program, VictoriaMetrics is sent OTLP by it, so both ways of naming are seen.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.rigs.metered_app import App, spending
from tests.rigs.metrics_stack import Server, prometheus, victoriametrics
from tests.rigs.services import until
from tokenmeter import Usage
from tokenmeter.dashboards import ALERTS, ANNOTATION, PANELS, RECORDED
from tokenmeter.dashboards.alerts import rules
from tokenmeter.dashboards.names import counter, grown
from tokenmeter.dashboards.plain_yaml import to_yaml

FILLED = {
    "$__rate_interval": "5s", "$__range": "1m", "$provider": ".*", "$model": ".*", "$currency": ".*",
    "$tag": "tokenmeter_tag_team",
}  # fmt: skip
SHORT = {"7d": "20s", "1d": "5s", "1h": "5s", "5m": "5s"}
ALERTING = ("TokenmeterUnpricedCalls", "TokenmeterPriceOverdue")


def filled(query: str) -> str:
    """A panel's query as Grafana would send it."""
    for variable, value in FILLED.items():
        query = query.replace(variable, value)
    return query


def shortened(query: str) -> str:
    """A rule's query over seconds for hours and days."""
    return re.sub(r"\b(7d|1d|1h|5m)\b", lambda match: SHORT[match[0]], query)


QUERIES = [
    *(pytest.param(filled(panel.query), id=panel.title) for section in PANELS for panel in section.panels),
    pytest.param(filled(ANNOTATION.query), id=ANNOTATION.title),
    *(pytest.param(shortened(one.query), id=one.name) for one in RECORDED),
    *(pytest.param(shortened(one.query), id=one.name) for one in ALERTS if one.name in ALERTING),
]


@pytest.fixture(scope="module")
def app_and_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[App, dict[str, Server]]]:
    pytest.importorskip("opentelemetry.exporter.prometheus")
    folder = tmp_path_factory.mktemp("live")
    servers: dict[str, Server] = {}
    with contextlib.ExitStack() as stack:
        push_to = None
        with contextlib.suppress(pytest.skip.Exception):
            servers["victoriametrics"] = stack.enter_context(victoriametrics(folder))
            push_to = f"{servers['victoriametrics'].origin}/opentelemetry/v1/metrics"
        app = stack.enter_context(spending(folder, push_to))
        with contextlib.suppress(pytest.skip.Exception):
            servers["prometheus"] = stack.enter_context(prometheus(folder, app.port, to_yaml(rules())))
        yield app, servers


@pytest.fixture(params=["prometheus", "victoriametrics"])
def server(request: pytest.FixtureRequest, app_and_servers: Any) -> Server:
    """Each of the two, or a skip that says what is not here."""
    _, servers = app_and_servers
    if request.param not in servers:
        from tests.rigs.metrics_stack import tool

        tool("victoria-metrics" if request.param == "victoriametrics" else request.param)
    found: Server = servers[request.param]
    return found


@pytest.mark.parametrize("query", QUERIES)
def test_every_query_finds_data(server: Server, query: str) -> None:
    healthy = "tokenmeter_ledger_" in query  # where 0 is what one wants to see
    assert until(lambda: [value for _, value in server.ask(query) if value or healthy], f"{server.name}: {query}")


@pytest.mark.parametrize(
    ("table", "amount"),
    [
        pytest.param("cost", 0.165, id="50,000 at 3 and 50,000 at 0.3 dollars a million"),
        pytest.param("cache_saved", 0.135, id="50,000 at 2.7 less"),
    ],
)
def test_the_first_sample_of_a_team_counts(
    app_and_servers: tuple[App, dict[str, Server]], server: Server, table: str, amount: float
) -> None:
    """One call, its series never seen before: by `increase` alone nothing has grown."""
    app, _ = app_and_servers
    team = f"new-{server.name}-{table}"
    usage = Usage(input_tokens=100_000, output_tokens=0, cache_read_input_tokens=50_000)
    app.call("anthropic", "claude-sonnet-4-5", usage, team=team)
    series = f'{counter(table)}{{tokenmeter_tag_team="{team}"}}'
    by = "tokenmeter_tag_team, tokenmeter_cost_currency"
    found = until(lambda: server.ask(grown(by, series, "2m")), series)
    assert found == [({"tokenmeter_tag_team": team, "tokenmeter_cost_currency": "USD"}, amount)]
    if server.name == "Prometheus":
        assert all(value == 0 for _, value in server.ask(f"increase({series}[2m])"))


def test_a_price_change_is_annotated_at_its_own_instant(server: Server) -> None:
    found = until(lambda: server.ask(filled(ANNOTATION.query)), ANNOTATION.query)
    starts = {labels["tokenmeter_cost_model"]: value for labels, value in found}
    assert starts["m"] == datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000


def test_prometheus_took_the_rules(app_and_servers: tuple[App, dict[str, Server]]) -> None:
    _, servers = app_and_servers
    if "prometheus" not in servers:
        pytest.skip("prometheus is not here (apt-get install prometheus)")
    server = servers["prometheus"]
    (group,) = server.get("/api/v1/rules")["data"]["groups"]
    until(lambda: all(rule["health"] == "ok" for rule in _rules(server)), [rule["health"] for rule in group["rules"]])


def _rules(server: Server) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = server.get("/api/v1/rules")["data"]["groups"][0]["rules"]
    return found
