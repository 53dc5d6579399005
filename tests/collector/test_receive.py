"""Requests over HTTP and gRPC: what is taken, what is turned away and how that is said."""

from __future__ import annotations

import gzip
import json
import shutil
import ssl
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests
from aiohttp import web
from google.protobuf import json_format
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from tests.rigs.collector_rig import GrpcEndpoint, HttpEndpoint, Loop, Running, attributes, rows, spans_of
from tests.rigs.messages import GENAI, OFFICIAL, PRICED, USED, calls, request, span
from tokenmeter.collector.results import hint_of
from tokenmeter.collector.signals import LOGS, METRICS, TRACES

Collect = Callable[..., Running]
PROTOBUF = {"Content-Type": "application/x-protobuf"}
JSON = {"Content-Type": "application/json"}
BODY = calls(1, 2).SerializeToString()


def post(
    running: Running, body: bytes, headers: dict[str, str] = PROTOBUF, path: str = TRACES.path
) -> requests.Response:
    return requests.post(running.url + path, data=body, headers=headers, timeout=60)


def export(running: Running, body: bytes, method: str = TRACES.method, **more: Any) -> bytes:
    with grpc.insecure_channel(running.grpc) as channel:
        answer: bytes = channel.unary_unary(method)(body, timeout=60, **more)
        return answer


PACKED = [
    pytest.param(BODY, {}, id="as it is"),
    pytest.param(BODY, {"Content-Encoding": "identity"}, id="identity"),
    pytest.param(gzip.compress(BODY), {"Content-Encoding": "gzip"}, id="gzip"),
    pytest.param(zlib.compress(BODY), {"Content-Encoding": "deflate"}, id="deflate"),
]


@pytest.mark.parametrize(("body", "headers"), PACKED)
def test_spans_come_over_http_and_leave_with_their_cost(
    endpoint: HttpEndpoint, collect: Collect, tmp_path: Path, body: bytes, headers: dict[str, str]
) -> None:
    ledger = tmp_path / "spend.db"
    running = collect(endpoint=endpoint.url, ledger=str(ledger), headers={"api-key": "k"})
    answer = post(running, body, PROTOBUF | headers)
    assert (answer.status_code, answer.content, answer.headers["Content-Type"]) == (200, b"", "application/x-protobuf")
    assert [attributes(one)["tokenmeter.cost.amount"] for one in spans_of(endpoint.bodies)] == [PRICED] * 2
    assert endpoint.headers[0]["api-key"] == "k"
    assert running.stop().startswith("2 spans received, 2 forwarded, 2 calls priced, 0 unpriced")
    assert [row[1:] for row in rows(ledger)] == [("priced", PRICED, "USD", 1000, 100)] * 2


@pytest.mark.parametrize("packing", [grpc.Compression.NoCompression, grpc.Compression.Gzip], ids=["as it is", "gzip"])
@pytest.mark.parametrize("forward", ["none", "gzip"])
def test_spans_come_over_grpc_and_leave_over_grpc(
    grpc_endpoint: GrpcEndpoint, collect: Collect, packing: grpc.Compression, forward: str
) -> None:
    running = collect(endpoint=grpc_endpoint.url, protocol="grpc", headers={"Api-Key": "k"}, compression=forward)
    assert export(running, BODY, compression=packing) == b""
    assert [attributes(one)["tokenmeter.cost.amount"] for one in spans_of(grpc_endpoint.bodies)] == [PRICED] * 2
    assert grpc_endpoint.metadata[0]["api-key"] == "k"


def test_requests_without_calls_leave_byte_for_byte(endpoint: HttpEndpoint, collect: Collect) -> None:
    running = collect(endpoint=endpoint.url, compression="gzip")
    # Fields out of their order and a field that the protocol has not got: nothing is written anew.
    strange = b"\xfa\x07\x03abc" + request(("app", span(1, {"a": "b"}))).SerializeToString()
    assert post(running, strange).status_code == 200
    export(running, strange)
    assert [body for _, body in endpoint.bodies] == [strange, strange]


@pytest.mark.parametrize("signal", [METRICS, LOGS], ids=lambda one: one.name)
def test_metrics_and_logs_pass_through_unchanged(endpoint: HttpEndpoint, collect: Collect, signal: Any) -> None:
    running = collect(endpoint=endpoint.url)
    message = signal.request()
    if signal is METRICS:
        scope = message.resource_metrics.add().scope_metrics.add()
        scope.metrics.add(name="tokens").sum.data_points.add(as_int=7)
    else:
        message.resource_logs.add().scope_logs.add().log_records.add(severity_text="INFO", trace_id=b"1" * 16)
    body = b"\xfa\x07\x03abc" + message.SerializeToString()
    assert post(running, body, path=signal.path).status_code == 200
    assert export(running, body, signal.method) == b""
    as_json = json.dumps(json_format.MessageToDict(message)).replace("MTExMTExMTExMTExMTExMQ==", "31" * 16).encode()
    assert post(running, as_json, JSON, signal.path).json() == {}
    assert endpoint.bodies == [(signal.path, body), (signal.path, body), (signal.path, message.SerializeToString())]
    assert isinstance(message, ExportMetricsServiceRequest | ExportLogsServiceRequest)


# As OpenTelemetry's exporter for JavaScript writes it (@opentelemetry/exporter-trace-otlp-http).
JAVASCRIPT = {
    "resourceSpans": [{
        "resource": {
            "attributes": [
                {"key": "service.name", "value": {"stringValue": "shop"}},
                {"key": "process.command_args", "value": {"arrayValue": {"values": [{"stringValue": "node"}]}}},
            ],
            "droppedAttributesCount": 0,
        },
        "scopeSpans": [{
            "scope": {"name": "ai", "version": ""},
            "spans": [{
                "traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174",
                "parentSpanId": "eee19b7ec3c1b173", "name": "ai.generateText.doGenerate", "kind": 1, "flags": 257,
                "startTimeUnixNano": "1793491200000000000", "endTimeUnixNano": "1793491201000000000",
                "attributes": [
                    {"key": "ai.operationId", "value": {"stringValue": "ai.generateText.doGenerate"}},
                    {"key": "ai.model.provider", "value": {"stringValue": "openai.chat"}},
                    {"key": "ai.model.id", "value": {"stringValue": "gpt-4o"}},
                    {"key": "ai.usage.inputTokens", "value": {"intValue": 1000}},
                    {"key": "ai.usage.outputTokens", "value": {"doubleValue": 100}},
                ],
                "droppedAttributesCount": 0, "events": [], "droppedEventsCount": 0, "status": {"code": 0},
                "links": [{"traceId": "5b8efff798038103d269b633813fc60d", "spanId": "eee19b7ec3c1b175",
                           "attributes": [], "droppedAttributesCount": 0, "flags": 257}],
                "droppedLinksCount": 0, "aFieldOfTomorrow": {"nested": [1]},
            }],
        }],
    }]
}  # fmt: skip


def test_json_as_javascript_writes_it(endpoint: HttpEndpoint, collect: Collect) -> None:
    running = collect(endpoint=endpoint.url)
    answer = post(running, gzip.compress(json.dumps(JAVASCRIPT).encode()), JSON | {"Content-Encoding": "gzip"})
    assert (answer.status_code, answer.json(), answer.headers["Content-Type"].split(";")[0]) == (
        200,
        {},
        JSON["Content-Type"],
    )
    (one,) = spans_of(endpoint.bodies)
    assert one.trace_id.hex() == "5b8efff798038103d269b633813fc60c"
    assert (one.span_id.hex(), one.parent_span_id.hex()) == ("eee19b7ec3c1b174", "eee19b7ec3c1b173")
    assert one.links[0].trace_id.hex() == "5b8efff798038103d269b633813fc60d"
    assert one.end_time_unix_nano == 1793491201000000000
    assert attributes(one)["tokenmeter.cost.amount"] == PRICED


def changed(**more: Any) -> bytes:
    whole = json.loads(json.dumps(JAVASCRIPT))
    whole["resourceSpans"][0]["scopeSpans"][0]["spans"][0] |= more
    return json.dumps(whole).encode()


BAD = [
    pytest.param(b"\x0a\xff", PROTOBUF, 400, "no export request for traces", id="cut short"),
    pytest.param(b"hello, this is no protobuf", PROTOBUF, 400, "no export request", id="text"),
    pytest.param(BODY, PROTOBUF | {"Content-Encoding": "gzip"}, 400, "not gzip", id="not gzip"),
    pytest.param(gzip.compress(BODY)[:-9], PROTOBUF | {"Content-Encoding": "gzip"}, 400, "too early", id="half gzip"),
    pytest.param(BODY, PROTOBUF | {"Content-Encoding": "br"}, 400, "'br' is not taken", id="brotli"),
    pytest.param(BODY, {"Content-Type": "text/plain"}, 415, "'text/plain' is not taken", id="plain text"),
    pytest.param(BODY, {}, 415, "send application/x-protobuf", id="no content type"),
    pytest.param(b"{", JSON, 400, "not JSON", id="half an object"),
    pytest.param(b"[]", JSON, 400, "not an object", id="a list"),
    pytest.param(b"\xff{}", JSON, 400, "not JSON", id="no text"),
    pytest.param(b"[" * 100_000, JSON, 400, "not JSON", id="without end"),
    pytest.param(b'{"resourceSpans": 7}', JSON, 400, "no export request for traces", id="a number for a list"),
    pytest.param(changed(traceId="xyz"), JSON, 400, "spans[0].traceId: 'xyz' is not 32 hex", id="an id that is none"),
    pytest.param(changed(spanId="ee"), JSON, 400, "spans[0].spanId: 'ee' is not 16 hex", id="an id too short"),
    pytest.param(changed(startTimeUnixNano="soon"), JSON, 400, "startTimeUnixNano", id="an instant that is none"),
    pytest.param(b"\0" * 5_000_000, PROTOBUF, 413, "longer than 1048576 bytes", id="too long"),
    pytest.param(gzip.compress(b"\0" * 50_000_000), PROTOBUF | {"Content-Encoding": "gzip"}, 413, "longer than 1048576",
                 id="too long when unpacked"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "headers", "code", "reason"), BAD)
def test_bad_requests_are_turned_away_with_the_reason(
    endpoint: HttpEndpoint, collect: Collect, body: bytes, headers: dict[str, str], code: int, reason: str
) -> None:
    running = collect(endpoint=endpoint.url, largest=2**20)
    answer = post(running, body, headers)
    assert answer.status_code == code
    said = answer.json()["message"] if headers == JSON else Status.FromString(answer.content).message
    assert reason in said
    assert running.collector.room.used == 0, "what was taken is given back"
    assert post(running, BODY).status_code == 200, "and the next one is served"
    assert len(spans_of(endpoint.bodies)) == 2


def test_what_is_malformed_over_grpc_is_an_invalid_argument(endpoint: HttpEndpoint, collect: Collect) -> None:
    running = collect(endpoint=endpoint.url, largest=2**20)
    with pytest.raises(grpc.RpcError) as failure:
        export(running, b"hello")
    assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "no export request for traces" in failure.value.details()
    with pytest.raises(grpc.RpcError) as failure:
        export(running, b"\0" * 3_000_000)
    assert failure.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert hint_of(dict(failure.value.trailing_metadata()).get("grpc-status-details-bin")) is None, (
        "no use to come again"
    )
    assert export(running, BODY) == b""


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
    assert running.collector.room.used == 0


def test_health(endpoint: HttpEndpoint, collect: Collect) -> None:
    running = collect(endpoint=endpoint.url)
    post(running, BODY)
    answer = requests.get(running.url + "/healthz", timeout=60)
    said = answer.json()
    assert (answer.status_code, said["status"], said["problems"]) == (200, "ok", {})
    assert said["queue"] == {"bytes": 0, "limit": 64 * 2**20, "requests": 0}
    assert (said["spans"]["received"], said["spans"]["forwarded"], said["spans"]["priced"]) == (2, 2, 2)
    assert requests.get(running.url + "/nothing", timeout=60).status_code == 404
    assert requests.get(running.url + TRACES.path, timeout=60).status_code == 405


def test_a_request_of_nothing_is_nothing(endpoint: HttpEndpoint, collect: Collect) -> None:
    running = collect(endpoint=endpoint.url)
    assert post(running, b"").status_code == 200
    assert export(running, b"") == b""
    assert post(running, b"{}", JSON).json() == {}
    assert endpoint.bodies == []


def test_an_answer_that_both_sides_saw_is_a_call_once(endpoint: HttpEndpoint, collect: Collect, tmp_path: Path) -> None:
    """A framework's span and the SDK's own, of one call, from two exporters with two protocols."""
    ledger = tmp_path / "spend.db"
    running = collect(endpoint=endpoint.url, ledger=str(ledger))
    inner = request((OFFICIAL, span(2, GENAI | USED, around=1))).SerializeToString()
    outer = request(("openlit", span(1, GENAI | USED))).SerializeToString()
    for _ in range(2):
        export(running, inner)
        post(running, outer)
    running.stop()
    assert [row[:3] for row in rows(ledger)] == [(f"{2:016x}", "priced", PRICED)]
    assert ["tokenmeter.cost.amount" in attributes(one) for one in spans_of(endpoint.bodies)] == [True, False] * 2


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
