"""Counts the messages inside a serialized export request, so that a short body cannot become a million objects.

Two bytes of protobuf are one empty span, attribute or data point, and gzip makes a thousand of them one byte: a limit
in bytes bounds neither memory nor time. The count is taken on the bytes, before anything is parsed, and stops at the
limit. It may only err upwards; whether a body is well-formed is the parser's to say.
"""

from __future__ import annotations

import re
from typing import Any, Final

from tokenmeter.collector.signals import SIGNALS, Signal

__all__ = ["SPAN_WEIGHT", "TooManyElements", "check_json", "check_protobuf"]

SPAN_WEIGHT: Final = 20
"""Elements that a resource, a scope or a span counts as: pricing a span takes about as long as 20 attributes."""
_JSON_WEIGHT: Final = 4
"""Elements that a value of JSON counts as: `json_format` is written in Python."""
_HEAVY: Final = ("Span", "ResourceSpans", "ScopeSpans", "ResourceMetrics", "ScopeMetrics", "ResourceLogs", "ScopeLogs")
_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)


class TooManyElements(ValueError):
    """A request holds more resources, spans, events, attributes and values than the limit; the message says so."""

    def __init__(self, most: int) -> None:
        super().__init__(
            f"the request holds more than {most} elements (a span counts as {SPAN_WEIGHT}); send less at once, "
            "or raise --elements"
        )


class _Fields:
    """The message fields of one message type, by the tag that begins them on the wire."""

    __slots__ = ("by_tag", "weight")

    def __init__(self, weight: int) -> None:
        self.weight = weight
        self.by_tag: dict[int, _Fields] = {}


def _fields(descriptor: Any, known: dict[str, _Fields]) -> _Fields:
    if descriptor.full_name not in known:
        made = known[descriptor.full_name] = _Fields(SPAN_WEIGHT if descriptor.name in _HEAVY else 1)
        for field in descriptor.fields:
            if field.message_type is not None:
                made.by_tag[field.number << 3 | 2] = _fields(field.message_type, known)
    return known[descriptor.full_name]


_KNOWN: Final[dict[str, _Fields]] = {}
_REQUESTS: Final = {signal.name: _fields(signal.request.DESCRIPTOR, _KNOWN) for signal in SIGNALS}


def check_protobuf(signal: Signal, body: bytes, most: int) -> None:
    """Raise TooManyElements for a serialized request with more than `most` elements."""
    if len(body) * SPAN_WEIGHT <= most * 2:  # an element takes two bytes at least
        return
    total = 0
    waiting = [(_REQUESTS[signal.name], 0, len(body))]
    try:
        while waiting:
            fields, at, end = waiting.pop()
            by_tag = fields.by_tag
            while at < end:
                tag = body[at]
                at += 1
                if tag > 127:
                    tag, at = _varint(body, at - 1)
                kind = tag & 7
                if kind == 2:  # length-delimited: a message, a text, or packed numbers
                    size = body[at]
                    at += 1
                    if size > 127:
                        size, at = _varint(body, at - 1)
                    inner = by_tag.get(tag)
                    if inner is not None:
                        total += inner.weight
                        if total > most:
                            raise TooManyElements(most)
                        if size:
                            waiting.append((inner, at, at + size))
                    at += size
                elif kind == 0:
                    while body[at] > 127:
                        at += 1
                    at += 1
                elif kind == 1:
                    at += 8
                elif kind == 5:
                    at += 4
    except IndexError:  # cut short
        return


def check_json(body: bytes, most: int) -> None:
    """Raise TooManyElements for a JSON request whose values, each counted as 4 elements, are more than `most`."""
    if _values(body) * _JSON_WEIGHT > most and _values(_STRING.sub(b"", body)) * _JSON_WEIGHT > most:
        raise TooManyElements(most)


def _values(body: bytes) -> int:
    return body.count(b",") + body.count(b"{") + body.count(b"[")


def _varint(body: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while body[at] > 127:
        value |= (body[at] & 127) << shift
        shift += 7
        at += 1
    return value | body[at] << shift, at + 1
