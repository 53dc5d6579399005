"""The backend is away, slow, or says no: the program does not notice, the sums stay whole, and what is lost is counted.

Spans that an exporter cannot deliver are lost. `CountedExporter` says how many, and OpenTelemetry's SDK says what its
queue had no room for (`otel.sdk.processor.span.processed`), if OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED=true. Money is
not lost with them: the ledger has every call, and our metrics are running sums, so the first export after the outage
says everything.
"""

from __future__ import annotations

import inspect
import json
import logging
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from tests.rigs.exporting_app import App, app
from tests.rigs.otlp_receiver import OtlpReceiver
from tests.rigs.services import until
from tokenmeter.ledger.report.periods import Zone
from tokenmeter.ledger.report.query import Question, ask
from tokenmeter.testing import FixedClock, ProviderServer, Reply, provider_server

openai = pytest.importorskip("openai", reason="calls are made with the openai SDK")

CALLS = 6
MESSAGES: list[Any] = [{"role": "user", "content": "Is anybody listening?"}]
counts_its_drops = pytest.mark.skipif(
    "meter_provider" not in inspect.signature(BatchSpanProcessor.__init__).parameters,
    reason="this OpenTelemetry SDK does not count what it drops",
)


@pytest.fixture
def server() -> Iterator[ProviderServer]:
    with provider_server() as running:
        yield running


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED", "true")


def client_of(server: ProviderServer) -> Any:
    return openai.OpenAI(base_url=server.url("deepseek"), api_key="any", max_retries=0)


def work(client: Any) -> list[Any]:
    """What the program sees of some calls, one of which fails."""
    seen: list[Any] = []
    for number in range(CALLS):
        if number % 3 == 1:
            chunks = client.chat.completions.create(model="deepseek-chat", messages=MESSAGES, stream=True)
            seen.append([chunk.model_dump() for chunk in chunks])
        elif number % 3 == 2:
            with pytest.raises(openai.APIStatusError) as refused:
                client.chat.completions.create(model="deepseek-chat;status=503", messages=MESSAGES)
            seen.append((type(refused.value), str(refused.value)))
        else:
            seen.append(client.chat.completions.create(model="deepseek-chat", messages=MESSAGES).model_dump())
    return seen


TROUBLE = [
    pytest.param(400, id="400"),
    pytest.param(404, id="404"),
    pytest.param(500, id="500"),
    pytest.param(503, id="503, tried again until the exporter gives up"),
    pytest.param("slow", id="slow"),
]


@pytest.mark.parametrize("trouble", TROUBLE)
def test_the_program_does_not_notice_and_what_is_lost_is_counted(
    trouble: Any, server: ProviderServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "opentelemetry")
    bare = work(client_of(server))
    sent = len(server.requests)
    with (
        OtlpReceiver() as receiver,
        app(
            receiver.endpoint, timeout=1, ledger=tmp_path / "spend.db", clock=FixedClock("2026-11-20T12:00:00+08:00")
        ) as running,
    ):
        if trouble == "slow":
            receiver.hold.clear()
        else:
            receiver.status = trouble
        assert work(running.meter.wrap(client_of(server), provider="deepseek")) == bare
        assert len(server.requests) == 2 * sent, "each request was sent once"
        running.flush()  # which fails, and says nothing to us
        assert receiver.spans == []

        receiver.status = 200
        receiver.hold.set()
        running.flush()
        assert receiver.total("tokenmeter.calls") == CALLS, "a running sum has it all as soon as somebody listens"
        assert receiver.total("tokenmeter.export.spans", {"tokenmeter.export.outcome": "lost"}) == CALLS
        assert (running.exporter.lost, running.exporter.delivered) == (CALLS, 0)
        said = Decimal(str(round(receiver.total("tokenmeter.cost"), 12)))
        running.meter.flush(30)
        (row,) = [one for one in _ledger(tmp_path / "spend.db").totals if one.currency == "CNY"]
        assert row.cost == said


def _ledger(path: Path) -> Any:
    return ask(str(path), Question(by=(), zone=Zone.named("UTC")))


def test_a_backend_that_is_not_there(server: ProviderServer, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    receiver = OtlpReceiver()
    receiver.close()
    bare = work(client_of(server))
    with app(receiver.endpoint, timeout=1, ledger=tmp_path / "spend.db") as running:
        assert work(running.meter.wrap(client_of(server), provider="deepseek")) == bare
        running.flush()
    assert sum(row.calls for row in _ledger(tmp_path / "spend.db").totals) == CALLS
    complaints = [
        one for one in caplog.records if one.name.startswith("opentelemetry") and one.levelno >= logging.WARNING
    ]
    assert complaints, "the exporter says in the log that it could not deliver"
    assert not [one for one in caplog.records if one.name.startswith("tokenmeter") and one.levelno >= logging.WARNING]


@pytest.mark.usefixtures("counting")
@counts_its_drops
def test_a_full_queue_drops_spans_and_counts_them_and_no_call_waits(server: ProviderServer) -> None:
    with OtlpReceiver() as receiver, app(receiver.endpoint, timeout=60) as running:
        small = BatchSpanProcessor(
            running.exporter, max_queue_size=4, max_export_batch_size=2, meter_provider=running.metering
        )  # type: ignore[call-arg]
        running.tracing._active_span_processor._span_processors = (small,)
        client = running.meter.wrap(client_of(server), provider="deepseek")
        receiver.hold.clear()  # the exporter's thread now stands in its first request until the end of the test
        done = threading.Event()

        def calls() -> None:
            for _ in range(20):
                client.chat.completions.create(model="deepseek-chat", messages=MESSAGES)
            done.set()

        thread = threading.Thread(target=calls)
        thread.start()
        assert done.wait(60), "the calls wait for nobody"
        thread.join()
        receiver.hold.set()
        running.flush()
        until(lambda: receiver.total("tokenmeter.calls") == 20, "the sums")
        processed = receiver.points("otel.sdk.processor.span.processed")
        dropped = sum(point.value for point in processed if point.attributes.get("error.type") == "queue_full")
        assert dropped >= 20 - (4 + 2 + 2)
        assert len(receiver.spans) + dropped == 20


# Values that an SDK or a protocol refuses --------------------------------------------------------------------------

HOSTILE = "x" * 100_000 + "\ud800"


def test_what_nobody_can_encode_loses_no_other_span_and_no_other_attribute(
    server: ProviderServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A vendor's answer full of strange values, hostile tags, and an innocent span in the same batch."""

    def strange(_: Any) -> Reply:
        body = json.dumps(  # with its surrogates as escapes, as a server can send them
            {
                "id": "id\ud800" + "y" * 100_000,
                "object": "chat.completion",
                "created": 1,
                "model": "deepseek-chat",
                "choices": [
                    {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "st\ud800p"},
                    {"index": 1, "message": {"role": "assistant", "content": None}, "finish_reason": None},
                ],
                "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18, "odd": [1, "two", None]},
            }
        )
        return Reply(200, [body.encode()], "application/json")

    with OtlpReceiver() as receiver, app(receiver.endpoint) as running:
        server.serve(strange)
        client = running.meter.wrap(client_of(server), provider="deepseek")
        tags: dict[str, Any] = {
            "surrogate": "a\ud800b", "long": HOSTILE, "nan": float("nan"), "k\ud800": "key", "nul": "a\x00b",
            "number": 3.5, "yes": True, "plain": "team",
        }  # fmt: skip
        with running.tracing.get_tracer("app").start_as_current_span("innocent"), running.meter.tags(**tags):
            client.chat.completions.create(model="deepseek-chat", messages=MESSAGES)
            with running.meter.call(provider="deepseek", model="m\ud800" + "z" * 5_000) as call:
                call.observe({"usage": {"prompt_tokens": 2**70, "completion_tokens": float("nan")}})
        running.flush()
        names = sorted(span.name[:20] for span in receiver.spans)
        assert len(names) == 3, names
        assert "innocent" in names
        (said,) = [span.attributes for span in receiver.spans if span.attributes.get("gen_ai.usage.input_tokens") == 11]
        assert said["gen_ai.usage.output_tokens"] == 7
        assert said["tokenmeter.cost.status"] == "priced"
        assert said["tokenmeter.tag.plain"] == "team"
        assert said["tokenmeter.tag.surrogate"] == "a?b"
        assert len(said["tokenmeter.tag.long"]) <= 1024
        assert said["gen_ai.response.finish_reasons"][0] == "st?p"
        assert receiver.total("tokenmeter.calls") == 2
    for line in caplog.records:
        assert "Failed to encode" not in line.getMessage()
        line.getMessage().encode()  # no line of ours has what a handler cannot write


class Picky:
    """A backend's own span, as some SDKs make them: it refuses a whole set of attributes for one of them."""

    def __init__(self, span: Any, refused: str) -> None:
        self._span = span
        self._refused = refused

    def __getattr__(self, name: str) -> Any:
        return getattr(self._span, name)

    def set_attributes(self, attributes: Any) -> None:
        if self._refused in attributes:
            raise TypeError(f"{self._refused} is not to my taste")
        self._span.set_attributes(attributes)

    def set_attribute(self, name: str, value: Any) -> None:
        if name == self._refused:
            raise TypeError(f"{name} is not to my taste")
        self._span.set_attribute(name, value)


@pytest.mark.parametrize("refused", ["tokenmeter.cost.amount", "gen_ai.usage.input_tokens", "tokenmeter.end"])
def test_an_attribute_that_a_backends_sdk_refuses_loses_no_other(
    refused: str, server: ProviderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tokenmeter._support import guard

    monkeypatch.setattr(guard, "_raising", False)  # as outside of our own suite
    with OtlpReceiver() as receiver, app(receiver.endpoint) as running:
        _make_picky(running, refused)
        client = running.meter.wrap(client_of(server), provider="deepseek")
        answer = client.chat.completions.create(model="deepseek-chat", messages=MESSAGES)
        assert answer.choices[0].message.content
        running.flush()
        (said,) = [span.attributes for span in receiver.spans]
        expected = {
            "tokenmeter.cost.amount", "tokenmeter.cost.currency", "gen_ai.usage.input_tokens",
            "gen_ai.usage.output_tokens", "tokenmeter.end",
        }  # fmt: skip
        assert expected - said.keys() == {refused}


def _make_picky(running: App, refused: str) -> None:
    tracer_of = running.tracing.get_tracer

    def get_tracer(*args: Any, **named: Any) -> Any:
        tracer = tracer_of(*args, **named)
        start = tracer.start_span
        tracer.start_span = lambda *a, **k: Picky(start(*a, **k), refused)
        return tracer

    running.tracing.get_tracer = get_tracer  # type: ignore[method-assign]
