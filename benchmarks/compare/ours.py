"""Our own cases of the comparison: calls of each kind that the bars name, and how the cost of one grows."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, Final

import calls
import instruments
import openai
from measuring import Callgrind, Run, awaited, repeated

import tokenmeter
from tokenmeter.otel.external.processor import CostSpanProcessor

TAGS: Final = (10, 50)
SCOPES: Final = (5, 20)
MODELS: Final = (10, 100)
CHUNKS: Final = (50, 200, 600)
"""The sizes at which growth is measured; `report.py` reads them from the cases' names."""


def ours(callgrind: Callgrind) -> None:
    """Measure all cases of ours, each beside the same call without us."""

    otel = instruments.providers()
    meter = tokenmeter.Tokenmeter(tracer_provider=otel.tracing, meter_provider=otel.metering)
    nobody = tokenmeter.Tokenmeter()
    kept = tokenmeter.Tokenmeter(
        tracer_provider=otel.tracing, meter_provider=otel.metering, ledger=f"{tempfile.mkdtemp()}/ledger.db"
    )
    bare, aside, slow = calls.client()[0], calls.client()[0], calls.client("openai", openai.AsyncOpenAI)[0]
    spoken = lambda client: calls.call(client, "gpt-4o", **calls.THINKING)  # noqa: E731
    measure = callgrind.measure
    measure("bare call", repeated(lambda: calls.call(bare)), 64)
    measure("bare stream", repeated(lambda: calls.stream(aside)), 5)
    measure("bare async", awaited(lambda: calls.async_call(slow)), 64)
    measure("bare spoken", repeated(lambda: spoken(bare)), 64)
    with_sdk = instruments.sdk(calls.client()[0], otel)
    measure("sdk", repeated(lambda: calls.call(with_sdk)), 64)
    bare_span = foreign(otel)
    measure("bare foreign", repeated(bare_span), 64)

    client = meter.wrap(calls.client()[0])
    measure("call", repeated(lambda: calls.call(client)), 64)
    measure("stream", repeated(lambda: calls.stream(client)), 5)
    measure("spoken", repeated(lambda: spoken(client)), 64)
    slow = meter.wrap(calls.client("openai", openai.AsyncOpenAI)[0])
    measure("async", awaited(lambda: calls.async_call(slow)), 64)
    with ExitStack() as stack:
        for depth in range(3):
            stack.enter_context(meter.scope(f"part{depth}"))
        stack.enter_context(meter.tags(**{f"tag{number}": "value" for number in range(5)}))
        measure("scoped", repeated(lambda: spoken(client)), 64)
    silent = nobody.wrap(calls.client()[0])

    def unheard(times: int) -> None:
        for _ in range(times):
            calls.call(silent)
        nobody.flush()

    measure("nobody", unheard, 64)
    noted = kept.wrap(calls.client()[0])
    measure("ledger", repeated(lambda: calls.call(noted)), 64)

    priced = instruments.providers()
    priced.tracing.add_span_processor(CostSpanProcessor(nobody))
    measure("foreign", repeated(foreign(priced)), 64)


def growth(callgrind: Callgrind) -> None:
    """Measure how the cost of a call grows with tags, open scopes, models and chunks."""
    otel = instruments.providers()
    meter = tokenmeter.Tokenmeter(tracer_provider=otel.tracing, meter_provider=otel.metering)
    bare, client = calls.client()[0], meter.wrap(calls.client()[0])
    measure = callgrind.measure
    measure("bare call", repeated(lambda: calls.call(bare)), 64)
    measure("call", repeated(lambda: calls.call(client)), 64)
    for many in TAGS:
        with meter.tags(**{f"tag{number}": "value" for number in range(many)}):
            measure(f"{many} tags", repeated(lambda: calls.call(client)), 64)
    for many in SCOPES:
        with ExitStack() as stack:
            for depth in range(many):
                stack.enter_context(meter.scope(f"part{depth}"))
            measure(f"{many} scopes", repeated(lambda: calls.call(client)), 64)
    priced = priced_models(meter)
    for many in MODELS:
        named, transport = calls.client()
        meter.wrap(named)
        measure(f"{many} models", by_turns(named, transport, priced[:many]), max(64, many), warm=2 * many + 64)
    for many in CHUNKS:
        plain, metered = calls.client(), calls.client()
        plain[1].chunks = metered[1].chunks = many
        meter.wrap(metered[0])
        times = max(1, 250 // many)
        measure(f"bare {many} chunks", repeated(lambda: calls.stream(plain[0])), times, warm=2)  # noqa: B023
        measure(f"{many} chunks", repeated(lambda: calls.stream(metered[0])), times, warm=4)  # noqa: B023


def priced_models(meter: tokenmeter.Tokenmeter) -> Sequence[str]:
    """Models of OpenAI that the book prices by tokens."""
    prices = meter.book.provider_prices("openai")
    assert not isinstance(prices, str), prices
    usage = tokenmeter.Usage(input_tokens=calls.INPUT, output_tokens=calls.OUTPUT)
    names = [name for name in prices.names.all() if "*" not in name]
    return [name for name in names if meter.price(usage, provider="openai", model=name).total is not None]


def by_turns(client: Any, transport: calls.Transport, models: Sequence[str]) -> Run:
    """Calls of these models by turns."""

    def run(times: int) -> None:
        for number in range(times):
            transport.model = models[number % len(models)]
            calls.call(client, transport.model)

    return run


def recorded() -> dict[str, Any]:
    """What our spans say of an answer of each vendor."""
    found = {}
    for vendor, model in calls.MODEL.items():
        otel = instruments.providers()
        meter = tokenmeter.Tokenmeter(tracer_provider=otel.tracing, meter_provider=otel.metering)
        calls.call(meter.wrap(calls.client(vendor)[0]), model)
        otel.tracing.force_flush()
        found[vendor] = instruments.recorded(otel.kept.spans)
    return found


def foreign(otel: instruments.Providers) -> Callable[[], None]:
    """A span as the official instrumentation makes one."""
    tracer = otel.tracing.get_tracer("opentelemetry.instrumentation.genai.openai")
    told = {name: value for name, value in instruments.ATTRIBUTES.items() if name.startswith(("gen_ai", "server"))}
    return lambda: tracer.start_span("chat gpt-4o", kind=instruments.SpanKind.CLIENT, attributes=told).end()
