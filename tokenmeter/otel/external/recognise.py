"""Spans that other instrumentations made: which of them stand for one call to a model.

Known by the name of their instrumentation scope first, then by what they say of themselves: an agent's or a tool's
span of the same library stands for many calls, and a cost on it would hide the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from opentelemetry.trace import Span

from tokenmeter.otel import semconv

__all__ = ["attributes_of", "inference_span", "is_genai_scope", "operation_of"]

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


def operation_of(attributes: Mapping[str, Any]) -> str | None:
    """What a span of a GenAI instrumentation did, if it stands for one call to a model."""
    for attribute, operations in semconv.KINDS:
        kind = attributes.get(attribute)
        if kind is not None:
            return operations.get(kind) if isinstance(kind, str) else None
    return "chat" if semconv.REQUEST_MODEL in attributes else None


def inference_span(span: Span) -> Span | None:
    """This span, if another instrumentation made it for one call to a model and it is being recorded."""
    scope = getattr(span, "instrumentation_scope", None)
    if scope is None or not is_genai_scope(scope.name) or not span.is_recording():
        return None
    return span if operation_of(attributes_of(span)) is not None else None
