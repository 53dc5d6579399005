"""A program that spends: all kinds of calls, again and again, on a thread, its metrics scraped and pushed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import openai
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from prometheus_client import REGISTRY, CollectorRegistry, start_http_server

from tokenmeter import Tokenmeter, Usage
from tokenmeter.testing import ProviderServer
from tokenmeter.tokens import count_request

PRICES = """
provider = "acme"
currency = "CNY"
timezone = "UTC"
[[rate]]
model = "m"
effective = 2026-01-01
input = 10
cache_read = 1
cache_write = 20
output = 10
review_by = 2026-06-30
source = "https://acme.example"
"""


AWAY = "postgresql://spend@127.0.0.1:9/spend"
"""A database that is never there: calls wait in the spool."""
HELLO: list[Any] = [{"role": "user", "content": "hello"}]


class App:
    """Calls of one `Tokenmeter`; `port` is where its metrics can be scraped."""

    def __init__(self, folder: Path, push_to: str | None) -> None:
        (folder / "acme.toml").write_text(PRICES, encoding="utf-8")
        self._stack = ExitStack()
        reader, self.port = self._stack.enter_context(scraped())
        readers: list[MetricReader] = [reader]
        if push_to is not None:
            pushed = PeriodicExportingMetricReader(OTLPMetricExporter(push_to), export_interval_millis=500)
            readers.append(pushed)
        self.provider = MeterProvider(readers, shutdown_on_exit=False)
        ticks = iter(range(10**9, 10**18, 10**9))
        self.meter = Tokenmeter(
            meter_provider=self.provider, spans="none", prices=folder / "acme.toml", calibrate=True,
            monotonic=lambda: next(ticks), ledger=AWAY, ledger_spool=folder / "spool.db",
        )  # fmt: skip
        self._vendor = ProviderServer().start()
        client = openai.OpenAI(base_url=self._vendor.url("deepseek"), api_key="any", max_retries=1)
        self._client = self.meter.wrap(client, provider="deepseek")

    def call(self, provider: str, model: str, usage: Usage, **tags: str) -> None:
        with self.meter.tags(**tags), self.meter.call(provider=provider, model=model) as one:
            one.observe_usage(usage)

    def spend(self) -> None:
        """One round of everything that the views show."""
        cached = Usage(input_tokens=10_000, output_tokens=1_000, cache_read_input_tokens=6_000)
        self.call("anthropic", "claude-sonnet-4-5", cached, team="search")
        written = Usage(input_tokens=10_000, output_tokens=1_000, cache_read_input_tokens=0, cache_writes={"5m": 9_000})
        self.call("anthropic", "claude-haiku-4-5", written, team="rerank")
        self.call("acme", "m", cached, team="search")  # by a price past its review
        self._client.chat.completions.create(model="deepseek-chat;fail=1", messages=HELLO)  # at the second attempt
        self.call("openai", "our-own-finetune", Usage(input_tokens=10, output_tokens=1))
        for _ in range(60):  # so that calibration looks at one
            self._compared()
        stream = self._client.chat.completions.create(model="deepseek-chat", messages=HELLO, stream=True)
        next(stream)
        stream.close()  # so what came is counted

    def _compared(self) -> None:
        request = _request("doubao-seed-1.6")
        counted = count_request(request, provider="volcengine", api="openai.chat").tokens or 0
        usage = {"prompt_tokens": counted + 2, "completion_tokens": 2}
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "好的"}}
        with self.meter.call(provider="volcengine", model=request["model"], request=request, api="openai.chat") as one:
            one.observe({"id": "c", "model": request["model"], "choices": [choice], "usage": usage})

    def close(self) -> None:
        self._client.close()
        self._vendor.stop()
        self.meter.shutdown()
        self.provider.shutdown()
        self._stack.close()


def _request(model: str) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "今天天气很好，请问这个问题的价格是多少？" * 4}]}


class _Scraped(PrometheusMetricReader):
    """The exporter's reader, in a registry of its own and not in the one of the process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__()
        REGISTRY.unregister(self._collector)
        registry.register(self._collector)
        self._registry = registry

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        self._registry.unregister(self._collector)


@contextmanager
def scraped() -> Iterator[tuple[MetricReader, int]]:
    """A reader for a `MeterProvider`, and the port at which its metrics are scraped."""
    registry = CollectorRegistry()
    server, thread = start_http_server(0, addr="127.0.0.1", registry=registry)
    try:
        yield _Scraped(registry), server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def spending(folder: Path, push_to: str | None = None, *, pause: float = 0.4) -> Iterator[App]:
    """An app that spends until the block ends."""
    app, done = App(folder, push_to), threading.Event()

    def go_on() -> None:
        while not done.is_set():
            app.spend()
            done.wait(pause)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield app
    finally:
        done.set()
        thread.join()
        app.close()
