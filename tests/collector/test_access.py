"""TLS and the bearer token of senders, over HTTP and gRPC."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
import requests

from tests.rigs.collector_rig import HttpEndpoint, Running
from tests.rigs.messages import calls
from tokenmeter.collector.access import bearer_of, read_token, ssl_context
from tokenmeter.collector.signals import TRACES
from tokenmeter.errors import ConfigurationError

Collect = Callable[..., Running]
PROTOBUF = {"Content-Type": "application/x-protobuf"}
BODY = calls(1, 2).SerializeToString()


@pytest.fixture
def tls(tmp_path: Path) -> tuple[str, str]:
    """A certificate of localhost that is signed by itself, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the certificate, is not installed")
    certificate, key = str(tmp_path / "certificate.pem"), str(tmp_path / "key.pem")
    command = [
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "2",
        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


def test_both_ports_speak_tls_only(endpoint: HttpEndpoint, collect: Collect, tls: tuple[str, str]) -> None:
    running = collect(endpoint=endpoint.url, tls=tls, token="s3cret", head_timeout=0.5)
    ports = running.collector.http_port, running.collector.grpc_port
    url = f"https://localhost:{ports[0]}"
    bearer = {"Authorization": "Bearer s3cret"}
    answer = requests.post(url + TRACES.path, BODY, headers=PROTOBUF | bearer, verify=tls[0], timeout=60)
    assert answer.status_code == 200
    assert requests.get(url + "/healthz", verify=tls[0], timeout=60).json() == {"status": "ok"}
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(url + "/healthz", timeout=60)
    with pytest.raises(requests.exceptions.ConnectionError):
        requests.post(f"http://localhost:{ports[0]}{TRACES.path}", BODY, headers=PROTOBUF | bearer, timeout=60)
    with socket.create_connection(("127.0.0.1", ports[0]), 30) as silent:  # a handshake that never begins
        assert silent.recv(1) == b""
    credentials = grpc.ssl_channel_credentials(Path(tls[0]).read_bytes())
    with grpc.secure_channel(f"localhost:{ports[1]}", credentials) as channel:
        export = channel.unary_unary(TRACES.method)
        assert export(BODY, timeout=60, metadata=(("authorization", "Bearer s3cret"),)) == b""
        with pytest.raises(grpc.RpcError) as failure:
            export(BODY, timeout=60)
        assert failure.value.code() is grpc.StatusCode.UNAUTHENTICATED
    with grpc.insecure_channel(f"localhost:{ports[1]}") as channel, pytest.raises(grpc.RpcError):
        channel.unary_unary(TRACES.method)(BODY, timeout=10)
    assert running.counts["received"] == 4


WRONG = [None, "Bearer", "Bearer ", "Bearer wrong", "Bearer s3cret!", "Basic s3cret", "s3cret", "Bearer é"]


def test_without_the_token_nothing_is_read(endpoint: HttpEndpoint, collect: Collect) -> None:
    running = collect(endpoint=endpoint.url, token="s3cret")
    for wrong in WRONG:
        headers = PROTOBUF | ({} if wrong is None else {"Authorization": wrong.encode()})
        answer = requests.post(running.url + TRACES.path, BODY, headers=headers, timeout=60)
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer"), wrong
    assert requests.get(running.url + "/healthz", timeout=60).json() == {"status": "ok"}
    assert running.counts["received"] == 0
    assert endpoint.bodies == []
    right = {"Authorization": "bearer s3cret"}
    assert requests.post(running.url + TRACES.path, BODY, headers=PROTOBUF | right, timeout=60).status_code == 200
    assert requests.get(running.url + "/healthz", headers=right, timeout=60).json()["spans"]["received"] == 2
    assert "s3cret" not in repr(running.collector.options)


def test_a_body_without_the_token_is_not_waited_for(endpoint: HttpEndpoint, collect: Collect) -> None:
    running = collect(endpoint=endpoint.url, token="s3cret")
    with socket.create_connection(("127.0.0.1", running.collector.http_port), 30) as sender:
        sender.sendall(b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n")
        assert sender.recv(65536).startswith(b"HTTP/1.1 401 ")
        assert running.collector.memory.used == 0


def test_where_the_token_comes_from(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("of-a-file\n")
    variable = {"TOKENMETER_COLLECTOR_TOKEN": "of-a-variable"}
    assert read_token(str(file), variable) == "of-a-file"
    assert read_token(None, variable) == "of-a-variable"
    assert read_token(None, {}) is None
    file.write_text("two\nlines\n")
    for path, environment in ((str(file), {}), (None, {"TOKENMETER_COLLECTOR_TOKEN": " "}), ("/nowhere", {})):
        with pytest.raises(ConfigurationError, match=r"--token-file|TOKENMETER_COLLECTOR_TOKEN"):
            read_token(path, environment)
    assert not bearer_of(None, "s3cret")


def test_a_certificate_without_its_key_is_an_error(tls: tuple[str, str], tmp_path: Path) -> None:
    ssl_context(*tls)
    with pytest.raises(ConfigurationError, match="cannot be used"):
        ssl_context(tls[0], tls[0])
    with pytest.raises(ConfigurationError, match="cannot be used"):
        ssl_context(str(tmp_path / "none.pem"), tls[1])
