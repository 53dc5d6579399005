"""What leaves the process: real exporters, over HTTP and gRPC, straight and through rotel, decoded as a backend would.

The calls are made with the real SDK against the provider server: plain, streamed, with a cache hit, an embedding, one
that the caller leaves, one without a price, all under an agent's span inside a scope.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.rigs.exporting_app import App, app
from tests.rigs.otlp_receiver import OtlpReceiver, SpanSeen
from tests.rigs.rotel_agent import rotel_agent
from tests.rigs.services import free_port, listens, program, until
from tokenmeter import ExchangeRates
from tokenmeter.ledger.report.conversion import Conversion
from tokenmeter.ledger.report.periods import Zone
from tokenmeter.ledger.report.query import Question, ask
from tokenmeter.otel import semconv
from tokenmeter.otel.dialects import DIALECTS
from tokenmeter.otel.trace_cost import ConversationProcessor, TraceCostProcessor
from tokenmeter.testing import FixedClock, provider_server

openai = pytest.importorskip("openai", reason="calls are made with the openai SDK")

CLOCK = "2026-11-20T12:00:00+08:00"
RATE = "CNY=0.1400USD@2026-11-01"
MESSAGES: list[Any] = [{"role": "user", "content": "What does this cost?"}]
INFERENCES = 5


def work(app: App, url: Any) -> None:
    """Some work as programs do it, under an agent's span."""
    chat = app.meter.wrap(openai.OpenAI(base_url=url("deepseek"), api_key="any"), provider="deepseek")
    other = app.meter.wrap(openai.OpenAI(base_url=url("openai"), api_key="any"), provider="openai")
    tracer = app.tracing.get_tracer("app")
    agent = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "clerk"}
    with (
        tracer.start_as_current_span("invoke_agent clerk", attributes=agent),
        app.meter.scope("answer", team="search", user="u1", session="s1"),
    ):
        chat.chat.completions.create(model="deepseek-chat;in=100;out=20;cached=60", messages=MESSAGES)
        list(other.chat.completions.create(model="gpt-4o;in=50;out=10;cached=0", messages=MESSAGES, stream=True))
        with chat.chat.completions.create(model="deepseek-chat;chunks=30", messages=MESSAGES, stream=True) as stream:
            next(iter(stream))
        other.embeddings.create(model="text-embedding-3-small;in=40", input="some text")
        chat.chat.completions.create(model="a-model-of-our-own;in=10;out=1", messages=MESSAGES)


@contextmanager
def through_rotel(receiver: OtlpReceiver, folder: Path) -> Iterator[tuple[str, str]]:
    """rotel in front of the receiver: the addresses at which it takes HTTP and gRPC."""
    agent = rotel_agent()
    grpc, http = free_port(), free_port()
    exporter = [
        f"--otlp-exporter-{signal}-endpoint={receiver.endpoint}/v1/{signal}" for signal in ("traces", "metrics", "logs")
    ]
    command = [
        str(agent), "start", f"--pid-file={folder / 'pid'}", f"--log-file={folder / 'rotel.log'}",
        f"--otlp-grpc-endpoint=127.0.0.1:{grpc}", f"--otlp-http-endpoint=127.0.0.1:{http}",
        "--exporter=otlp", "--otlp-exporter-protocol=http", "--batch-timeout=100ms", *exporter,
    ]  # fmt: skip
    with program(command, lambda: listens(grpc) and listens(http), folder / "out.log"):
        yield f"http://127.0.0.1:{http}", f"http://127.0.0.1:{grpc}"


WAYS = [(protocol, rotel) for rotel in (False, True) for protocol in ("http", "grpc")]


@pytest.fixture(scope="module", params=WAYS, ids=lambda way: f"{way[0]}{' through rotel' if way[1] else ''}")
def seen(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OtlpReceiver]:
    """A backend that has received everything the work above sends."""
    protocol, rotel = request.param
    if protocol == "grpc":
        pytest.importorskip("opentelemetry.exporter.otlp.proto.grpc", reason="the gRPC exporter is not installed")
    with OtlpReceiver() as receiver, provider_server() as server:
        if rotel:
            with through_rotel(receiver, tmp_path_factory.mktemp("rotel")) as (http, grpc):
                _run(http if protocol == "http" else grpc, protocol, server.url)
                until(lambda: len(receiver.spans) >= INFERENCES + 2, "spans through rotel")
                until(lambda: bool(receiver.points("tokenmeter.calls")), "metrics through rotel")
        else:
            _run(receiver.endpoint if protocol == "http" else receiver.grpc_endpoint, protocol, server.url)
        yield receiver


def _run(endpoint: str, protocol: str, url: Any) -> None:
    with app(endpoint, protocol=protocol, dialects=list(DIALECTS), clock=FixedClock(CLOCK)) as running:
        work(running, url)
        running.flush()


def calls(seen: OtlpReceiver) -> list[SpanSeen]:
    """The spans of calls to a model, by us."""
    return [
        span for span in seen.spans if span.scope == semconv.SCOPE_NAME and "tokenmeter.cost.status" in span.attributes
    ]


def one(seen: OtlpReceiver, name: str) -> SpanSeen:
    """The first call answered by a model: what is asked of the provider server stands behind the request's model."""
    found, *_ = [span for span in calls(seen) if span.name.startswith(f"chat {name};")]
    return found


def on_spans(seen: OtlpReceiver, currency: str) -> Decimal:
    """The sum of what the calls say they cost in a currency."""
    said = [span.attributes for span in calls(seen) if "tokenmeter.cost.amount" in span.attributes]
    amounts = [Decimal(one["tokenmeter.cost.amount"]) for one in said if one["tokenmeter.cost.currency"] == currency]
    assert amounts
    return sum(amounts, Decimal(0))


def test_every_call_is_one_client_span_below_the_agents(seen: OtlpReceiver) -> None:
    (agent,) = [span for span in seen.spans if span.name == "invoke_agent clerk"]
    (scope,) = [span for span in seen.spans if span.name == "answer"]
    assert len(calls(seen)) == INFERENCES
    assert len(seen.spans) == INFERENCES + 2
    assert scope.parent_id == agent.span_id
    assert {span.parent_id for span in calls(seen)} == {scope.span_id}
    assert {span.trace_id for span in seen.spans} == {agent.trace_id}
    assert {span.kind for span in calls(seen)} == {3}, "CLIENT"
    assert {span.resource["service.name"] for span in seen.spans} == {"shop"}


def test_usage_is_integers_under_known_names_and_stands_on_calls_only(seen: OtlpReceiver) -> None:
    known = {*semconv.USAGE.values(), *semconv.MODALITY_USAGE.values(), semconv.CACHE_WRITE_CURRENT}
    known |= {row.attribute for dialect in DIALECTS.values() for row in dialect.rows}
    for span in seen.spans:
        used = {name for name in span.attributes if name.startswith(("gen_ai.usage.", "llm.", "mlflow.", "langfuse."))}
        used |= {name for name in span.attributes if name.startswith("operation.")}
        assert used <= known
        assert not used or span in calls(seen), "neither the agent's span nor the scope's"
        for name in used:
            if name.startswith("gen_ai.usage.") and not name.endswith(".cost"):
                assert span.kinds[name] == "int_value", name
    said = one(seen, "deepseek-chat").attributes
    assert (said["gen_ai.usage.input_tokens"], said["gen_ai.usage.output_tokens"]) == (100, 20)
    assert said["gen_ai.usage.cache_read.input_tokens"] == 60


def test_cost_is_an_exact_text_and_a_number_beside_it_in_its_own_currency(seen: OtlpReceiver) -> None:
    yuan = one(seen, "deepseek-chat")
    assert (yuan.kinds["tokenmeter.cost"], yuan.kinds["tokenmeter.cost.amount"]) == ("double_value", "string_value")
    assert float(yuan.attributes["tokenmeter.cost.amount"]) == yuan.attributes["tokenmeter.cost"] > 0
    assert yuan.attributes["tokenmeter.cost.currency"] == "CNY"
    dollars = one(seen, "gpt-4o").attributes
    assert dollars["tokenmeter.cost.amount"] == "0.000225", "50 at 2.50 and 10 at 10 dollars per million"
    named = {row.attribute for dialect in DIALECTS.values() for row in dialect.rows if row.dollars}
    assert named <= dollars.keys()
    assert not named & yuan.attributes.keys(), "nobody shows yuan as dollars"
    unpriced = one(seen, "a-model-of-our-own").attributes
    assert unpriced["tokenmeter.cost.status"] == "unpriced"
    assert not named & unpriced.keys()
    assert not {"tokenmeter.cost", "tokenmeter.cost.amount"} & unpriced.keys(), "unknown is not zero"


def test_what_was_counted_is_not_under_a_standard_name(seen: OtlpReceiver) -> None:
    (left,) = [span for span in calls(seen) if span.attributes["tokenmeter.end"] == "closed_early"]
    assert left.attributes["tokenmeter.usage.source"] in ("counted", "estimated")
    assert left.attributes["tokenmeter.usage.estimated.input_tokens"] > 0
    assert not [
        name
        for name in left.attributes
        if name.startswith(("gen_ai.usage.", "llm.token_count", "langfuse.observation.usage"))
        and not name.endswith("cost")
    ]


def test_whose_it_is_stands_on_the_span_since_some_backends_drop_the_resource(seen: OtlpReceiver) -> None:
    for span in calls(seen):
        assert span.attributes["tokenmeter.tag.team"] == "search"
        assert (span.attributes["user.id"], span.attributes["session.id"]) == ("u1", "s1")


def test_the_scope_sums_under_names_of_its_own(seen: OtlpReceiver) -> None:
    (scope,) = [span for span in seen.spans if span.name == "answer"]
    assert scope.attributes["tokenmeter.scope.calls"] == INFERENCES
    assert scope.attributes["tokenmeter.scope.unpriced"] == 1
    for currency in ("CNY", "USD"):
        assert Decimal(scope.attributes[f"tokenmeter.scope.cost.{currency}"]) == on_spans(seen, currency)


def test_metrics_arrive_as_sums_that_agree_with_the_spans(seen: OtlpReceiver) -> None:
    (point, *_) = seen.points("tokenmeter.cost")
    assert (point.unit, point.form, point.monotonic, point.temporality) == ("{currency}", "sum", True, 2)
    for currency in ("CNY", "USD"):
        total = seen.total("tokenmeter.cost", {"tokenmeter.cost.currency": currency})
        assert total == pytest.approx(float(on_spans(seen, currency)), rel=1e-12)
    assert seen.total("tokenmeter.calls") == INFERENCES
    assert seen.total("tokenmeter.calls.unpriced") == 1
    assert all(type(point.value) is int for point in seen.points("tokenmeter.usage"))
    assert {point.attributes["tokenmeter.tag.team"] for point in seen.points("tokenmeter.cost")} == {"search"}


def test_at_the_users_rate_yuan_arrive_as_dollars_marked_and_the_report_agrees(tmp_path: Path) -> None:
    ledger = tmp_path / "spend.db"
    with OtlpReceiver() as receiver, provider_server() as server:
        settings: dict[str, Any] = {"dialects": list(DIALECTS), "exchange": RATE, "ledger": ledger}
        with app(receiver.endpoint, clock=FixedClock(CLOCK), **settings) as running:
            work(running, server.url)
            running.flush()
        yuan = one(receiver, "deepseek-chat").attributes
        assert yuan["tokenmeter.cost.currency"] == "CNY"
        converted = Decimal(yuan["tokenmeter.cost.amount"]) * Decimal("0.14")
        assert Decimal(yuan["tokenmeter.cost.converted.amount"]) == converted
        assert (yuan["tokenmeter.cost.converted.rate"], yuan["tokenmeter.cost.converted.rate_date"]) == (
            "0.14",
            "2026-11-01",
        )
        for name in ("gen_ai.usage.cost", "llm.cost.total", "operation.cost"):
            assert yuan[name] == float(converted)
        assert json.loads(yuan["mlflow.llm.cost"])["total_cost"] == float(converted)

        said = [span.attributes for span in calls(receiver)]
        in_dollars = sum(
            Decimal(one.get("tokenmeter.cost.converted.amount", one.get("tokenmeter.cost.amount", "0"))) for one in said
        )
    asked = Question(by=("provider",), zone=Zone.named("UTC"), conversion=Conversion("USD", ExchangeRates.of(RATE)))
    report = ask(str(ledger), asked)
    assert sum(row.converted or 0 for row in report.totals) == in_dollars


def test_the_local_root_says_what_the_trace_has_cost_and_whose_conversation_it_is() -> None:
    with OtlpReceiver() as receiver, provider_server() as server:
        with app(receiver.endpoint, clock=FixedClock(CLOCK)) as running:
            running.tracing.add_span_processor(TraceCostProcessor())
            running.tracing.add_span_processor(ConversationProcessor())
            with running.meter.tags(conversation="c1"):
                work(running, server.url)
            running.flush()
        (root,) = [span for span in receiver.spans if not span.parent_id]
        assert root.name == "invoke_agent clerk"
        assert (root.attributes["tokenmeter.trace.calls"], root.attributes["tokenmeter.trace.unpriced"]) == (
            INFERENCES,
            1,
        )
        for currency in ("CNY", "USD"):
            assert Decimal(root.attributes[f"tokenmeter.trace.cost.{currency}"]) == on_spans(receiver, currency)
        assert not [name for name in root.attributes if name.startswith("gen_ai.usage.")]
        assert {span.attributes.get("gen_ai.conversation.id") for span in receiver.spans} == {"c1"}
        assert {span.attributes.get("session.id") for span in calls(receiver)} == {"s1"}


@pytest.mark.filterwarnings("ignore:`LoggingHandler`:DeprecationWarning")
def test_a_line_of_log_leaves_with_the_ids_of_its_span() -> None:
    """`log="json"` through OpenTelemetry's own logging handler."""
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

    with OtlpReceiver() as receiver, provider_server() as server:
        provider = LoggerProvider(shutdown_on_exit=False)
        provider.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter(f"{receiver.endpoint}/v1/logs")))
        logger, handler = logging.getLogger("tokenmeter.calls"), LoggingHandler(logger_provider=provider)
        logger.addHandler(handler)
        try:
            with app(receiver.endpoint, log="json") as running:
                work(running, server.url)
                running.flush()
            provider.force_flush()
        finally:
            logger.removeHandler(handler)
            logger.setLevel(logging.NOTSET)
            provider.shutdown()
        spans = {(span.trace_id, span.span_id): span for span in calls(receiver)}
        assert len(receiver.logs) == len(spans) == INFERENCES
        for line in receiver.logs:
            span = spans[line.trace_id.hex(), line.span_id.hex()]
            said = json.loads(line.body.string_value)
            assert (said["trace_id"], said["span_id"]) == (span.trace_id, span.span_id)
            amount = None if said["cost"] is None else said["cost"]["amount"]
            assert amount == span.attributes.get("tokenmeter.cost.amount")
            assert said["tags"]["team"] == "search"
            assert "What does this cost?" not in line.body.string_value
