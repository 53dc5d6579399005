"""Raw bytes of a stream → events, for every framing a vendor uses.

Server-sent events (CRLF or LF, several `data:` lines, comments, event names), newline-delimited JSON, Amazon's binary
event stream, and a plain JSON body. `EventSplitter` takes the bytes as they come, in pieces of any size: a piece may
end inside a character, a line or a frame. What is malformed is skipped, never raised: the bytes are somebody else's.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from typing import Final

__all__ = ["Event", "EventSplitter", "iter_events"]

Event = tuple[str | None, str]
"""(event name or None, its data as text)."""

_FRAME_MOST: Final = 16 * 1024 * 1024
_PRELUDE: Final = 12
_TRAILER: Final = 4
# Sizes of the value types of an Amazon event header; 6 and 7 carry their own length.
_HEADER_SIZES: Final = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}


def iter_events(raw: bytes, content_type: str | None = None) -> Iterator[Event]:
    """Every event of a whole body. The framing follows the content type, or the first bytes where it says none."""
    splitter = EventSplitter(content_type)
    yield from splitter.feed(raw)
    yield from splitter.close()


class EventSplitter:
    """Cuts a stream into events as its bytes arrive; `close` gives what an unfinished end still holds.

    A piece that cannot complete an event is kept apart: joining it at once would cost the square of a long event.
    """

    __slots__ = ("_buffer", "_framing", "_pieces", "_seam")

    def __init__(self, content_type: str | None = None) -> None:
        self._buffer = b""
        self._pieces: list[bytes] = []
        self._seam = b""
        self._framing = _framing(content_type)

    def feed(self, piece: bytes) -> list[Event]:
        """The events completed by a piece."""
        seam, self._seam = self._seam + piece, piece[-3:]
        self._pieces.append(piece)
        if self._framing is not None and not self._may_complete(seam):
            return []
        self._join()
        if self._framing is None:
            self._framing = _sniffed(self._buffer)
        match self._framing:
            case "sse":
                return self._server_sent(last=False)
            case "lines":
                return self._lines(last=False)
            case "frames":
                return self._frames()
        return []

    def _may_complete(self, seam: bytes) -> bool:
        """Whether an event may end in the newest piece, which `seam` ends with."""
        match self._framing:
            case "sse":
                return b"\n\n" in seam or b"\r" in seam
            case "lines":
                return b"\n" in seam
            case "frames":
                head = self._buffer[:4]
                return len(head) < 4 or len(self._buffer) + sum(map(len, self._pieces)) >= int.from_bytes(head, "big")
        return False

    def _join(self) -> None:
        self._buffer = b"".join((self._buffer, *self._pieces))
        self._pieces.clear()

    def close(self) -> list[Event]:
        """The events left in the end of the stream, its last line finished or not."""
        self._join()
        match self._framing:
            case "sse":
                return self._server_sent(last=True)
            case "lines":
                return self._lines(last=True)
            case "frames":
                return []
        text, self._buffer = self._buffer.decode(errors="replace").strip(), b""
        return [(None, text)] if text else []

    def _server_sent(self, *, last: bool) -> list[Event]:
        """Blocks between blank lines. A lone carriage return ends a line too, but may be half of a CRLF."""
        whole = self._buffer
        if b"\r" in whole:
            held = b"" if last or not whole.endswith(b"\r") else b"\r"
            whole = whole[: len(whole) - len(held)].replace(b"\r\n", b"\n").replace(b"\r", b"\n") + held
        *blocks, rest = whole.split(b"\n\n")
        self._buffer = b"" if last else rest
        if last:
            blocks.append(rest)
        return [event for block in blocks if (event := _block(block)) is not None]

    def _lines(self, *, last: bool) -> list[Event]:
        *lines, rest = self._buffer.split(b"\n")
        self._buffer = b"" if last else rest
        if last:
            lines.append(rest)
        return [(None, text) for line in lines if (text := line.decode(errors="replace").strip())]

    def _frames(self) -> list[Event]:
        events: list[Event] = []
        start = 0
        buffer = self._buffer
        while len(buffer) - start >= _PRELUDE:
            size = int.from_bytes(buffer[start : start + 4], "big")
            if not _PRELUDE + _TRAILER <= size <= _FRAME_MOST:
                start = len(buffer)  # not a frame: nothing after it can be found again
                break
            if len(buffer) - start < size:
                break
            event = _frame(buffer[start : start + size])
            if event is not None:
                events.append(event)
            start += size
        self._buffer = buffer[start:]
        return events


def _framing(content_type: str | None) -> str | None:
    if content_type is None:
        return None
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "text/event-stream":
        return "sse"
    if kind in ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/stream+json"):
        return "lines"
    if kind == "application/vnd.amazon.eventstream":
        return "frames"
    return "json" if kind == "application/json" else None


def _sniffed(start: bytes) -> str | None:
    """The framing of a body whose content type says nothing, from its first bytes; None while they are too few."""
    text = start.lstrip()
    if not text:
        return None
    if text[:1] == b"{":
        return "lines" if b"\n{" in text or b"}\n" in text[:-1] else None
    if text[:1] == b"[":
        return "json"
    if start[:1] == b"\0":
        return "frames"
    return "sse"


def _block(block: bytes) -> Event | None:
    """One server-sent event: its name and its data lines joined; None for a comment or an event without data."""
    name: str | None = None
    data: list[bytes] = []
    for line in block.split(b"\n"):
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.strip().decode(errors="replace")
    return (name, b"\n".join(data).decode(errors="replace")) if data else None


def _frame(frame: bytes) -> Event | None:
    """One frame of Amazon's event stream; the checksums are the transport's business."""
    end_of_headers = _PRELUDE + int.from_bytes(frame[4:8], "big")
    if end_of_headers > len(frame) - _TRAILER:
        return None
    headers = _headers(frame[_PRELUDE:end_of_headers])
    payload = frame[end_of_headers:-_TRAILER].decode(errors="replace")
    name = headers.get(":event-type") or headers.get(":exception-type") or headers.get(":error-code")
    if name == "chunk":
        return None, _inner(payload)
    if headers.get(":message-type") in ("exception", "error"):
        return name, json.dumps({"error": {"type": name or "error"}})
    return name, payload


def _inner(payload: str) -> str:
    """What InvokeModelWithResponseStream wraps: the model's own event in base64."""
    try:
        return base64.b64decode(json.loads(payload)["bytes"]).decode(errors="replace")
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error):
        return payload


def _headers(raw: bytes) -> dict[str, str]:
    headers: dict[str, str] = {}
    at = 0
    while at + 2 <= len(raw):
        name = raw[at + 1 : at + 1 + raw[at]].decode(errors="replace")
        at += 1 + raw[at]
        kind = raw[at] if at < len(raw) else -1
        at += 1
        if kind in (6, 7):
            size = int.from_bytes(raw[at : at + 2], "big")
            headers[name] = raw[at + 2 : at + 2 + size].decode(errors="replace")
            at += 2 + size
        elif kind in _HEADER_SIZES:
            at += _HEADER_SIZES[kind]
        else:
            break
    return headers
