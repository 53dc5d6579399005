"""`Reply`: an HTTP answer of the provider server, and the faults applied to it.

A `Reply` is frames of a body (events of a stream, or one frame) with status and headers. Wire formats build correct
replies; `spoiled` and `pieces` apply the faults: delayed, cut, compressed, in fragments. So each wire format describes
only its format.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tokenmeter.testing.faults import Faults

__all__ = ["Dropped", "Reply", "compact", "json_reply", "ndjson_reply", "pieces", "sse", "sse_reply"]

JSON_TYPE: Final = "application/json"
SSE_TYPE: Final = "text/event-stream; charset=utf-8"
NDJSON_TYPE: Final = "application/x-ndjson"


class Dropped(ConnectionError):
    """The server must cut the connection here, by a fault."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer; `frames` are sent in order, with chunked encoding when `streamed`."""

    status: int
    frames: Sequence[bytes]
    content_type: str = JSON_TYPE
    streamed: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    error_frame: bytes = b""
    """Error event of this format in the middle of a stream."""
    bad_frame: bytes = b""
    """Malformed event of this format."""


def compact(value: object) -> bytes:
    """Serialize as JSON in UTF-8, unescaped: fragments then cut Chinese characters, as on a real connection."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def sse(data: object, event: str | None = None) -> bytes:
    """One server-sent event as bytes; `data` is sent as it is if it is a string, else as JSON."""
    payload = data.encode() if isinstance(data, str) else compact(data)
    head = f"event: {event}\n".encode() if event else b""
    return head + b"data: " + payload + b"\n\n"


def json_reply(body: object, status: int = 200, **headers: str) -> Reply:
    """A reply with one JSON body; keywords are headers."""
    return Reply(status, [compact(body)], headers=headers)


def sse_reply(frames: Sequence[bytes], error: bytes, bad: bytes = b'data: {"choices": [{"delta"\n\n') -> Reply:
    """A reply as server-sent events; `error` and `bad` are sent by the faults `err` and `bad=1`."""
    return Reply(200, frames, SSE_TYPE, streamed=True, error_frame=error, bad_frame=bad)


def ndjson_reply(lines: Sequence[Mapping[str, Any]], error: Mapping[str, Any]) -> Reply:
    """A reply as JSON Lines; `error` is sent by the fault `err`."""
    frames = [compact(line) + b"\n" for line in lines]
    return Reply(200, frames, NDJSON_TYPE, True, error_frame=compact(error) + b"\n", bad_frame=b'{"message": {\n')


def spoiled(reply: Reply, faults: Faults) -> Reply:
    """Apply the faults that change the content of a reply."""
    frames = list(reply.frames)
    match faults.bad:
        case "html":
            page = b"<html><body><h1>502 Bad Gateway</h1></body></html>"
            return Reply(reply.status, [page], "text/html", headers=reply.headers)
        case "empty":
            frames = []
        case "list":
            frames = [b"[1, 2, 3]"]
        case "1" if reply.streamed:
            frames.insert(1, reply.bad_frame)
        case "1":
            frames = [b"".join(frames)[:-7]]
    if reply.streamed and faults.err is not None:
        frames[faults.err :] = [reply.error_frame]
    return Reply(
        reply.status, frames, reply.content_type, reply.streamed, reply.headers, reply.error_frame, reply.bad_frame
    )


def pieces(reply: Reply, faults: Faults, wait: Callable[[float | None], None]) -> Iterator[bytes]:
    """Yield the body of a reply in the pieces that are sent, each when it is due.

    `wait(milliseconds)` returns when the time is over (never, for None) and raises when the client has disconnected.
    Raises Dropped where the connection must be cut.
    """
    packer = zlib.compressobj(wbits=31) if faults.gzip else None
    frames = list(reply.frames)
    if not reply.streamed and (faults.drop or faults.hang):
        body = b"".join(frames)
        frames = [body[: len(body) // 2], body[len(body) // 2 :]]
        faults_at = {"drop": 1 if faults.drop else None, "hang": 1 if faults.hang else None}
    else:
        faults_at = {"drop": faults.drop, "hang": faults.hang}
    for number, frame in enumerate(frames):
        if number == faults_at["hang"]:
            wait(None)
        if number == faults_at["drop"]:
            raise Dropped
        if number and faults.delay:
            wait(faults.delay)
        packed = frame if packer is None else packer.compress(frame) + packer.flush(zlib.Z_SYNC_FLUSH)
        yield from _fragments(packed, faults.frag)
    if faults_at["drop"] is not None and faults_at["drop"] >= len(frames):
        raise Dropped
    if packer is not None:
        yield packer.flush()


def _fragments(data: bytes, size: int | None) -> Iterator[bytes]:
    if size is None or size <= 0:
        if data:
            yield data
        return
    for start in range(0, len(data), size):
        yield data[start : start + size]
