"""Whether a span of another instrumentation stands for one model call, and whether it is priced already.

An instrumentation is recognised by the name of its scope, a model call by the attributes of its span. An agent's or a
tool's span of the same library stands for many calls: a cost on it would hide theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from tokenmeter._support.bounded import BoundedDict
from tokenmeter.otel import semconv

if TYPE_CHECKING:
    from opentelemetry.trace import Span

__all__ = ["PRICED", "attributes_of", "inference_span", "is_genai_scope", "is_priced", "operation_of"]

PRICED: Final = frozenset({semconv.COST_STATUS, semconv.CALL_ID, semconv.END})
"""The attributes of which a span has one that carries a metered call or a cost."""

_scopes: Final[BoundedDict[str, bool]] = BoundedDict(1000)


def is_genai_scope(name: str) -> bool:
    """Whether an instrumentation scope is one of the GenAI instrumentations, or below one."""
    known = _scopes.get(name)
    if known is None:
        parts = name.split(".")
        known = any(".".join(parts[:end]) in semconv.GENAI_SCOPES for end in range(1, len(parts) + 1))
        _scopes.keep(name, known)
    return known


def operation_of(attributes: Mapping[str, Any]) -> str | None:
    """The operation of a GenAI span, such as `chat`; None unless the span stands for one model call."""
    for attribute, operations in semconv.KINDS:
        kind = attributes.get(attribute)
        if kind is not None:
            return operations.get(kind) if isinstance(kind, str) else None
    return "chat" if semconv.REQUEST_MODEL in attributes else None


def inference_span(span: Span) -> Span | None:
    """The span itself, if another instrumentation records it for one model call; else None.

    A span of any scope is one if it names an operation that one request answers. GenAI scopes are needed only for those
    that state it in other words.
    """
    scope = getattr(span, "instrumentation_scope", None)
    if scope is None or scope.name == semconv.SCOPE_NAME or not span.is_recording():
        return None
    attributes = attributes_of(span)
    operation = attributes.get(semconv.OPERATION)
    if operation is None and is_genai_scope(scope.name):
        operation = operation_of(attributes)
    return span if isinstance(operation, str) and operation in semconv.MODEL_CALLS else None


def attributes_of(span: Span) -> Mapping[str, Any]:
    """A recording span's attributes. The API cannot read them, but spans of the SDK and of Logfire can be read."""
    attributes = getattr(span, "attributes", None)
    return attributes if isinstance(attributes, Mapping) else {}


def is_priced(attributes: Mapping[str, Any]) -> bool:
    """Whether a span already carries a call metered by tokenmeter, or a cost."""
    return not PRICED.isdisjoint(attributes)
