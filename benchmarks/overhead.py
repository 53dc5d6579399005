"""What metering adds to a call: `python benchmarks/overhead.py`.

Calls run in pairs, bare and metered by turns, in one process and on one transport that answers at once, so machine
noise hits both alike. Printed are the median of the bare call, the median of the paired differences, and the ratio.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

BODY = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1760000000,
    "model": "deepseek-chat",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "缓存命中。" * 45}, "finish_reason": "stop"}],
    "usage": {
        "prompt_tokens": 1200,
        "completion_tokens": 90,
        "total_tokens": 1290,
        "prompt_tokens_details": {"cached_tokens": 800},
        "prompt_cache_hit_tokens": 800,
        "prompt_cache_miss_tokens": 400,
    },
}
MESSAGES = [{"role": "user", "content": "为什么？"}]


def paired(bare: Callable[[], Any], metered: Callable[[], Any], rounds: int) -> tuple[float, float]:
    """Median of the bare call and median of (metered - bare), in microseconds."""
    for _ in range(50):
        bare()
        metered()
    gc.collect()
    gc.disable()
    plain, added = [], []
    for turn in range(rounds):
        first, second = (bare, metered) if turn % 2 else (metered, bare)
        start = time.perf_counter_ns()
        first()
        middle = time.perf_counter_ns()
        second()
        end = time.perf_counter_ns()
        one, two = middle - start, end - middle
        bare_ns, metered_ns = (one, two) if turn % 2 else (two, one)
        plain.append(bare_ns)
        added.append(metered_ns - bare_ns)
    gc.enable()
    return statistics.median(plain) / 1000, statistics.median(added) / 1000


def row(name: str, plain: float, added: float, bound: str) -> None:
    print(f"{name:<52} {plain:>10.1f} {added:>+10.2f} {1 + added / plain:>8.3f}x   {bound}")


def clients(handler: Callable[[Any], Any]) -> tuple[Any, Callable[[], Any]]:
    import httpx2
    import openai

    def make(base_url: str = "https://api.deepseek.com") -> Any:
        http = httpx2.Client(transport=httpx2.MockTransport(handler))
        return openai.OpenAI(base_url=base_url, api_key="x", http_client=http)

    return httpx2, make


def non_streaming(rounds: int, otel: bool) -> None:
    from tokenmeter import Tokenmeter

    def handler(request: Any) -> Any:
        return httpx2.Response(200, json=BODY)

    httpx2, make = clients(handler)
    providers: dict[str, Any] = {}
    if otel:
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

        class Nowhere(SpanExporter):
            def export(self, spans: Any) -> SpanExportResult:
                return SpanExportResult.SUCCESS

        tracing = TracerProvider()
        tracing.add_span_processor(BatchSpanProcessor(Nowhere()))
        providers = {"tracer_provider": tracing, "meter_provider": MeterProvider([InMemoryMetricReader()])}
    meter = Tokenmeter(**providers)
    bare, metered = make(), meter.wrap(make())

    def call(client: Any) -> Callable[[], Any]:
        return lambda: client.chat.completions.create(model="deepseek-chat", messages=MESSAGES)

    plain, added = paired(call(bare), call(metered), rounds)
    name = "call, OpenTelemetry SDK, span and default metrics" if otel else "call, nobody listening"
    row(name, plain, added, "bound 110 (goal 70)" if otel else "bound 25")


def bare_telemetry(rounds: int) -> None:
    """What OpenTelemetry's own SDK takes for a span of as many attributes and one histogram, around the same call."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    class Nowhere(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            return SpanExportResult.SUCCESS

    def handler(request: Any) -> Any:
        return httpx2.Response(200, json=BODY)

    httpx2, make = clients(handler)
    tracing = TracerProvider()
    tracing.add_span_processor(BatchSpanProcessor(Nowhere()))
    tracer = tracing.get_tracer("bare")
    histogram = MeterProvider([InMemoryMetricReader()]).get_meter("bare").create_histogram("duration", "s")
    first = {f"gen_ai.start.{number}": "value" for number in range(6)}
    rest: dict[str, Any] = {f"gen_ai.end.{number}": "value" for number in range(20)}
    few = {f"gen_ai.{number}": "value" for number in range(5)}
    client = make()

    def call() -> None:
        client.chat.completions.create(model="deepseek-chat", messages=MESSAGES)

    def traced() -> None:
        span = tracer.start_span("chat", attributes=first)
        call()
        span.set_attributes(rest)
        span.end()
        histogram.record(0.1, few)

    plain, added = paired(call, traced, rounds)
    row("  the same span and histogram, by the bare SDK", plain, added, "for comparison")


def unknown_host(rounds: int) -> None:
    import httpx2

    from tokenmeter import default
    from tokenmeter.calls import marks

    client = httpx2.Client(transport=httpx2.MockTransport(lambda request: httpx2.Response(200)))
    request = client.build_request("GET", "https://example.org/index.html")
    send = type(client).send
    default()._install()
    hooked = type(client).send
    original = getattr(send, "__wrapped__", send)
    default().instrument()
    # One call is tens of microseconds of HTTP machinery; the hook is measured over many calls at a time.
    plain, added = paired(lambda: original(client, request), lambda: hooked(client, request), rounds)
    row("request to a host not in the map", plain, added, "bound 1")
    marks.set_instrumented(None)


def streaming(rounds: int, chunks: int = 200) -> None:
    from tokenmeter import Tokenmeter

    events = []
    for index in range(chunks):
        delta = {"index": 0, "delta": {"content": f"片{index}"}, "finish_reason": None}
        events.append(
            {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "deepseek-chat", "choices": [delta]}
        )
    events[-1]["choices"][0]["finish_reason"] = "stop"
    events[-1]["usage"] = BODY["usage"]
    pieces = [f"data: {json.dumps(event, ensure_ascii=False)}\n\n".encode() for event in events] + [b"data: [DONE]\n\n"]

    def handler(request: Any) -> Any:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=iter(pieces))

    httpx2, make = clients(handler)
    bare, metered = make(), Tokenmeter().wrap(make())

    def call(client: Any) -> Callable[[], Any]:
        def run() -> None:
            for _ in client.chat.completions.create(model="deepseek-chat", messages=MESSAGES, stream=True):
                pass

        return run

    plain, added = paired(call(bare), call(metered), max(20, rounds // 20))
    row(f"streamed chunk (of {chunks}, all costs spread)", plain / chunks, added / chunks, "bound 2")


def importing() -> None:
    def run(code: str) -> float:
        times = []
        for _ in range(9):
            program = f"import opentelemetry.trace, time; t=time.perf_counter(); {code}; print(time.perf_counter()-t)"
            out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
            times.append(float(out.stdout))
        return statistics.median(times) * 1000

    added = run("import tokenmeter")
    print(f"{'import tokenmeter, beyond opentelemetry.trace':<52} {'':>10} {added:>+10.2f} ms          bound 40 ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2000)
    rounds = parser.parse_args().rounds
    print(f"{'':<52} {'bare us':>10} {'added us':>10} {'ratio':>9}")
    non_streaming(rounds, otel=False)
    non_streaming(rounds, otel=True)
    bare_telemetry(rounds)
    unknown_host(rounds * 5)
    streaming(rounds)
    importing()


if __name__ == "__main__":
    main()
