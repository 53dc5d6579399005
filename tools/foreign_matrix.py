"""Run applications that other instrumentations trace, each with the processor and with the collector; print a table.

    python tools/foreign_matrix.py [--only official vercel-5 ...]

An application (`tools/foreign_apps`) makes known calls to a provider server on this machine, traced by the real
instrumentation from the package registry and by nothing of ours. With `processor` its spans are priced in its process;
with `collector` they leave as they are and a `tokenmeter collector` prices them on their way. Each row says what the
ledger then holds and what the spans say that arrived behind; it is right if both are the calls that were made, each
once, with the tokens and the cost of the vendor's answers. Environments are made as in `sdk_matrix.py`; Vercel's AI
SDK needs node and npm, and is left out with a word where they are not.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from sdk_matrix import ROOT, VENVS, environment

from tokenmeter.testing import provider_server

APPS: Final = ROOT / "tools" / "foreign_apps"
SDKS: Final = ("openai>=2,<4", "anthropic>=0.100", "opentelemetry-exporter-otlp-proto-http")


class Row(NamedTuple):
    """An application: what is installed, and the priced and unpriced calls that it makes of deepseek and of Claude."""

    packages: tuple[str, ...]
    deepseek: int
    claude: int
    unpriced: int
    application: str
    lacks: str = ""
    """What spans of some calls do not say, and so nobody who reads spans can know."""
    costs: Mapping[str, str] = {}
    """What all calls of a currency cost by what their spans do say, where that is not what the vendor bills."""


def both(application: str, *packages: str) -> Row:
    """An application of both SDKs: an answer, a stream and a failure of one, an answer and a stream of the other."""
    return Row((*SDKS, *packages), 2, 2, 1, application)


MATRIX: Final[Mapping[str, Row]] = {
    "official": both(
        "official", "opentelemetry-instrumentation-genai-openai", "opentelemetry-instrumentation-genai-anthropic"
    ),
    "openllmetry": both(
        "openllmetry", "opentelemetry-instrumentation-openai", "opentelemetry-instrumentation-anthropic"
    ),
    "openinference": both(
        "openinference", "openinference-instrumentation-openai", "openinference-instrumentation-anthropic"
    ),
    # Of its many requirements the registry has one set that fits together, found by hand; pip searches for hours.
    "openlit": both(
        "openlit", "openlit==1.45.0", "opentelemetry-sdk==1.39.0", "opentelemetry-exporter-otlp-proto-http==1.39.0",
        "opentelemetry-distro==0.60b0",
    )._replace(lacks="1 span leaves 8 cached tokens out", costs={"USD": "0.0004584"}),
    "logfire": both("logfire", "logfire"),
    "langsmith": Row((*SDKS, "langsmith[otel]"), 2, 0, 1, "langsmith"),
    "pydantic-ai": Row((*SDKS, "pydantic-ai-slim[openai,anthropic]"), 2, 1, 0, "pydantic_ai"),
    "langchain-over-openai": Row(
        (*SDKS, "langchain-openai", "openinference-instrumentation-langchain", "openinference-instrumentation-openai"),
        2, 0, 0, "langchain_over_openai",
    ),
}  # fmt: skip
NPM: Final[Mapping[str, tuple[str, ...]]] = {
    "vercel-5": ("ai@5", "@ai-sdk/openai-compatible@1"),
    "vercel-6": ("ai@6", "@ai-sdk/openai-compatible@2"),
    "vercel-7": ("ai@7", "@ai-sdk/openai-compatible@3", "@ai-sdk/otel@1"),
}
NODE: Final = (
    "@opentelemetry/api", "@opentelemetry/resources", "@opentelemetry/sdk-trace-node",
    "@opentelemetry/exporter-trace-otlp-http", "@opentelemetry/exporter-trace-otlp-proto",
    "@opentelemetry/exporter-trace-otlp-grpc",
)  # fmt: skip
# The provider server counts 24 tokens in, 8 of them cached, and 12 out.
COSTS: Final = {"CNY": Decimal(16 * 1 + 12 * 4) / 10**6 + Decimal("0.16") / 10**6,
                "USD": (Decimal(3) * 16 + Decimal("0.3") * 8 + Decimal(15) * 12) / 10**6}  # fmt: skip


class Endpoint:
    """An OTLP receiver in a thread: the spans that came, with their attributes."""

    def __init__(self) -> None:
        self.spans: list[dict[str, Any]] = []
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self.port: int = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(30)

    async def _start(self) -> int:
        app = web.Application(client_max_size=2**28)
        app.router.add_post("/v1/{signal}", self._take)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return int(runner.addresses[0][1])

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        if request.match_info["signal"] == "traces":
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    self.spans += [
                        {
                            one.key: getattr(one.value, one.value.WhichOneof("value") or "string_value")
                            for one in span.attributes
                        }
                        for span in scope.spans
                    ]
        return web.Response(body=b"", content_type="application/x-protobuf")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def collector(to: str, ledger: Path, environ: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """A collector before an endpoint; yields the variables that say where it is. When this ends it has sent all."""
    command = [
        sys.executable, "-m", "tokenmeter", "collector", "--endpoint", to, "--http", "0", "--grpc", "0", "--ledger",
        str(ledger), "--provider", "openai=deepseek", "--metrics-every", "0",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ)
    assert process.stdout is not None
    try:
        first = process.stdout.readline()
        found = re.search(r"over gRPC on ([\d.:]+), over HTTP on ([\d.:]+);", first)
        assert found, first
        yield {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{found[2]}", "COLLECTOR_GRPC": f"http://{found[1]}"}
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def node_modules(name: str) -> Path:
    """A folder with the packages of an application for node; made where it is not there or is stale."""
    home = VENVS / f"foreign-{name}"
    wanted = [*NPM[name], *NODE]
    stamp = home / ".packages"
    digest = hashlib.sha256(json.dumps(wanted).encode()).hexdigest()
    if not (stamp.exists() and stamp.read_text() == digest):
        print(f"{name}: installing {', '.join(NPM[name])}", flush=True)
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        (home / "package.json").write_text('{"private": true, "type": "module"}')
        subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", *wanted], cwd=home, check=True)
        stamp.write_text(digest)
    shutil.copy(APPS / "vercel.mjs", home)
    return home


def command_of(name: str) -> tuple[list[str], Path]:
    """What runs an application, and where."""
    if name in NPM:
        return ["node", "vercel.mjs", name.partition("-")[2]], node_modules(name)
    row = MATRIX[name]
    return [str(environment(f"foreign-{name}", row.packages)), str(APPS / "app.py"), row.application], ROOT


def run(name: str, way: str) -> tuple[list[tuple[Any, ...]], list[dict[str, Any]], str]:
    """The ledger's rows, the spans that arrived, and what went wrong."""
    command, where = command_of(name)
    endpoint = Endpoint()
    with tempfile.TemporaryDirectory() as folder, provider_server() as deepseek, provider_server() as claude:
        ledger = Path(folder, "spend.db")
        hosts = {"deepseek": deepseek.origin.rpartition("/")[2], "anthropic": claude.origin.rpartition("/")[2]}
        environ = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "TOKENMETER_"))} | {
            "DEEPSEEK_URL": deepseek.url("deepseek"), "ANTHROPIC_URL": claude.url("anthropic"), "WAY": way,
            "TOKENMETER_HOSTS": ",".join(f"{host}={vendor}" for vendor, host in hosts.items()),
            "PYTHONWARNINGS": "ignore", "NO_PROXY": "127.0.0.1,localhost",
        }  # fmt: skip
        if way == "processor":
            to = environ | {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint.url, "TOKENMETER_LEDGER": str(ledger)}
            done = subprocess.run(command, cwd=where, env=to, capture_output=True, text=True, timeout=300, check=False)
        else:
            with collector(endpoint.url, ledger, environ) as to:
                to = environ | to
                done = subprocess.run(
                    command, cwd=where, env=to, capture_output=True, text=True, timeout=300, check=False
                )
        rows: list[tuple[Any, ...]] = []
        if ledger.exists():
            with closing(sqlite3.connect(ledger)) as connection:
                columns = "status, amount, currency, input_tokens, output_tokens"
                rows = connection.execute(f"SELECT {columns} FROM calls").fetchall()  # noqa: S608  (our own names)
    return rows, endpoint.spans, "" if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


def expected(name: str) -> Row:
    """The calls that an application makes."""
    if name in MATRIX:
        return MATRIX[name]
    row = Row((), 2, 0, 0, "")
    if name == "vercel-5":  # one whole input and 12 out at 1 and 4 a million, and one with 8 cached
        row = row._replace(lacks="1 span does not say what was cached", costs={"CNY": "0.00013616"})
    return row


def judge(name: str, way: str) -> tuple[bool, str]:
    """Run one cell; whether it is right, and its line of the table."""
    row = expected(name)
    rows, spans, wrong = run(name, way)
    costs: dict[str, Decimal] = {}
    for status, amount, currency, *_ in rows:
        if status == "priced":
            costs[currency] = costs.get(currency, Decimal(0)) + Decimal(amount)
    priced = [one for one in rows if one[0] == "priced"]
    # By the call's id, since Logfire exports a second time by itself.
    costly = {one["tokenmeter.call.id"]: one["tokenmeter.cost.amount"] for one in spans if "tokenmeter.cost" in one}
    told = sorted(map(Decimal, costly.values()))
    due = {key: COSTS[key] * count for key, count in (("CNY", row.deepseek), ("USD", row.claude)) if count}
    due |= {currency: Decimal(amount) for currency, amount in row.costs.items()}
    right = (
        not wrong
        and costs == due
        and len(priced) == row.deepseek + row.claude
        and len(rows) == len(priced) + row.unpriced
        and (row.costs or all(one[3:5] == (24, 12) for one in priced))
        and told == sorted(Decimal(one[1]) for one in priced)
    )
    tokens = f"{sum(one[3] or 0 for one in rows)} / {sum(one[4] or 0 for one in rows)}"
    cost = ", ".join(f"{amount.normalize():f} {currency}" for currency, amount in sorted(costs.items())) or "-"
    line = (
        f"{name:22}{way:11}{row.deepseek + row.claude + row.unpriced:>6}{len(rows):>9}{len(told):>7}  {tokens:11}"
        f"{cost:32}{'ok' if right else 'WRONG'}{f', {row.lacks}' if row.lacks else ''}"
    )
    return right, line + (f"\n    {wrong}" if wrong else "")


def main(argv: list[str] | None = None) -> int:
    """Run the matrix; 0 if every cell is right."""
    names = [*MATRIX, *NPM]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    arguments = parser.parse_args(argv)
    lines, right = [], True
    for name in arguments.only:
        if name in NPM and not shutil.which("npm"):
            lines.append(f"{name:22}left out: there is no npm here")
            continue
        for way in ("processor", "collector"):
            if name in NPM and way == "processor":
                lines.append(f"{name:22}{way:11}not Python: the collector is the way")
                continue
            try:
                good, line = judge(name, way)
            except subprocess.SubprocessError as error:
                good, line = False, f"{name:22}{way:11}WRONG: {error}"
            right = right and good
            lines.append(line)
            print(line, flush=True)
    print(f"\n{'instrumentation':22}{'priced by':11}{'calls':>6}{'records':>9}{'spans':>7}  {'in / out':11}cost")
    print("\n".join(lines))
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
