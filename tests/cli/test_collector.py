"""`tokenmeter collector` as a process: its first line, its end by a signal, killed and started again, bad flags."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

pytest.importorskip("aiohttp", reason="the collector's extra is not installed")
pytest.importorskip("grpc", reason="the collector's extra is not installed")

import requests

from tests.rigs.collector_rig import HttpEndpoint, Loop, rows, spans_of
from tests.rigs.messages import calls
from tests.rigs.services import until

PROTOBUF = {"Content-Type": "application/x-protobuf"}


class Process:
    """A collector of its own; `url` is where it listens for HTTP."""

    def __init__(self, *flags: str) -> None:
        command = [sys.executable, "-m", "tokenmeter", "collector", *flags]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.err: list[str] = []
        self._reading = threading.Thread(target=self._read, args=(self.process.stderr,), daemon=True)
        self._reading.start()
        assert self.process.stdout is not None
        self.first = self.process.stdout.readline()
        found = re.search(r"over HTTP on ([\d.:]+);", self.first)
        assert found, self.first + "".join(self.err)
        self.url = f"http://{found[1]}"

    def _read(self, stream: IO[str]) -> None:
        self.err.extend(stream)

    def post(self, body: bytes) -> int:
        return requests.post(f"{self.url}/v1/traces", data=body, headers=PROTOBUF, timeout=60).status_code

    def end(self, by: signal.Signals) -> tuple[int, str]:
        """The exit status and what was printed at the end."""
        self.process.send_signal(by)
        assert self.process.stdout is not None
        said = self.process.stdout.read()
        self._reading.join(60)
        return self.process.wait(60), said


@pytest.fixture
def start() -> Iterator[Callable[..., Process]]:
    running: list[Process] = []

    def make(*flags: str) -> Process:
        running.append(Process("--http", "0", "--grpc", "0", "--metrics-every", "0", *flags))
        return running[-1]

    yield make
    for one in running:
        one.process.kill()
        one.process.wait()


@pytest.fixture
def endpoint() -> Iterator[HttpEndpoint]:
    loop = Loop()
    made = HttpEndpoint(loop)
    made.start()
    yield made
    made.stop()
    loop.close()


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_listens_and_at_the_end_what_it_did(
    endpoint: HttpEndpoint, start: Callable[..., Process], tmp_path: Path, by: signal.Signals
) -> None:
    ledger = tmp_path / "spend.db"
    running = start("--endpoint", endpoint.url, "--ledger", str(ledger), "--queue", "2MiB", "--largest", "1MB")
    assert re.fullmatch(
        r"tokenmeter collector: OTLP over gRPC on 127\.0\.0\.1:\d+, over HTTP on 127\.0\.0\.1:\d+; "
        rf"forwards to {endpoint.url} \(HTTP\); keeps 2 MiB while that is away; ledger {ledger}\n",
        running.first,
    )
    assert running.post(calls(1, 5).SerializeToString()) == 200
    status, said = running.end(by)
    assert (status, running.err) == (0, [])
    assert said.splitlines() == [
        "tokenmeter collector: ending within 10 s",
        "tokenmeter collector: 5 spans received, 5 forwarded, 5 calls priced, 0 unpriced",
    ]
    assert len(rows(ledger)) == 5


def test_what_could_not_be_sent_is_said_and_is_the_exit_status(
    endpoint: HttpEndpoint, start: Callable[..., Process], tmp_path: Path
) -> None:
    endpoint.stop()
    ledger = tmp_path / "spend.db"
    running = start("--endpoint", endpoint.url, "--drain", "3", "--ledger", str(ledger))
    assert running.post(calls(1, 5).SerializeToString()) == 200
    began = time.monotonic()
    status, said = running.end(signal.SIGTERM)
    assert time.monotonic() - began < 30
    assert status == 1
    assert "NOT SENT: 1 requests of traces with 5 spans" in said
    assert any(
        f"traces are queued, the endpoint does not accept them: {endpoint.url}/v1/traces cannot be reached" in line
        for line in running.err
    )
    assert len(rows(ledger)) == 5, "what was priced is in the ledger all the same"


def test_what_waits_is_sent_at_the_end_if_the_endpoint_is_back(
    endpoint: HttpEndpoint, start: Callable[..., Process]
) -> None:
    endpoint.stop()
    running = start("--endpoint", endpoint.url, "--drain", "30")
    for number in range(1, 4):
        assert running.post(calls(number, 1).SerializeToString()) == 200
    endpoint.start()
    assert running.end(signal.SIGTERM)[0] == 0
    assert [int.from_bytes(one.span_id, "big") for one in spans_of(endpoint.bodies)] == [1, 2, 3]


def test_killed_and_started_again_each_call_is_in_the_ledger_once(
    endpoint: HttpEndpoint, start: Callable[..., Process], tmp_path: Path
) -> None:
    """The sender got no answer, so it sends again, to the process that has taken the other's place."""
    ledger = tmp_path / "spend.db"
    body = calls(1, 20).SerializeToString()
    standing = threading.Event()

    async def stand_still(path: str, body: bytes) -> None:
        standing.set()
        await asyncio.Event().wait()

    endpoint.answer = stand_still
    first = start("--endpoint", endpoint.url, "--ledger", str(ledger))
    failed: list[Exception] = []

    def send() -> None:
        try:
            first.post(body)
        except requests.RequestException as error:
            failed.append(error)

    sender = threading.Thread(target=send)
    sender.start()
    assert standing.wait(60)
    until(lambda: ledger.exists() and len(rows(ledger)) == 20, "the ledger")
    first.process.kill()
    sender.join(60)
    assert failed, "the sender was not told that anybody has its spans"
    endpoint.answer = lambda path, body: None
    second = start("--endpoint", endpoint.url, "--ledger", str(ledger))
    assert second.post(body) == 200
    assert second.end(signal.SIGTERM)[0] == 0
    assert len(rows(ledger)) == 20
    assert {int.from_bytes(one.span_id, "big") for one in spans_of(endpoint.bodies)} == set(range(1, 21))


BAD = [
    pytest.param([], "give --endpoint", id="no endpoint"),
    pytest.param(["--endpoint", "ftp://x"], "'ftp://x' is no address", id="no address"),
    pytest.param(["--endpoint", "http://x:99999"], "is no address", id="no port"),
    pytest.param(["--endpoint", "http://127.0.0.1:4318"], "is where this collector listens", id="itself"),
    pytest.param(["--endpoint", "http://x/p", "--protocol", "grpc"], "gRPC has none", id="a path for grpc"),
    pytest.param(["--endpoint", "http://x", "--queue", "much"], "'much' is no size; write 64MiB", id="no size"),
    pytest.param(["--endpoint", "http://x", "--queue", "0"], "--queue: '0' is no size", id="no room"),
    pytest.param(["--endpoint", "http://x", "--queue", "1MiB"], "never fits a queue of 1048576", id="less than one"),
    pytest.param(["--endpoint", "http://x", "--header", "api-key"], "--header: an argument without '='", id="a header"),
    pytest.param(["--endpoint", "http://x", "--provider", "openai=depseek"], "no provider 'depseek'", id="a provider"),
    pytest.param(["--endpoint", "https://x", "--ca", "/no/such"], "--ca: /no/such cannot be read", id="certificates"),
    pytest.param(["--endpoint", "http://x", "--prometheus", "99999"], "99999 is no port", id="no port there"),
    pytest.param(["--endpoint", "http://x", "--drain", "-1"], "--drain: -1 is no number of seconds", id="before now"),
    pytest.param(["--endpoint", "http://x", "--protocol", "udp"], "invalid choice: 'udp'", id="a protocol"),
]


@pytest.mark.parametrize(("flags", "complaint"), BAD)
def test_bad_flags_are_said(flags: list[str], complaint: str) -> None:
    ports = [] if "4318" in str(flags) else ["--http", "0", "--grpc", "0"]
    command = [sys.executable, "-m", "tokenmeter", "collector", *ports, *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("flag", ["--http", "--grpc", "--prometheus"])
def test_a_port_that_is_taken_is_said(flag: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports = {"--http": "0", "--grpc": "0"} | {flag: str(taken.getsockname()[1])}
        command = [sys.executable, "-m", "tokenmeter", "collector", "--endpoint", "http://x"]
        done = subprocess.run(
            [*command, *(part for pair in ports.items() for part in pair)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 2
    assert f"{flag}: cannot listen on 127.0.0.1:" in done.stderr


def test_the_standard_variables_say_where_to(
    endpoint: HttpEndpoint, start: Callable[..., Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"{endpoint.url}/v1/traces")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20b,x=y")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    running = start()
    assert running.post(calls(1, 1).SerializeToString()) == 200
    assert f"forwards to {endpoint.url} (HTTP, gzip)" in running.first
    headers = endpoint.headers[0]
    assert (headers["api-key"], headers["x"], headers["Content-Encoding"]) == ("a b", "y", "gzip")


def test_importing_tokenmeter_loads_nothing_of_the_collector() -> None:
    code = "import tokenmeter, tokenmeter.cli, sys; print({'grpc', 'aiohttp', 'google.protobuf'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
