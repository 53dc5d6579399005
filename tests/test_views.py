"""The dashboard and the rules: valid, and every query answered by a real Prometheus that scrapes our real metrics.

Needs Debian's `prometheus` (for `prometheus` and `promtool`) and `opentelemetry-exporter-prometheus`; what is missing
is skipped with its name.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from made_records import priced, record, unpriced

from tokenmeter import views
from tokenmeter.record import Attempt, End
from tokenmeter.sinks import semconv
from tokenmeter.usage import Source, Usage

LIMITS = (views.Limit("search", Decimal("0.001"), "USD"), views.Limit("*", Decimal(10**9), "USD"))


def queries() -> list[Any]:
    """Every query there is, by name; Grafana's variables filled in as it would."""
    named = [(panel.title, panel.query) for panel in views.PANELS]
    named += [(one.name, one.query) for one in views.RECORDED]
    return [
        pytest.param(text.replace("$__rate_interval", "5s").replace("$__range", "1m"), id=name) for name, text in named
    ]


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (Debian's package prometheus has it)")
    return found


def test_promtool_accepts_the_rules(tmp_path: Path) -> None:
    promtool = tool("promtool")
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps(views.rules(LIMITS)), encoding="utf-8")
    done = subprocess.run([promtool, "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout


def test_queries_name_metrics_that_exist() -> None:
    known = {name.replace(".", "_") + "_total" for name, *_ in semconv.COUNTERS.values()}
    known |= {
        name.replace(".", "_") + "_seconds_bucket" for name, unit, *_ in semconv.HISTOGRAMS.values() if unit == "s"
    }
    texts = [one.query for one in (*views.PANELS, *views.RECORDED, *views.ALERTS)]
    used = {name for text in texts for name in re.findall(r"\b(?:tokenmeter|gen_ai)_\w+_(?:total|bucket)\b", text)}
    assert used
    assert used <= known


def test_the_commands_write_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert views.main(["rules", "--limit", "search=20.5:USD"]) == 0
    (group,) = json.loads(capsys.readouterr().out)["groups"]
    assert group["rules"][-1]["expr"].endswith('{tokenmeter_cost_currency="USD", tokenmeter_tag_team="search"} > 20.5')
    assert views.main(["dashboard"]) == 0
    panels = json.loads(capsys.readouterr().out)["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) == len(views.PANELS)
    with pytest.raises(SystemExit) as bad:
        views.main(["rules", "--limit", "search=20"])
    assert bad.value.code == 2


# A live Prometheus -------------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


class Prometheus:
    def __init__(self, port: int, work: Callable[[], None]) -> None:
        self.origin = f"http://127.0.0.1:{port}"
        self.work = work

    def get(self, path: str, **query: str) -> Any:
        url = f"{self.origin}{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def until(self, ask: Callable[[], Any]) -> Any:
        """What is asked for, once it is there; calls go on meanwhile."""
        for _ in range(240):
            self.work()
            answer = ask()
            if answer:
                return answer
            time.sleep(0.25)
        return None


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    program = tool("prometheus")
    exporter = pytest.importorskip("opentelemetry.exporter.prometheus")
    client = pytest.importorskip("prometheus_client")
    from opentelemetry.sdk.metrics import MeterProvider

    from tokenmeter.sinks.metrics import Metrics

    provider = MeterProvider([exporter.PrometheusMetricReader()], shutdown_on_exit=False)
    metrics = Metrics(provider)
    server, thread = client.start_http_server(0, addr="127.0.0.1")
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "rules.yml").write_text(json.dumps(views.rules(LIMITS)), encoding="utf-8")
    (folder / "prometheus.yml").write_text(
        json.dumps(
            {
                "global": {"scrape_interval": "500ms", "evaluation_interval": "500ms"},
                "rule_files": ["rules.yml"],
                "scrape_configs": [
                    {"job_name": "app", "static_configs": [{"targets": [f"127.0.0.1:{server.server_port}"]}]}
                ],
            }
        ),
        encoding="utf-8",
    )

    def work() -> None:
        search = {"tags": {"team": "search"}}
        cached = Usage(input_tokens=1000, output_tokens=100, cache_read_input_tokens=400)
        sent = (Attempt(500, None, 0, 1), Attempt(200, None, 0, 1))
        metrics.write(record(priced("0.01", "USD"), usage=cached, attempts=sent, **search))
        metrics.write(
            record(priced("0.02", "CNY"), usage=Usage(input_tokens=10, output_tokens=1, source=Source.COUNTED))
        )
        metrics.write(record(unpriced(), end=End.CLOSED_EARLY, **search))

    port = free_port()
    arguments = [
        program, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}", "--log.level=error",
    ]  # fmt: skip
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        made = Prometheus(port, work)
        try:
            yield made
        finally:
            running.terminate()
            server.shutdown()
            thread.join()


def answers(prometheus: Prometheus, query: str) -> Callable[[], Any]:
    def ask() -> Any:
        try:
            return prometheus.get("/api/v1/query", query=query)["result"]
        except ConnectionError:
            return None
        except urllib.error.HTTPError as refused:
            if refused.code == 503:  # starting
                return None
            raise AssertionError(f"{query}: {refused.read().decode()}") from None
        except urllib.error.URLError:
            return None

    return ask


@pytest.mark.parametrize("query", queries())
def test_a_real_prometheus_answers_every_query(prometheus: Prometheus, query: str) -> None:
    found = prometheus.until(answers(prometheus, query))
    assert found, f"no data for {query}"
    assert any(float(one["value"][1]) > 0 for one in prometheus.until(answers(prometheus, f"({query}) > 0")))


def test_spend_over_a_teams_limit_fires_and_other_limits_do_not(prometheus: Prometheus) -> None:
    def firing() -> Any:
        try:
            alerts = prometheus.get("/api/v1/alerts")["alerts"]
        except (OSError, urllib.error.URLError):
            return None
        return [one for one in alerts if one["labels"]["alertname"] == "TokenmeterSpendOverLimit"]

    found = prometheus.until(firing)
    assert [(one["state"], one["labels"]["limit"]) for one in found] == [("firing", "search 0.001 USD")]
    assert "Team search has spent" in found[0]["annotations"]["summary"]
