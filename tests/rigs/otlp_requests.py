"""Requests to a collector, over HTTP and gRPC."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import requests

from tests.rigs.collector_rig import Running
from tests.rigs.messages import calls
from tokenmeter.collector.signals import TRACES

Collect = Callable[..., Running]


PROTOBUF = {"Content-Type": "application/x-protobuf"}


JSON = {"Content-Type": "application/json"}


BODY = calls(1, 2).SerializeToString()


def post(
    running: Running, body: bytes, headers: dict[str, str] = PROTOBUF, path: str = TRACES.path
) -> requests.Response:
    return requests.post(running.url + path, data=body, headers=headers, timeout=60)


def export(running: Running, body: bytes, method: str = TRACES.method, **more: Any) -> bytes:
    with grpc.insecure_channel(running.grpc) as channel:
        answer: bytes = channel.unary_unary(method)(body, timeout=60, **more)
        return answer


# As OpenTelemetry's exporter for JavaScript writes it (@opentelemetry/exporter-trace-otlp-http).
JAVASCRIPT = {
    "resourceSpans": [{
        "resource": {
            "attributes": [
                {"key": "service.name", "value": {"stringValue": "shop"}},
                {"key": "process.command_args", "value": {"arrayValue": {"values": [{"stringValue": "node"}]}}},
            ],
            "droppedAttributesCount": 0,
        },
        "scopeSpans": [{
            "scope": {"name": "ai", "version": ""},
            "spans": [{
                "traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174",
                "parentSpanId": "eee19b7ec3c1b173", "name": "ai.generateText.doGenerate", "kind": 1, "flags": 257,
                "startTimeUnixNano": "1793491200000000000", "endTimeUnixNano": "1793491201000000000",
                "attributes": [
                    {"key": "ai.operationId", "value": {"stringValue": "ai.generateText.doGenerate"}},
                    {"key": "ai.model.provider", "value": {"stringValue": "openai.chat"}},
                    {"key": "ai.model.id", "value": {"stringValue": "gpt-4o"}},
                    {"key": "ai.usage.inputTokens", "value": {"intValue": 1000}},
                    {"key": "ai.usage.outputTokens", "value": {"doubleValue": 100}},
                ],
                "droppedAttributesCount": 0, "events": [], "droppedEventsCount": 0, "status": {"code": 0},
                "links": [{"traceId": "5b8efff798038103d269b633813fc60d", "spanId": "eee19b7ec3c1b175",
                           "attributes": [], "droppedAttributesCount": 0, "flags": 257}],
                "droppedLinksCount": 0, "aFieldOfTomorrow": {"nested": [1]},
            }],
        }],
    }]
}  # fmt: skip
