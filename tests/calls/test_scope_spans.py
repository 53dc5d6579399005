"""Spans of scopes whose calls outlive them: they wait for the calls, up to a deadline, without a thread each."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.rigs.one_call import THOUSAND
from tokenmeter import Tokenmeter
from tokenmeter.calls import scope as scope_module


def test_scopes_whose_calls_outlive_them_need_no_thread_each() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    meter = Tokenmeter(tracer_provider=provider)
    with meter.scope("the first starts the background thread"):
        pass
    threads = threading.active_count()
    blocks = []

    def answer() -> None:
        with meter.scope("answer"):
            block = meter.call(provider="deepseek", model="deepseek-chat")
            block.__enter__().observe_usage(THOUSAND)
            blocks.append(block)

    for _ in range(300):
        contextvars.copy_context().run(answer)
    assert threading.active_count() == threads
    for block in reversed(blocks):
        block.__exit__(None, None, None)
    names = [span.name for span in exporter.get_finished_spans()]
    assert names.count("answer") == 300
    meter.shutdown()


def test_a_scope_waits_for_its_calls_no_longer_than_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scope_module, "LINGER_SECONDS", 0.01)
    ended = threading.Event()

    class Watched(InMemorySpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            ended.set()
            return super().export(spans)

    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(Watched()))
    meter = Tokenmeter(tracer_provider=provider)

    def answer() -> None:
        with meter.scope("answer"):
            block = meter.call(provider="deepseek", model="deepseek-chat")
            block.__enter__()
        assert ended.wait(10)
        block.__exit__(None, None, None)

    contextvars.copy_context().run(answer)
    meter.shutdown()
