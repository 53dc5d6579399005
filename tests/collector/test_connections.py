"""Slow heads, slow bodies, bodies cut off: time limits, memory and the log."""

from __future__ import annotations

import logging
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from tests.rigs.collector_rig import HttpEndpoint, Running, health_watched, spans_of
from tests.rigs.messages import calls
from tests.rigs.services import until
from tokenmeter.collector.signals import TRACES

Collect = Callable[..., Running]
PROTOBUF = {"Content-Type": "application/x-protobuf"}
JSON = {"Content-Type": "application/json"}
BODY = calls(1, 2).SerializeToString()
MIB = 2**20


def head(length: int | None = None) -> bytes:
    size = b"transfer-encoding: chunked" if length is None else b"content-length: %d" % length
    return b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n" + size + b"\r\n\r\n"


def connected(running: Running) -> socket.socket:
    return socket.create_connection(("127.0.0.1", running.collector.http_port), 30)


def closed_within(connection: socket.socket, seconds: float) -> bytes:
    """What comes until the other side closes the connection."""
    connection.settimeout(seconds)
    said = b""
    while True:
        try:
            part = connection.recv(65536)
        except ConnectionResetError:
            return said
        if not part:
            return said
        said += part


@pytest.mark.parametrize(
    "begun", [b"", b"POST /v1/traces HTTP/1.1\r\nhost: x\r\n"], ids=["nothing at all", "half a head"]
)
def test_a_slow_head_is_cut_off(endpoint: HttpEndpoint, collect: Collect, begun: bytes) -> None:
    running = collect(endpoint=endpoint.url, head_timeout=0.5)
    connections = [connected(running) for _ in range(100)]
    for one in connections:
        one.sendall(begun)
    with health_watched(running, 2.0):
        for one in connections:
            assert closed_within(one, 30) == b""
    with requests.Session() as session:  # a connection that sends in time is kept
        assert session.get(running.url + "/nothing", timeout=60).status_code == 404
        time.sleep(1.0)
        assert session.post(running.url + TRACES.path, BODY, headers=PROTOBUF, timeout=60).status_code == 200


@pytest.mark.parametrize("length", [1000, None], ids=["of known length", "chunked"])
def test_a_slow_body_is_cut_off_and_its_memory_is_free_again(
    endpoint: HttpEndpoint, collect: Collect, length: int | None
) -> None:
    running = collect(endpoint=endpoint.url, body_timeout=0.5, largest=1000, queue=2000)
    with connected(running) as slow:
        slow.sendall(head(length) + (b"x" if length else b"3e8\r\nx"))
        until(lambda: running.collector.memory.used, "the reservation")
        said = closed_within(slow, 30)
    assert said.startswith(b"HTTP/1.1 408 ")
    assert b"did not arrive within 0.5 seconds" in said
    assert running.collector.memory.used == 0


def test_memory_is_reserved_before_a_body_is_read(endpoint: HttpEndpoint, collect: Collect) -> None:
    running = collect(endpoint=endpoint.url, largest=1000, queue=2000)
    slow = [connected(running) for _ in range(2)]
    for one in slow:
        one.sendall(head(1000) + b"x")
    until(lambda: running.collector.memory.used == 2000, "both reservations")
    answer = requests.post(running.url + TRACES.path, b"x" * 900, headers=PROTOBUF, timeout=60)
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 1
    for one in slow:
        one.close()
    until(lambda: running.collector.memory.used == 0, "the release")
    assert requests.post(running.url + TRACES.path, BODY, headers=PROTOBUF, timeout=60).status_code == 200


def test_a_body_that_says_it_is_too_long_is_not_read(endpoint: HttpEndpoint, collect: Collect) -> None:
    running = collect(endpoint=endpoint.url, largest=MIB)
    with connected(running) as sender:
        sender.sendall(head(2**40))
        assert b"413" in sender.recv(65536)


def test_senders_that_go_away_leave_no_trace(
    endpoint: HttpEndpoint, collect: Collect, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    running = collect(endpoint=endpoint.url)
    with caplog.at_level(logging.DEBUG - 1, "aiohttp"), caplog.at_level(logging.WARNING):
        for begun in (b"", b"POST /v1", head(10_000) + b"half", head() + b"5\r\nhal", b"\0\1\2 nonsense\r\n\r\n"):
            for reset in (False, True):
                one = connected(running)
                one.sendall(begun)
                time.sleep(0.02)
                if reset:  # RST instead of FIN
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                one.close()
        until(lambda: running.collector.memory.used == 0, "the release")
        time.sleep(0.2)
    assert [one for one in caplog.records if one.levelno >= logging.WARNING] == []
    assert "Traceback" not in capfd.readouterr().err
    assert requests.post(running.url + TRACES.path, BODY, headers=PROTOBUF, timeout=60).status_code == 200
    assert len(spans_of(endpoint.bodies)) == 2


def resident(pid: int) -> int:
    """Resident memory of a process in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_forty_unfinished_bodies_take_no_more_memory_than_the_queue(endpoint: HttpEndpoint) -> None:
    command = [sys.executable, "-m", "tokenmeter.cli", "collector", "--endpoint", endpoint.url, "--http", "0",
               "--grpc", "0", "--metrics-every", "0"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            port = int(said.split("over HTTP on 127.0.0.1:")[1].split(";")[0])
            before = resident(process.pid)
            connections = [socket.create_connection(("127.0.0.1", port), 30) for _ in range(40)]

            def send(one: socket.socket) -> None:
                one.settimeout(2.0)
                try:
                    one.sendall(head(15 * MIB))
                    one.sendall(b"\0" * (15 * MIB - 1))
                except OSError:
                    pass  # refused, or not read

            threads = [threading.Thread(target=send, args=(one,)) for one in connections]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            begun = time.monotonic()
            health = requests.get(f"http://127.0.0.1:{port}/healthz", timeout=60).json()
            assert time.monotonic() - begun < 2.0
            assert health["queue"]["bytes"] == 60 * MIB, "four of them fit"
            assert health["spans"]["refused"] == 36
            assert resident(process.pid) - before < 110 * MIB
            for one in connections:
                one.close()
            until(lambda: requests.get(f"http://127.0.0.1:{port}/healthz", timeout=60).json()["queue"]["bytes"] == 0)
        finally:
            process.terminate()
            process.wait(60)
