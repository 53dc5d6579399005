"""Prometheus, Alertmanager and VictoriaMetrics on loopback: started on free ports, asked over HTTP, always stopped."""

from __future__ import annotations

import contextlib
import json
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.rigs.services import free_port, program

UNPACKED = Path(__file__).parents[2] / ".venvs" / "debian" / "root" / "usr" / "bin"
"""Where `tools/backends` unpacks Debian's newer VictoriaMetrics; bookworm's own cannot receive OTLP."""
PACKAGES = {
    "prometheus": "apt-get install prometheus",
    "promtool": "apt-get install prometheus",
    "prometheus-alertmanager": "apt-get install prometheus-alertmanager",
    "victoria-metrics": "`make test-backends` fetches Debian trixie's",
    "vmalert": "`make test-backends` fetches it with VictoriaMetrics",
}


def tool(name: str) -> str:
    """A program's path; the test is skipped, saying what to install, where it is not here."""
    found = shutil.which(name) if name != "victoria-metrics" else None
    if found is None and (UNPACKED / name).exists():
        found = str(UNPACKED / name)
    if found is None:
        pytest.skip(f"{name} is not here ({PACKAGES[name]})")
    return found


class Server:
    """A running server that speaks Prometheus's HTTP API."""

    def __init__(self, name: str, port: int) -> None:
        self.name = name
        self.origin = f"http://127.0.0.1:{port}"

    def get(self, path: str, **query: str) -> Any:
        """The JSON at a path. Raises what urllib raises."""
        url = f"{self.origin}{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return json.load(answer)

    def ready(self, path: str) -> bool:
        try:
            with urllib.request.urlopen(self.origin + path, timeout=30) as answer:
                return int(answer.status) == 200
        except (urllib.error.URLError, OSError):
            return False

    def ask(self, query: str) -> list[tuple[dict[str, str], float]]:
        """What a query gives now. A query that is refused is an error that says why."""
        if self.name == "VictoriaMetrics":  # what was just taken is searched some seconds later, unless asked for
            self.ready("/internal/force_flush")
        try:
            found = self.get("/api/v1/query", query=query)["data"]["result"]
        except urllib.error.HTTPError as refused:
            raise AssertionError(f"{query}: {refused.read().decode()}") from None
        return [(one["metric"], float(one["value"][1])) for one in found]


@contextlib.contextmanager
def serving(command: Sequence[str], server: Server, ready: str, log: Path) -> Iterator[Server]:
    """Run a server until the block ends, from when it answers at the path `ready`."""
    with program(command, lambda: server.ready(ready), log):
        yield server


@contextlib.contextmanager
def prometheus(
    folder: Path, target: int, rules: str | None = None, *, alerts_to: int | None = None, interval: str = "500ms"
) -> Iterator[Server]:
    """Prometheus, scraping a port of this machine, with a rule file and an Alertmanager's port if given."""
    program_path, port = tool("prometheus"), free_port()
    settings: dict[str, Any] = {
        "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
        "scrape_configs": [{"job_name": "app", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}],
    }
    if rules is not None:
        (folder / "rules.yml").write_text(rules, encoding="utf-8")
        settings["rule_files"] = ["rules.yml"]
    if alerts_to is not None:
        settings["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{alerts_to}"]}]}]}
    (folder / "prometheus.yml").write_text(json.dumps(settings), encoding="utf-8")
    command = [
        program_path, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn",
    ]  # fmt: skip
    with serving(command, Server("Prometheus", port), "/-/ready", folder / "prometheus.log") as server:
        yield server


@contextlib.contextmanager
def alertmanager(folder: Path, port: int, webhook: str) -> Iterator[Server]:
    """Alertmanager, sending everything to one webhook at once."""
    route = {"receiver": "hook", "group_by": ["..."], "group_wait": "100ms", "group_interval": "500ms"}
    receiver = {"name": "hook", "webhook_configs": [{"url": webhook, "send_resolved": False}]}
    file = folder / "alertmanager.yml"
    file.write_text(json.dumps({"route": route, "receivers": [receiver]}), encoding="utf-8")
    command = [
        tool("prometheus-alertmanager"), f"--config.file={file}", f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=", "--log.level=warn",
    ]  # fmt: skip
    with serving(command, Server("Alertmanager", port), "/-/ready", folder / "alertmanager.log") as server:
        yield server


@contextlib.contextmanager
def victoriametrics(folder: Path) -> Iterator[Server]:
    """VictoriaMetrics, taking OTLP at /opentelemetry/v1/metrics."""
    port = free_port()
    command = [
        tool("victoria-metrics"), f"-storageDataPath={folder / 'vm'}", f"-httpListenAddr=127.0.0.1:{port}",
        "-opentelemetry.usePrometheusNaming", "-search.latencyOffset=0s", "-inmemoryDataFlushInterval=1s",
    ]  # fmt: skip
    with serving(command, Server("VictoriaMetrics", port), "/health", folder / "victoriametrics.log") as server:
        yield server
