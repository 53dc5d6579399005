"""OpenTelemetry's global tracer and meter providers, looked up cheaply on every call.

While no provider is set, the API answers each question by reading the environment, which costs more than everything
else that a call does where nobody listens. The variables are read once here: the API itself uses them only for the
first answer.
"""

from __future__ import annotations

import os
from typing import Any, Final

from opentelemetry import metrics, trace
from opentelemetry.metrics import _internal

__all__ = ["meter_provider", "tracer_provider"]

_TRACING_BY_VARIABLE: Final = "OTEL_PYTHON_TRACER_PROVIDER" in os.environ
_METERING_BY_VARIABLE: Final = "OTEL_PYTHON_METER_PROVIDER" in os.environ


def tracer_provider() -> Any:
    """The global tracer provider, or None while there is only the API's stand-in."""
    if not _TRACING_BY_VARIABLE and getattr(trace, "_TRACER_PROVIDER", trace) is None:
        return None
    return trace.get_tracer_provider()


def meter_provider() -> Any:
    """The global meter provider, or None while there is only the API's stand-in."""
    if not _METERING_BY_VARIABLE and getattr(_internal, "_METER_PROVIDER", metrics) is None:
        return None
    return metrics.get_meter_provider()
