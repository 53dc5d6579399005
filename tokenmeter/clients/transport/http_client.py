"""The attempt level of programs that send through the standard library's `http.client`: urllib, urllib3 and others.

A connection sends a request in pieces (`putrequest`, `putheader`, `endheaders`, `send`) and then reads the answer's
head (`getresponse`). The hooks collect the pieces of a request to a model's endpoint; the call is opened as soon as the
body is known, which is before anything is sent where the body is given at once. What the caller reads of the answer is
copied in `HTTPResponse`'s own methods; the response itself stays as it is.

Where another hooked library sends through `http.client` (requests, botocore), its request is the attempt, and the
hooks here see that it is under way (`attempts.attempt_of`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from tokenmeter._support.guard import guard
from tokenmeter.calls.budget_gate import admit
from tokenmeter.clients.support import hooks
from tokenmeter.clients.transport.attempts import (
    RequestView,
    answered,
    attempt_of,
    failed,
    gunzip,
    is_relevant,
    reading_of,
)
from tokenmeter.clients.transport.attempts import request_id as id_of
from tokenmeter.clients.transport.tee import BodyTee
from tokenmeter.record import End

if TYPE_CHECKING:
    from tokenmeter.calls.opencall import OpenCall

__all__ = ["install", "mark"]

_REQUEST: Final = "_tokenmeter_request"
_TEE: Final = "_tokenmeter_tee"
_BODY_MOST: Final = 8 * 1024 * 1024
_READS: Final = ("read", "read1", "readinto", "readline")


def install() -> None:
    """Put the hooks in place, now or when `http.client` is imported."""
    hooks.on_import("http.client", _hook)
    hooks.on_import("urllib3.response", _hook_urllib3)


def mark(client: Any, made: hooks.Mark) -> None:
    """Meter this connection's requests to known endpoints."""
    hooks.mark(client, made)


def _hook(library: Any) -> None:
    connection, response = library.HTTPConnection, library.HTTPResponse
    hooks.patch(connection, "putrequest", _putrequest)
    hooks.patch(connection, "putheader", _putheader)
    hooks.patch(connection, "endheaders", _endheaders)
    hooks.patch(connection, "send", _send)
    hooks.patch(connection, "getresponse", _getresponse)
    for name in _READS:
        hooks.patch(response, name, _read)
    hooks.patch(response, "close", _close)


def _hook_urllib3(module: Any) -> None:
    # urllib3 decodes chunked bodies itself: it reads past `HTTPResponse.read`, a chunk at a time.
    hooks.patch(module.HTTPResponse, "_handle_chunk", _handle_chunk)


class _Request:
    """A request that a connection is sending, as far as it is known, and its call once that is open."""

    __slots__ = ("body", "call", "head_sent", "headers", "method", "owns", "size", "started_ns", "url")

    def __init__(self, method: str, url: str) -> None:
        self.method = method
        self.url = url
        self.headers: dict[str, str] = {}
        self.body: list[bytes] | None = []
        """The pieces of the body; None where it cannot be kept: it is too large, or an object that is read once."""
        self.size = 0
        self.head_sent = False
        self.started_ns = time.time_ns()
        self.call: OpenCall | None = None
        self.owns = False

    def open(self, connection: Any, content: object) -> None:
        """Open the call, or join the one that this request is an attempt of; once."""
        if self.call is None:
            self.call, self.owns = attempt_of(connection, RequestView(self.method, self.url, content, self.headers))
            admit(self.call)

    def sent(self, connection: Any, data: object) -> None:
        """Note what the connection is about to send. The first piece is the head."""
        if not self.head_sent:
            self.head_sent = True
            return
        if self.call is not None or self.body is None:
            return
        if not isinstance(data, bytes | bytearray | memoryview) or self.size + len(data) > _BODY_MOST:
            self.body = None
            return
        self.body.append(bytes(data))
        self.size += len(data)
        if self.headers.get("content-length") == str(self.size):
            self.open(connection, self.content())

    def content(self) -> bytes | None:
        """The body as far as it was sent; None where it was not kept."""
        if self.body is None:
            return None
        content = b"".join(self.body)
        return _dechunked(content) if self.headers.get("transfer-encoding") == "chunked" else content


def _dechunked(content: bytes) -> bytes:
    pieces = []
    while content:
        size, _, rest = content.partition(b"\r\n")
        length = int(size.partition(b";")[0], 16)
        pieces.append(rest[:length])
        content = rest[length + 2 :]
    return b"".join(pieces)


def _putrequest(putrequest: Callable[..., Any]) -> Callable[..., Any]:
    def metered(self: Any, method: Any, url: Any, *args: Any, **kwargs: Any) -> Any:
        with guard("noting a request"):
            self.__dict__.pop(_REQUEST, None)
            if is_relevant(self, method):
                meter = hooks.meter_for(self)
                address = _address(self, url)
                if (
                    meter is None
                    or meter.watches(RequestView("POST", address, None).host)
                    or hooks.mark_of(self) is not None
                ):
                    self.__dict__[_REQUEST] = _Request(method.upper(), address)
        return putrequest(self, method, url, *args, **kwargs)

    return metered


def _address(connection: Any, url: Any) -> str:
    """The URL of a request; a plain proxy is sent all of it, a tunnel leads to a host of its own."""
    text = url.decode("latin-1") if isinstance(url, bytes) else str(url)
    if text.startswith(("http://", "https://")):
        return text
    host = getattr(connection, "_tunnel_host", None)
    port = getattr(connection, "_tunnel_port", None) if host else connection.port
    name = host or connection.host
    if ":" in name:
        name = f"[{name}]"
    scheme = "https" if connection.default_port == 443 else "http"
    return f"{scheme}://{name}{'' if port in (None, connection.default_port) else f':{port}'}{text}"


def _putheader(putheader: Callable[..., Any]) -> Callable[..., Any]:
    def metered(self: Any, header: Any, *values: Any) -> Any:
        request = self.__dict__.get(_REQUEST)
        if request is not None:
            with guard("noting a request"):
                request.headers[_text(header).lower()] = ",".join(map(_text, values))
        return putheader(self, header, *values)

    return metered


def _text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _endheaders(endheaders: Callable[..., Any]) -> Callable[..., Any]:
    def metered(self: Any, message_body: Any = None, **kwargs: Any) -> Any:
        request = self.__dict__.get(_REQUEST)
        if request is not None and isinstance(message_body, bytes | bytearray):
            with guard("opening a call on the wire"):
                request.open(self, bytes(message_body))
        with _noting_failure(self):
            return endheaders(self, message_body, **kwargs)

    return metered


def _send(send: Callable[..., Any]) -> Callable[..., Any]:
    def metered(self: Any, data: Any) -> Any:
        request = self.__dict__.get(_REQUEST)
        if request is None:
            return send(self, data)
        with guard("opening a call on the wire"):
            request.sent(self, data)
        with _noting_failure(self):
            return send(self, data)

    return metered


def _getresponse(getresponse: Callable[..., Any]) -> Callable[..., Any]:
    def metered(self: Any, *args: Any, **kwargs: Any) -> Any:
        request = self.__dict__.get(_REQUEST)
        if request is None:
            return getresponse(self, *args, **kwargs)
        with guard("opening a call on the wire"):
            request.open(self, request.content())
        with _noting_failure(self):
            response = getresponse(self, *args, **kwargs)
        with guard("noting an attempt"):
            del self.__dict__[_REQUEST]
            _answered(request, response)
        return response

    return metered


@contextmanager
def _noting_failure(connection: Any) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        request = connection.__dict__.pop(_REQUEST, None)
        if request is not None:
            with guard("noting a failed attempt"):
                request.open(connection, request.content())
                if request.call is not None:
                    failed(request.call, request.owns, request.started_ns, error)
        raise


def _answered(request: _Request, response: Any) -> None:
    call = request.call
    if call is None or not answered(
        call, request.owns, request.started_ns, response.status, id_of(response.getheaders())
    ):
        return
    encoding = response.getheader("content-encoding", "").strip().lower()
    decoder = gunzip() if encoding in ("gzip", "x-gzip") else None
    tee = _Tee()
    tee.listen(None, call, reading_of(call, response.getheader("content-type", ""), decoder))
    response.__dict__[_TEE] = tee
    if response.isclosed():  # it has no body
        tee._ended(End.COMPLETE)


class _Tee(BodyTee):
    """Copies what is read of one response. It has no reference to the response, which must be collected alone."""

    _bytes = 0
    reading = False
    """A method of the response is running: the methods it calls read for it."""

    def note(self, data: bytes) -> None:
        """Keep bytes that the caller got."""
        if data:
            self._reading.chunks.append(data)
            self._bytes += len(data)
            if self._call.first_chunk_ns is None or self._bytes > self._step:
                self._bytes = self._pause(self._bytes)


def _read(read: Callable[..., Any]) -> Callable[..., Any]:
    def metered(self: Any, *args: Any, **kwargs: Any) -> Any:
        tee = self.__dict__.get(_TEE)
        if tee is None or tee.reading or not tee._call.streaming:
            return read(self, *args, **kwargs)
        tee.reading = True
        try:
            found = read(self, *args, **kwargs)
        except BaseException as error:
            with guard("settling a stream"):
                tee.note(getattr(error, "partial", b""))
                tee._failed(error)
            raise
        finally:
            tee.reading = False
        with guard("listening to a stream"):
            tee.note(bytes(args[0][:found]) if isinstance(found, int) else found)
            if self.isclosed():
                tee._ended(End.COMPLETE)
        return found

    return metered


def _close(close: Callable[..., Any]) -> Callable[..., Any]:
    def metered(self: Any) -> Any:
        tee = self.__dict__.get(_TEE)
        if tee is None or tee.reading:
            return close(self)
        try:
            return close(self)
        finally:
            with guard("settling a stream"):
                if tee._call.streaming:
                    tee._closed()

    return metered


def _handle_chunk(handle_chunk: Callable[..., Any]) -> Callable[..., Any]:
    def metered(self: Any, *args: Any, **kwargs: Any) -> Any:
        tee = getattr(getattr(self, "_fp", None), "__dict__", {}).get(_TEE)
        if tee is None:
            return handle_chunk(self, *args, **kwargs)
        try:
            found = handle_chunk(self, *args, **kwargs)
        except BaseException as error:
            with guard("settling a stream"):
                tee._failed(error)
            raise
        with guard("listening to a stream"):
            tee.note(found)
        return found

    return metered
