"""For `opentelemetry-instrument program.py`: meter a program that nobody changed.

OpenTelemetry's launcher loads this through the `opentelemetry_instrumentor` entry point before the program starts.
`OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=tokenmeter` turns it off; TOKENMETER_* variables configure it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]

import tokenmeter

__all__ = ["TokenmeterInstrumentor"]


class TokenmeterInstrumentor(BaseInstrumentor):  # type: ignore[misc]
    """Installs every hook of ours; see `tokenmeter.instrument`."""

    def instrumentation_dependencies(self) -> Collection[str]:
        # None: hooks wait for the SDKs and check versions themselves. A list here would make the launcher refuse all
        # of them when one does not match.
        return []

    def _instrument(self, **kwargs: Any) -> None:
        if kwargs.get("tracer_provider") is not None or kwargs.get("meter_provider") is not None:
            tokenmeter.configure(
                tracer_provider=kwargs.get("tracer_provider"), meter_provider=kwargs.get("meter_provider")
            )
        tokenmeter.instrument()

    def _uninstrument(self, **kwargs: Any) -> None:
        tokenmeter.uninstrument()
