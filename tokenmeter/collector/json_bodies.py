"""Converts OTLP/JSON bodies to protobuf messages, and responses to JSON.

OTLP/JSON is protobuf's JSON mapping with one difference: ids are hexadecimal, not base64. Field names are
lowerCamelCase, enums are numbers, unknown fields are ignored, as the protocol says.
"""

from __future__ import annotations

import base64
import json
from typing import Any, Final

from google.protobuf import json_format

from tokenmeter.collector.signals import Signal

__all__ = ["BadBody", "read_json", "write_json"]

_IDS: Final = {
    "traceId": 32, "spanId": 16, "parentSpanId": 16, "trace_id": 32, "span_id": 16, "parent_span_id": 16,
}  # fmt: skip


class BadBody(ValueError):
    """A body does not match its content type; the message is sent to the sender."""


def read_json(signal: Signal, body: bytes) -> Any:
    """Parse a JSON body into the signal's export request. Raises BadBody naming the place."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadBody(f"the body is not JSON: {error}") from None
    if not isinstance(parsed, dict):
        raise BadBody(f"the body is not an object with the fields of an export request for {signal.name}")
    try:
        _ids_to_base64(parsed, "")
        return json_format.ParseDict(parsed, signal.request(), ignore_unknown_fields=True)
    except (json_format.ParseError, RecursionError) as error:
        raise BadBody(f"the body is no export request for {signal.name}: {error}") from None


def write_json(message: Any) -> bytes:
    """Serialize a response or an error as JSON."""
    return json.dumps(json_format.MessageToDict(message)).encode()


def _ids_to_base64(value: Any, place: str) -> None:
    if isinstance(value, dict):
        for name, part in value.items():
            if name in _IDS and isinstance(part, str):
                value[name] = _of_hex(part, f"{place}.{name}"[1:], _IDS[name])
            elif isinstance(part, dict | list):
                _ids_to_base64(part, f"{place}.{name}")
    else:
        for position, part in enumerate(value):
            if isinstance(part, dict | list):
                _ids_to_base64(part, f"{place}[{position}]")


def _of_hex(text: str, place: str, digits: int) -> str:
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        raw = b"?"
    if raw and len(text) != digits:
        raise BadBody(f"{place}: {text[:64]!r} is not {digits} hexadecimal digits")
    return base64.b64encode(raw).decode()
