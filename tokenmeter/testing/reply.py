"""An answer on its way: what a wire format says, and how the server plays it under the faults asked for.

A `Reply` is pieces of body (events of a stream, or one piece) with the head before them. Wire formats make replies
that are right; `play` spoils them: late, cut, packed, in fragments. The two are apart so that each wire format is
only about its format.
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
    """The server itself cuts the connection here, because it was asked to."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer: `frames` are sent one after the other, chunked when `streamed`."""

    status: int
    frames: Sequence[bytes]
    content_type: str = JSON_TYPE
    streamed: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    error_frame: bytes = b""
    """What this format says when a stream fails in its middle."""
    bad_frame: bytes = b""
    """An event of this format that no client can read."""


def compact(value: object) -> bytes:
    """JSON as UTF-8, not escaped: fragments then cut Chinese characters, as on a real wire."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def sse(data: object, event: str | None = None) -> bytes:
    """One server-sent event; a string is sent as it is, anything else as JSON."""
    payload = data.encode() if isinstance(data, str) else compact(data)
    head = f"event: {event}\n".encode() if event else b""
    return head + b"data: " + payload + b"\n\n"


def json_reply(body: object, status: int = 200, **headers: str) -> Reply:
    """An answer in one piece."""
    return Reply(status, [compact(body)], headers=headers)


def sse_reply(frames: Sequence[bytes], error: bytes, bad: bytes = b'data: {"choices": [{"delta"\n\n') -> Reply:
    """An answer as server-sent events."""
    return Reply(200, frames, SSE_TYPE, streamed=True, error_frame=error, bad_frame=bad)


def ndjson_reply(lines: Sequence[Mapping[str, Any]], error: Mapping[str, Any]) -> Reply:
    """An answer as lines of JSON."""
    frames = [compact(line) + b"\n" for line in lines]
    return Reply(200, frames, NDJSON_TYPE, True, error_frame=compact(error) + b"\n", bad_frame=b'{"message": {\n')


def spoiled(reply: Reply, faults: Faults) -> Reply:
    """The reply with the faults that change its content."""
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
    """The body of a spoiled reply, in the pieces that go on the wire, each when it is due.

    `wait(milliseconds)` returns when the time is over (never, for None) and raises when the client has gone.
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
