"""An app that already sends OpenTelemetry: one line more, and its spans and metrics carry the cost.

    pip install 'tokenmeter-sdk[openai,otel]'
    python examples/existing_opentelemetry.py

Spans go to the console here; any exporter does. The calls go to a provider on this machine.
"""

from __future__ import annotations

import json

import openai
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

import tokenmeter
from tokenmeter.testing import provider_server


def main() -> None:
    tracing = TracerProvider()
    tracing.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter()))
    trace.set_tracer_provider(tracing)
    reader = InMemoryMetricReader()
    metrics.set_meter_provider(MeterProvider([reader]))

    tokenmeter.instrument()  # the one line

    with provider_server() as server:
        client = openai.OpenAI(
            base_url="http://dashscope.aliyuncs.com/compatible-mode/v1",
            api_key="any",
            http_client=openai.DefaultHttpxClient(proxy=server.origin),
        )
        with tokenmeter.tags(team="search"):
            client.chat.completions.create(model="qwen-plus", messages=[{"role": "user", "content": "你好"}])

    data = json.loads(reader.get_metrics_data().to_json())
    for scope in data["resource_metrics"][0]["scope_metrics"]:
        for metric in scope["metrics"]:
            for point in metric["data"]["data_points"]:
                print(metric["name"], metric["unit"], point.get("value", point.get("sum")))


if __name__ == "__main__":
    main()
