"""Meters every request that httpx or httpx2 sends.

`Client.send` is hooked, not a transport: custom transports, redirects and authentication all lie below it, and each
try of an SDK's hidden retries passes it once. Whose attempt a request is says `attempts.py`.

The two libraries are the same code under two names, and may both be loaded; neither is imported here.
"""

from __future__ import annotations

from collections.abc import Callable
from sys import intern
from typing import TYPE_CHECKING, Any, Final

from tokenmeter._support.guard import absorbed
from tokenmeter.calls.budget_gate import admit, admit_async
from tokenmeter.clients.support import hooks
from tokenmeter.clients.transport.attempts import (
    REQUEST_IDS,
    RequestInFlight,
    answered,
    attempt_of,
    ends_now,
    gunzip,
    read_whole,
    reading_of,
)
from tokenmeter.clients.transport.tee import BodyTee, make_tees
from tokenmeter.errors import ConfigurationError
from tokenmeter.record import End

if TYPE_CHECKING:
    from tokenmeter.calls.opencall import OpenCall

__all__ = ["LIBRARIES", "install", "mark"]

LIBRARIES: Final = ("httpx", "httpx2")


def install() -> None:
    """Put the hooks in place, now or when the libraries are imported."""
    for library in LIBRARIES:
        hooks.on_import(library, _hook)


def mark(client: Any, made: hooks.Mark) -> None:
    """Meter this HTTP client's requests to known endpoints."""
    if not callable(getattr(client, "send", None)):
        raise ConfigurationError(f"wrap takes a client of {type(client).__module__}, not a {type(client).__qualname__}")
    hooks.mark(client, made)


def _hook(library: Any) -> None:
    tee, async_tee = make_tees(library.SyncByteStream, library.AsyncByteStream)
    hooks.patch(library.Client, "send", lambda send: _sync_send(send, tee))
    hooks.patch(library.AsyncClient, "send", lambda send: _async_send(send, async_tee))


def _sync_send(send: Callable[..., Any], tee: type[BodyTee]) -> Callable[..., Any]:
    def metered(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        call, owns = attempt_of(self, request)
        if call is None:
            return send(self, request, *args, **kwargs)
        if call.budget is not None:
            admit(call)
        with RequestInFlight(call, owns) as sending:
            response = send(self, request, *args, **kwargs)
        _answered(call, sending, response, kwargs.get("stream", False), tee)
        return response

    return metered


def _async_send(send: Callable[..., Any], tee: type[BodyTee]) -> Callable[..., Any]:
    async def metered(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        call, owns = attempt_of(self, request)
        if call is None:
            return await send(self, request, *args, **kwargs)
        if call.budget is not None:
            await admit_async(call)
        with RequestInFlight(call, owns) as sending:
            response = await send(self, request, *args, **kwargs)
        _answered(call, sending, response, kwargs.get("stream", False), tee)
        return response

    return metered


def _answered(call: OpenCall, sending: RequestInFlight, response: Any, stream: bool, tee: type[BodyTee]) -> None:
    try:
        content_type, encoding, named = _said(response.headers)
        if not answered(call, sending.owns, sending.started, response.status_code, named):
            return
        if stream and not response.is_stream_consumed:
            _listen(response, content_type, encoding, call, tee)
            return
        call.reading = read_whole(call, content_type, response.content)
        if sending.owns or (call.span is not None and ends_now(call)):
            call.lifecycle.settle(call, End.COMPLETE)
    except BaseException as error:
        if not absorbed("noting an attempt", error):
            raise


def _said(headers: Any) -> tuple[str, str, str | None]:
    """Content type, content encoding and request id, as the HTTP library's headers would find them, in one pass."""
    try:
        fields = headers._list  # names as they came and in lower case, values
    except AttributeError:
        fields = [(name, name.lower(), value) for name, value in headers.raw]
    kinds, encodings, named = [], [], None
    for _, name, value in fields:
        if name == b"content-type":
            kinds.append(value)
        elif name == b"content-encoding":
            encodings.append(value)
        elif named is None and name in REQUEST_IDS:
            named = value.decode("ascii", "replace")
    return b", ".join(kinds).decode("latin-1"), b", ".join(encodings).decode("latin-1"), named


def _listen(response: Any, content_type: str, encoding: str, call: OpenCall, tee: type[BodyTee]) -> None:
    decoder = _decoder(response, encoding) if encoding else None
    listener = tee()
    listener.listen(response.stream, call, reading_of(call, intern(content_type), decoder))  # each open stream holds it
    response.stream = listener


def _decoder(response: Any, encoding: str) -> Callable[[bytes], bytes] | None:
    """Undo a content encoding piece by piece; the tee sees the bytes as they came over the wire."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return None
    if encoding in ("gzip", "x-gzip"):
        return gunzip()
    # Brotli and zstd are whatever the HTTP library was installed with; a response of our own gives us its decoder.
    twin = type(response)(200, headers={"content-encoding": encoding})
    decode: Callable[[bytes], bytes] = twin._get_content_decoder().decode
    return decode
