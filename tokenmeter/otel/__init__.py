"""OpenTelemetry out: a span and metrics for each call, and processors that users add to their own providers.

`wiring.py` builds `Spans` and `Metrics` from the settings; a call's life (`calls/`) opens and finishes the spans, and
`Metrics` is a sink of settled records. Read `spans.py` first, then `attributes.py` (a record as attributes), and
`sums.py` with `sum_tables.py` (records as counters). Every name that is sent stands in `semconv.py`, what single
backends read beside it in `dialects.py`. `external/` is the other direction: spans of other instrumentations in.

The public classes below are imported on first use, because they need OpenTelemetry's SDK and a metered program may
have only its API.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tokenmeter.otel.export_counts import CountedExporter
    from tokenmeter.otel.external.exporter import CostSpanExporter
    from tokenmeter.otel.external.processor import CostSpanProcessor
    from tokenmeter.otel.trace_cost import ConversationProcessor, TraceCostProcessor

__all__ = ["ConversationProcessor", "CostSpanExporter", "CostSpanProcessor", "CountedExporter", "TraceCostProcessor"]

_HOME: Final = {
    "ConversationProcessor": "trace_cost",
    "CostSpanExporter": "external.exporter",
    "CostSpanProcessor": "external.processor",
    "CountedExporter": "export_counts",
    "TraceCostProcessor": "trace_cost",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
