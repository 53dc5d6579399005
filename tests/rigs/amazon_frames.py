"""Amazon's binary event stream, frame by frame."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from typing import Any


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return json.dumps({"id": "c", "model": "m", "choices": [choice], **more}, ensure_ascii=False)


def frame(payload: bytes, **headers: str) -> bytes:
    """One frame of Amazon's event stream, as its documentation lays it out."""
    packed = b""
    for name, value in headers.items():
        key = b":" + name.replace("_", "-").encode()
        packed += bytes([len(key)]) + key + b"\x07" + struct.pack(">H", len(value)) + value.encode()
    prelude = struct.pack(">II", 16 + len(packed) + len(payload), len(packed))
    body = prelude + struct.pack(">I", zlib.crc32(prelude)) + packed + payload
    return body + struct.pack(">I", zlib.crc32(body))


def wrapped(text: str) -> bytes:
    return json.dumps({"bytes": base64.b64encode(text.encode()).decode(), "p": "abc"}).encode()
