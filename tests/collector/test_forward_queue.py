"""The endpoint away, slow, full or back: nothing that was acknowledged is lost, in the order in which it came."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests
from aiohttp import web
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

from tests.rigs.collector_rig import GrpcEndpoint, HttpEndpoint, Loop, Running, attributes, rows, spans_of
from tests.rigs.messages import PRICED, calls
from tests.rigs.services import until
from tokenmeter.collector.results import hint_of
from tokenmeter.collector.signals import TRACES

Collect = Callable[..., Running]
PROTOBUF = {"Content-Type": "application/x-protobuf"}


def post(running: Running, body: bytes) -> requests.Response:
    return requests.post(running.url + TRACES.path, data=body, headers=PROTOBUF, timeout=60)


def numbers(bodies: list[tuple[str, bytes]]) -> list[int]:
    return [int.from_bytes(one.span_id, "big") for one in spans_of(bodies)]


def health(running: Running) -> Any:
    return requests.get(running.url + "/healthz", timeout=60).json()


def gone(path: str, body: bytes) -> web.Response:
    return web.Response(status=503, headers={"Retry-After": "1"})


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_what_comes_while_the_endpoint_is_away_is_kept_and_sent_in_order(
    endpoint: HttpEndpoint, grpc_endpoint: GrpcEndpoint, collect: Collect, tmp_path: Path, protocol: str
) -> None:
    there = grpc_endpoint if protocol == "grpc" else endpoint
    ledger = tmp_path / "spend.db"
    running = collect(endpoint=there.url, protocol=protocol, ledger=str(ledger))
    assert post(running, calls(1, 3).SerializeToString()).status_code == 200
    there.stop()
    for number in range(10):
        assert post(running, calls(100 + 3 * number, 3).SerializeToString()).status_code == 200, "kept"
    said = health(running)
    assert said["status"] == "waiting"
    assert said["queue"]["requests"] >= 9
    assert there.url in said["problems"]["traces"]
    there.start()
    until(lambda: len(spans_of(there.bodies)) == 33, "delivery")
    assert numbers(there.bodies) == [1, 2, 3, *range(100, 130)]
    assert all(attributes(one)["tokenmeter.cost.amount"] == PRICED for one in spans_of(there.bodies))
    assert len(there.bodies) < 11, "several in one message"
    assert post(running, calls(500, 1).SerializeToString()).status_code == 200
    assert health(running)["status"] == "ok"
    running.stop()
    assert len(rows(ledger)) == 34
    assert running.counts["forwarded"] == 34
    assert running.collector.memory.used == 0


def test_an_endpoint_that_asks_for_time_gets_it(endpoint: HttpEndpoint, collect: Collect) -> None:
    asked: list[float] = []

    def busy(path: str, body: bytes) -> web.Response | None:
        asked.append(time.monotonic())
        return web.Response(status=429, headers={"Retry-After": "2"}) if len(asked) < 3 else None

    endpoint.answer = busy
    running = collect(endpoint=endpoint.url)
    assert post(running, calls(1, 1).SerializeToString()).status_code == 200
    until(lambda: endpoint.bodies, "delivery")
    assert [later - before >= 1.9 for before, later in itertools.pairwise(asked)] == [True, True]
    assert running.counts["retried"] == 1


def test_over_grpc_the_hint_is_in_the_details(grpc_endpoint: GrpcEndpoint, collect: Collect) -> None:
    asked: list[float] = []
    hint = RetryInfo()
    hint.retry_delay.seconds = 2
    details = Status(code=8)
    details.details.add().Pack(hint)

    async def full(context: Any) -> None:
        asked.append(time.monotonic())
        if len(asked) < 2:
            trailers = (("grpc-status-details-bin", details.SerializeToString()),)
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", trailers)

    grpc_endpoint.fail = full
    running = collect(endpoint=grpc_endpoint.url, protocol="grpc")
    assert post(running, calls(1, 1).SerializeToString()).status_code == 200
    until(lambda: grpc_endpoint.bodies, "delivery")
    assert asked[1] - asked[0] >= 1.9


def test_exhausted_without_a_hint_is_final(grpc_endpoint: GrpcEndpoint, collect: Collect) -> None:
    async def full(context: Any) -> None:
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too large")

    grpc_endpoint.fail = full
    running = collect(endpoint=grpc_endpoint.url, protocol="grpc")
    assert post(running, calls(1, 1).SerializeToString()).status_code == 503
    assert running.counts["rejected"] == 1


def test_a_full_queue_is_said_before_anything_is_priced(
    endpoint: HttpEndpoint, collect: Collect, tmp_path: Path
) -> None:
    endpoint.answer = gone
    ledger = tmp_path / "spend.db"
    running = collect(endpoint=endpoint.url, queue=20_000, largest=20_000, ledger=str(ledger))
    sent = 0
    while (answer := post(running, calls(1000 * (sent + 1), 10).SerializeToString())).status_code == 200:
        sent += 1
        assert sent < 20
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 1
    error = Status.FromString(answer.content)
    assert "the queue of 0.0190735 MiB is full: " in error.message
    assert endpoint.url in error.message
    assert (hint_of(answer.content) or 0) >= 1
    with grpc.insecure_channel(running.grpc) as channel, pytest.raises(grpc.RpcError) as failure:
        channel.unary_unary(TRACES.method)(calls(1, 10).SerializeToString(), timeout=60)
    assert failure.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    trailers = dict(failure.value.trailing_metadata())
    assert (hint_of(trailers["grpc-status-details-bin"]) or 0) >= 1
    assert running.counts["refused"] == 2
    assert running.collector.memory.used <= 20_000 + 10 * 600, "what is told to the last request comes on top"
    endpoint.answer = lambda path, body: None
    until(lambda: len(spans_of(endpoint.bodies)) == 10 * sent, "delivery")
    running.stop()
    assert len(rows(ledger)) == running.counts["priced"] == 10 * sent


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_the_senders_own_retry_delivers_what_did_not_fit(
    endpoint: HttpEndpoint, collect: Collect, tmp_path: Path, kind: str
) -> None:
    """OpenTelemetry's exporters keep theirs while we are full, and each call is in the ledger once."""
    endpoint.answer = gone
    ledger = tmp_path / "spend.db"
    running = collect(endpoint=endpoint.url, queue=12_000, largest=12_000, ledger=str(ledger))
    first = 0
    while post(running, calls(1000 * (first + 1), 5).SerializeToString()).status_code == 200:
        first += 1
    exporter: SpanExporter = (
        HttpExporter(f"{running.url}/v1/traces", timeout=50)
        if kind == "http"
        else GrpcExporter(running.grpc, insecure=True, timeout=50)
    )
    tracing = TracerProvider(shutdown_on_exit=False)
    tracing.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=100))
    said = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o", "gen_ai.provider.name": "openai"}
    used = {"gen_ai.usage.input_tokens": 1000, "gen_ai.usage.output_tokens": 100}
    for _ in range(5):
        tracing.get_tracer("openlit").start_span("theirs", attributes=said | used).end()
    until(lambda: running.counts["refused"] >= 2, "the refusal")
    endpoint.answer = lambda path, body: None
    until(lambda: sum(one.name == "theirs" for one in spans_of(endpoint.bodies)) == 5, "delivery")
    threading.Thread(target=tracing.shutdown, daemon=True).start()
    running.stop()
    assert len(rows(ledger)) == 5 * first + 5
    assert len(spans_of(endpoint.bodies)) == 5 * first + 5


def test_a_slow_endpoint_does_not_hold_up_senders_and_nothing_overtakes(
    loop: Loop, endpoint: HttpEndpoint, collect: Collect
) -> None:
    answered = asyncio.Event()

    async def answer(path: str, body: bytes) -> None:
        await answered.wait()

    endpoint.answer = answer
    running = collect(endpoint=endpoint.url, patience=0.2)
    for number in range(1, 6):
        assert post(running, calls(number, 1).SerializeToString()).status_code == 200
    assert endpoint.bodies == [], "all five were acknowledged while the endpoint has answered none"
    loop.call(answered.set)
    until(lambda: len(spans_of(endpoint.bodies)) == 5, "delivery")
    assert numbers(endpoint.bodies) == [1, 2, 3, 4, 5]


def test_one_that_the_endpoint_refuses_does_not_take_the_others_with_it(
    endpoint: HttpEndpoint, collect: Collect
) -> None:
    endpoint.answer = gone
    running = collect(endpoint=endpoint.url)
    for number in range(1, 6):
        assert post(running, calls(number, 1).SerializeToString()).status_code == 200

    messages: list[list[int]] = []

    def picky(path: str, body: bytes) -> web.Response | None:
        messages.append(numbers([(path, body)]))
        return web.Response(status=400, text="not 3") if 3 in messages[-1] else None

    endpoint.answer = picky
    until(lambda: len(spans_of(endpoint.bodies)) == 4, "delivery")
    assert numbers(endpoint.bodies) == [1, 2, 4, 5]
    assert messages == [[1, 2, 3, 4, 5], [1], [2], [3], [4], [5]], "after a joined refusal each goes by itself"
    until(lambda: health(running)["status"] == "ok")
    assert (running.counts["rejected"], running.counts["forwarded"]) == (1, 4)


def test_an_endpoint_that_takes_no_logs_does_not_hold_up_traces(endpoint: HttpEndpoint, collect: Collect) -> None:
    endpoint.answer = lambda path, body: gone(path, body) if path == "/v1/logs" else None
    running = collect(endpoint=endpoint.url)
    for _ in range(3):
        requests.post(running.url + "/v1/logs", data=b"\n\x00", headers=PROTOBUF, timeout=60)
    assert post(running, calls(1, 1).SerializeToString()).status_code == 200
    assert numbers(endpoint.bodies) == [1]
    assert set(health(running)["problems"]) == {"logs"}
    assert "NOT SENT: 3 requests of logs, 6 bytes" in running.stop()


def test_the_end_sends_what_is_kept_and_says_what_could_not_be(endpoint: HttpEndpoint, collect: Collect) -> None:
    endpoint.answer = gone
    one, other = collect(endpoint=endpoint.url, drain=20.0), collect(endpoint=endpoint.url, drain=3.0)
    for running in (one, other):
        assert post(running, calls(1, 4).SerializeToString()).status_code == 200
    started = time.monotonic()
    farewell = other.stop()
    assert time.monotonic() - started < 30
    assert "NOT SENT: 1 requests of traces with 4 spans" in farewell
    assert other.counts["dropped"] == 4
    endpoint.answer = lambda path, body: None
    assert "NOT SENT" not in one.stop()
    assert numbers(endpoint.bodies) == [1, 2, 3, 4]


def test_while_it_ends_nothing_is_taken(endpoint: HttpEndpoint, collect: Collect) -> None:
    running = collect(endpoint=endpoint.url)
    running.collector._receiver.ending = True
    answer = post(running, calls(1, 1).SerializeToString())
    assert (answer.status_code, Status.FromString(answer.content).message) == (503, "the collector is ending")
    assert endpoint.bodies == []
