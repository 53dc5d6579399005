"""Bedrock's converse, and Anthropic's messages by `invoke-model`: JSON, or AWS's binary event stream.

The event stream's framing is documented by AWS: lengths, a checksum of them, headers, payload, and a checksum of
all. Counts of an invoked model stand in HTTP headers too.
"""

from __future__ import annotations

import base64
import json
import re
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from tokenmeter.testing.ask import Ask
from tokenmeter.testing.reply import Reply, compact, json_reply
from tokenmeter.testing.wire import anthropic_messages

__all__ = ["API", "PATH", "answer", "message", "refuse"]

API: Final = "bedrock.converse"
PATH: Final = re.compile(
    r"/model/(?P<model>[^/]+)/(?P<way>converse|converse-stream|invoke|invoke-with-response-stream)$"
)
STREAM_TYPE: Final = "application/vnd.amazon.eventstream"


def answer(ask: Ask) -> Reply:
    """What the last part of the path asks for."""
    match ask.path.rpartition("/")[2]:
        case "converse":
            return json_reply(_converse(ask))
        case "converse-stream":
            return _stream([message(kind, body) for kind, body in _converse_events(ask)])
        case "invoke":
            counts = {"x-amzn-bedrock-input-token-count": str(ask.numbers.input)}
            counts["x-amzn-bedrock-output-token-count"] = str(ask.numbers.output)
            return replace(json_reply(anthropic_messages.message(ask)), headers=counts)
    return _stream([message("chunk", {"bytes": _packed(event)}) for event in anthropic_messages.events(ask)])


def refuse(status: int, message: str) -> dict[str, Any]:
    """AWS's error body."""
    return {"message": message}


def message(kind: str, body: Mapping[str, Any], what: str = "event") -> bytes:
    """One message of AWS's event stream."""
    names = {":event-type": kind, ":content-type": "application/json", ":message-type": what}
    if what == "exception":
        names[":exception-type"] = names.pop(":event-type")
    headers = b"".join(_header(name, value) for name, value in names.items())
    payload = compact(body)
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    prelude += struct.pack(">I", zlib.crc32(prelude))
    whole = prelude + headers + payload
    return whole + struct.pack(">I", zlib.crc32(whole))


def _header(name: str, value: str) -> bytes:
    return struct.pack(">B", len(name)) + name.encode() + struct.pack(">BH", 7, len(value)) + value.encode()


def _packed(event: Mapping[str, Any]) -> str:
    return base64.b64encode(json.dumps(event).encode()).decode()


def _stream(frames: Sequence[bytes]) -> Reply:
    failure = message("internalServerException", {"message": "Internal error"}, "exception")
    # A message whose last checksum is wrong.
    return Reply(200, frames, STREAM_TYPE, True, error_frame=failure, bad_frame=frames[0][:-1] + b"\x00")


def _usage(ask: Ask) -> dict[str, Any]:
    numbers = ask.numbers
    total = numbers.input + numbers.output
    usage = {"inputTokens": numbers.input - numbers.cached, "outputTokens": numbers.output, "totalTokens": total}
    return {**usage, "cacheReadInputTokens": numbers.cached, "cacheWriteInputTokens": 0}


def _converse(ask: Ask) -> dict[str, Any]:
    content = [{"text": "".join(ask.words())}]
    body: dict[str, Any] = {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": "end_turn",
        "metrics": {"latencyMs": 5},
    }
    return body if ask.faults.usage == "none" else {**body, "usage": _usage(ask)}


def _converse_events(ask: Ask) -> list[tuple[str, dict[str, Any]]]:
    events: list[tuple[str, dict[str, Any]]] = [("messageStart", {"role": "assistant"})]
    events += [("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": word}}) for word in ask.words()]
    events += [("contentBlockStop", {"contentBlockIndex": 0}), ("messageStop", {"stopReason": "end_turn"})]
    metadata = {} if ask.faults.usage == "none" else {"usage": _usage(ask)}
    return [*events, ("metadata", {**metadata, "metrics": {"latencyMs": 5}})]
