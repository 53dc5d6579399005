"""Requests sent on to the endpoint: what it takes in part or refuses, and a connection that is encrypted."""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests
from aiohttp import web
from google.rpc.status_pb2 import Status

from tests.rigs.collector_rig import GrpcEndpoint, HttpEndpoint, Loop, spans_of
from tests.rigs.otlp_requests import BODY, JAVASCRIPT, JSON, PROTOBUF, Collect, export, post
from tokenmeter.collector.signals import TRACES


def partial() -> Any:
    answer = TRACES.response()
    answer.partial_success.rejected_spans = 1
    answer.partial_success.error_message = "one is too old"
    return answer


def test_what_the_endpoint_takes_in_part_is_said_to_the_sender(
    endpoint: HttpEndpoint, grpc_endpoint: GrpcEndpoint, collect: Collect
) -> None:
    said = partial().SerializeToString()
    endpoint.answer = lambda path, body: web.Response(body=said, content_type=PROTOBUF["Content-Type"])
    grpc_endpoint.response = said
    for running in (collect(endpoint=endpoint.url), collect(endpoint=grpc_endpoint.url, protocol="grpc")):
        assert post(running, BODY).content == said
        assert export(running, BODY) == said
        in_json = post(running, json.dumps(JAVASCRIPT).encode(), JSON).json()
        assert in_json == {"partialSuccess": {"rejectedSpans": "1", "errorMessage": "one is too old"}}


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "INVALID_ARGUMENT"),
        (401, "UNAUTHENTICATED"),
        (404, "UNIMPLEMENTED"),
        (413, "INVALID_ARGUMENT"),
        (500, "INTERNAL"),
    ],
)
def test_what_the_endpoint_refuses_for_good_is_said_to_the_sender(
    endpoint: HttpEndpoint, collect: Collect, status: int, code: str
) -> None:
    endpoint.answer = lambda path, body: web.Response(
        status=status, body=Status(message="no key").SerializeToString(), content_type=PROTOBUF["Content-Type"]
    )
    running = collect(endpoint=endpoint.url)
    answer = post(running, BODY)
    assert answer.status_code == status
    assert Status.FromString(answer.content).message.endswith(f"answered {status}: no key")
    with pytest.raises(grpc.RpcError) as failure:
        export(running, BODY)
    assert failure.value.code().name == code
    assert running.counts["rejected"] == 4
    assert running.collector.memory.used == 0


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A key and a certificate of localhost that nobody has signed but itself."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the certificate, is not installed")
    key, made = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = [
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(made), "-days",
        "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    return key, made


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_an_endpoint_may_be_encrypted_and_its_certificate_must_be_trusted(
    loop: Loop, collect: Collect, certificate: tuple[Path, Path], protocol: str
) -> None:
    key, made = certificate
    there: HttpEndpoint | GrpcEndpoint
    if protocol == "http":
        there = HttpEndpoint(loop)
        there.ssl = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        there.ssl.load_cert_chain(made, key)
    else:
        there = GrpcEndpoint(loop)
        there.key = (key.read_bytes(), made.read_bytes())
    there.start()
    try:
        trusting = collect(endpoint=there.url, protocol=protocol, certificate=str(made))
        assert post(trusting, BODY).status_code == 200
        assert len(spans_of(there.bodies)) == 2
        careful = collect(endpoint=there.url, protocol=protocol, drain=2.0)
        assert post(careful, BODY).status_code == 200, "kept: the certificate may be renewed"
        problem = requests.get(careful.url + "/healthz", timeout=60).json()["problems"]["traces"]
        assert "certificate" in problem.lower() or "handshake" in problem.lower()
        assert len(spans_of(there.bodies)) == 2
        careful.stop()
    finally:
        there.stop()
