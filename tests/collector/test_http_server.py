"""The HTTP server of the collector: JSON and protobuf, bad requests, and its health."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
import requests
from google.rpc.status_pb2 import Status

from tests.rigs.collector_rig import HttpEndpoint, attributes, spans_of
from tests.rigs.messages import PRICED
from tests.rigs.otlp_requests import BODY, JAVASCRIPT, JSON, PROTOBUF, Collect, export, post
from tokenmeter.collector.signals import TRACES


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
    assert running.collector.memory.used == 0, "what was taken is given back"
    assert post(running, BODY).status_code == 200, "and the next one is served"
    assert len(spans_of(endpoint.bodies)) == 2


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
