"""Requests over HTTP and gRPC: what is taken, what is turned away and how that is said."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from tests.rigs.collector_rig import GrpcEndpoint, HttpEndpoint, attributes, rows, spans_of
from tests.rigs.messages import GENAI, OFFICIAL, PRICED, USED, request, span
from tests.rigs.otlp_requests import BODY, JSON, PROTOBUF, Collect, export, post
from tokenmeter.collector.results import hint_of
from tokenmeter.collector.signals import LOGS, METRICS

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
