"""Prices the spans of an OTLP trace export request in place, by appending cost attributes.

The message stays a protobuf message. Of spans whose scope is no GenAI instrumentation only the ids are read; of the
others only the attributes that affect usage or price. Cost attributes are appended, so every other field of a span,
known or unknown, is forwarded unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tokenmeter.otel import semconv
from tokenmeter.otel.attributes import text
from tokenmeter.otel.external.batches import EndedCalls
from tokenmeter.otel.external.cost_attributes import CostAttributes
from tokenmeter.otel.external.metered_calls import PREFIX, carries_call
from tokenmeter.otel.external.span_data import RELEVANT, SpanData

__all__ = ["SpanPricer"]

_KEY: Final = 24  # bytes of both ids
_NO_TAGS: Final[Mapping[str, str]] = MappingProxyType({})


class SpanPricer:
    """Prices the spans of export requests. `tags` maps a tag to its attribute (of span, else resource)."""

    def __init__(self, calls: EndedCalls, tags: Mapping[str, str]) -> None:
        self._calls = calls
        self._tags = dict(tags)
        self._relevant = RELEVANT.union(self._tags.values())

    def price(self, request: Any) -> int:
        """Append cost attributes to the spans of a trace export request; returns how many spans were changed."""
        parents, spans, seen = self._read(request)
        if not parents:
            return 0
        changed = 0
        for position, description in self._calls.batch(parents, seen):
            if description is not None:
                _append(spans[position], description)
                changed += 1
        return changed

    def _read(self, request: Any) -> tuple[dict[bytes, bytes | None], list[Any], list[SpanData]]:
        """Parents by span key, and the spans that may be model calls with the data read from them."""
        parents: dict[bytes, bytes | None] = {}
        spans: list[Any] = []
        seen: list[SpanData] = []
        for of_resource in request.resource_spans:
            tags: Mapping[str, str] | None = None
            home: object = None
            for of_scope in of_resource.scope_spans:
                scope = of_scope.scope.name
                candidates = self._calls.knows(scope) or scope == semconv.SCOPE_NAME
                for span in of_scope.spans:
                    trace, around = span.trace_id, span.parent_span_id
                    key, parent = trace + span.span_id, trace + around if around else None
                    parents[key] = parent
                    if candidates and len(key) == _KEY:  # a span without ids cannot be identified
                        if tags is None:
                            tags = self._of_resource(of_resource.resource)
                            home = hash(of_resource.resource.SerializeToString())
                        spans.append(span)
                        seen.append(self._data(span, key, parent, scope, tags, home))
        return parents, spans, seen

    def _data(
        self, span: Any, key: bytes, parent: bytes | None, scope: str, tags: Mapping[str, str], home: object
    ) -> SpanData:
        attributes: dict[str, Any] = {}
        relevant = self._relevant
        for attribute in span.attributes:
            name = attribute.key
            if name in relevant:
                value = attribute.value
                # Most are strings, then integers; WhichOneof costs as much as reading three fields.
                attributes[name] = value.string_value or value.int_value or _value(value)
        if carries_call(attributes):
            attributes.update({one.key: _value(one.value) for one in span.attributes if one.key.startswith(PREFIX)})
        ids = key.hex()
        if self._tags:
            own = {tag: text(value) for tag, name in self._tags.items() if (value := attributes.get(name)) is not None}
            tags = {**tags, **own} if own else tags
        return SpanData(
            key,
            parent,
            scope,
            attributes,
            span.start_time_unix_nano,
            span.end_time_unix_nano,
            span.status.code == Status.STATUS_CODE_ERROR,
            ids[:32],
            ids[32:],
            tags,
            home,
        )

    def _of_resource(self, resource: Any) -> Mapping[str, str]:
        if not self._tags:
            return _NO_TAGS
        wanted = set(self._tags.values())
        found = {one.key: value for one in resource.attributes if one.key in wanted and (value := _value(one.value))}
        return {tag: text(found[name]) for tag, name in self._tags.items() if name in found}


def _value(value: Any) -> Any:
    """Python value of an AnyValue; None for a kind that pricing does not read."""
    kind = value.WhichOneof("value")
    if kind in ("string_value", "int_value", "double_value", "bool_value"):
        return getattr(value, kind)
    if kind == "array_value":
        return [_value(one) for one in value.array_value.values]
    return None


def _append(span: Any, cost: CostAttributes) -> None:
    shared = cost.shared
    if shared.encoded is None:
        shared.encoded = _encoded(shared.attributes)
    span.MergeFromString(shared.encoded)
    add = span.attributes.add
    for name, value in cost.own.items():
        _set(add(key=name).value, value)


def _encoded(attributes: Mapping[str, Any]) -> bytes:
    """Serialized span with these attributes only: merging it into another span appends them."""
    holder = Span()
    for name, value in attributes.items():
        _set(holder.attributes.add(key=name).value, value)
    answer: bytes = holder.SerializeToString()
    return answer


def _set(into: AnyValue, value: Any) -> None:
    if isinstance(value, str):
        into.string_value = value
    elif isinstance(value, bool):
        into.bool_value = value
    elif isinstance(value, int):
        into.int_value = value
    elif isinstance(value, float):
        into.double_value = value
    else:
        for one in value:
            _set(into.array_value.values.add(), one)
