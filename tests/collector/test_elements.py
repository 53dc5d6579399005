"""Requests of very many elements in few bytes are refused, before they are parsed."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from typing import Any

import grpc
import pytest
import requests

from tests.rigs.collector_rig import HttpEndpoint, Running, health_watched
from tests.rigs.messages import calls, request, span
from tokenmeter.collector.elements import SPAN_WEIGHT, TooManyElements, check_json, check_protobuf
from tokenmeter.collector.signals import LOGS, METRICS, TRACES

Collect = Callable[..., Running]
PROTOBUF = {"Content-Type": "application/x-protobuf"}
JSON = {"Content-Type": "application/json"}
BODY = calls(1, 2).SerializeToString()
MIB = 2**20


def field(number: int, content: bytes) -> bytes:
    """A length-delimited field of protobuf."""
    size, length = len(content), b""
    while size > 127:
        length += bytes([size & 127 | 128])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def one_span(inside: bytes) -> bytes:
    return field(1, field(2, field(2, inside)))


MANY = [
    pytest.param(TRACES, b"\x0a\x00" * 2_000_000, id="resources"),
    pytest.param(TRACES, field(1, b"\x12\x00" * 2_000_000), id="scopes"),
    pytest.param(TRACES, field(1, field(2, b"\x12\x00" * 2_000_000)), id="spans"),
    pytest.param(TRACES, one_span(b"\x4a\x00" * 2_000_000), id="attributes"),
    pytest.param(TRACES, one_span(b"\x5a\x00" * 2_000_000), id="events"),
    pytest.param(TRACES, one_span(b"\x6a\x00" * 2_000_000), id="links"),
    pytest.param(TRACES, one_span(b"\xca\x80\x00\x00" * 2_000_000), id="attributes behind long tags"),
    pytest.param(TRACES, one_span(field(9, field(2, field(5, b"\x0a\x00" * 2_000_000)))), id="values of an array"),
    pytest.param(METRICS, field(1, field(2, field(2, field(7, b"\x0a\x00" * 2_000_000)))), id="data points"),
    pytest.param(LOGS, field(1, field(2, b"\x12\x00" * 2_000_000)), id="log records"),
]


@pytest.mark.parametrize(("signal", "body"), MANY)
def test_a_short_body_of_very_many_elements_is_refused_and_health_goes_on(
    endpoint: HttpEndpoint, collect: Collect, signal: Any, body: bytes
) -> None:
    running = collect(endpoint=endpoint.url)
    packed = gzip.compress(body)
    assert len(packed) < 10_000
    with health_watched(running, 2.0):
        answer = requests.post(
            running.url + signal.path, packed, headers=PROTOBUF | {"Content-Encoding": "gzip"}, timeout=60
        )
    assert answer.status_code == 413
    assert b"more than 1000000 elements" in answer.content
    assert b"--elements" in answer.content
    with grpc.insecure_channel(running.grpc) as channel, pytest.raises(grpc.RpcError) as failure:
        channel.unary_unary(signal.method)(body, timeout=60)
    assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert endpoint.bodies == []
    assert running.collector.memory.used == 0
    assert requests.post(running.url + TRACES.path, BODY, headers=PROTOBUF, timeout=60).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"resourceSpans":[' + b"{}," * 1_000_000 + b"{}]}", id="resources"),
        pytest.param(b'{"resourceSpans":[{"scopeSpans":[{"spans":[' + b"{}," * 60_000 + b"{}]}]}]}", id="spans"),
        pytest.param(b"[" * 300_000 + b"]" * 300_000, id="nothing but depth"),
    ],
)
def test_json_of_very_many_values_is_refused(endpoint: HttpEndpoint, collect: Collect, body: bytes) -> None:
    running = collect(endpoint=endpoint.url)
    with health_watched(running, 2.0):
        answer = requests.post(running.url + TRACES.path, body, headers=JSON, timeout=60)
    assert (answer.status_code, "elements" in answer.json()["message"]) == (413, True)


def test_what_programs_really_send_stays_far_below_the_limit() -> None:
    attributes = {f"key.{one}": "value" for one in range(40)}
    many = request(*(("app", span(number, attributes)) for number in range(8192)))
    body = many.SerializeToString()
    check_protobuf(TRACES, body, 1_000_000)
    with pytest.raises(TooManyElements):
        check_protobuf(TRACES, body, 500_000)
    check_protobuf(TRACES, body[:-1], 1_000_000)  # cut short: the parser says so
    prose = json.dumps({"resourceSpans": [], "text": '{"a": [1, 2, 3]}, ' * 100_000}).encode()
    check_json(prose, 10_000)


def test_a_span_counts_as_twenty() -> None:
    body = field(1, field(2, b"\x12\x00" * 1000))
    check_protobuf(TRACES, body, SPAN_WEIGHT * 1002)
    with pytest.raises(TooManyElements):
        check_protobuf(TRACES, body, SPAN_WEIGHT * 1002 - 1)
