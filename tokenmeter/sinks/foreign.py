"""Spans that other instrumentations made: which of them stand for one call to a model.

Known by the name of their instrumentation scope first, then by what they say of themselves: an agent's or a tool's
span of the same library stands for many calls, and a cost on it would hide the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from opentelemetry.trace import Span

from tokenmeter.sinks import semconv

__all__ = ["attributes_of", "inference_span", "is_genai_scope"]

_SCOPES_MOST: Final = 1000
_scopes: dict[str, bool] = {}


def is_genai_scope(name: str) -> bool:
    """Whether an instrumentation scope is one of the GenAI instrumentations, or below one."""
    known = _scopes.get(name)
    if known is None:
        parts = name.split(".")
        known = any(".".join(parts[:end]) in semconv.GENAI_SCOPES for end in range(1, len(parts) + 1))
        if len(_scopes) < _SCOPES_MOST:
            _scopes[name] = known
    return known


def attributes_of(span: Span) -> Mapping[str, Any]:
    """What a span says so far. Not in the API, but the SDK's spans and Logfire's can be read."""
    attributes = getattr(span, "attributes", None)
    return attributes if isinstance(attributes, Mapping) else {}


def inference_span(span: Span) -> Span | None:
    """This span, if another instrumentation made it for one call to a model and it is being recorded."""
    scope = getattr(span, "instrumentation_scope", None)
    if scope is None or not is_genai_scope(scope.name) or not span.is_recording():
        return None
    attributes = attributes_of(span)
    operation = attributes.get(semconv.OPERATION)
    if operation is not None:
        return span if operation in semconv.MODEL_CALLS else None
    kind = attributes.get(semconv.OPENINFERENCE_KIND)
    if kind is not None:
        return span if kind in semconv.OPENINFERENCE_MODEL_CALLS else None
    return span if semconv.OPENLLMETRY_KIND in attributes or semconv.REQUEST_MODEL in attributes else None
