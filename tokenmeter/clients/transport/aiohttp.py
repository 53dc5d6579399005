"""Meters the requests of programs and SDKs that send through `aiohttp`.

`ClientSession._request` is hooked: every verb is a call of it, redirects are followed inside it, and it returns before
the body is read. The body is listened to in the response's `content`, by a stream reader that hands everything on to
the library's own: all ways of reading go through it, and closing or releasing the response shows in it too.

A read that is cancelled does not end a call, since the caller may read on (`wait_for` around each line is usual);
closing the response does, and says whether a cancellation was the reason.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tokenmeter._support.guard import guard
from tokenmeter.calls.budget_gate import admit_async
from tokenmeter.clients.support import hooks
from tokenmeter.clients.transport.attempts import (
    RequestInFlight,
    RequestView,
    answered,
    attempt_of,
    is_relevant,
    reading_of,
)
from tokenmeter.clients.transport.attempts import request_id as id_of
from tokenmeter.clients.transport.tee import BodyTee
from tokenmeter.record import End, end_of

if TYPE_CHECKING:
    from tokenmeter.calls.opencall import OpenCall
    from tokenmeter.calls.response import BodyReading
    from tokenmeter.calls.stream_response import StreamReading

__all__ = ["install", "mark"]


def install() -> None:
    """Put the hooks in place, now or when the library is imported."""
    hooks.on_import("aiohttp", _hook)


def mark(client: Any, made: hooks.Mark) -> None:
    """Meter this session's requests to known endpoints."""
    hooks.mark(client, made)


def _hook(library: Any) -> None:
    reader = _reader_class(library.StreamReader)
    if not hooks.patch(library.ClientSession, "_request", lambda request: _request(request, reader)):
        hooks.unknown_version("aiohttp", "ClientSession._request", by_requests=False)


def _request(request: Callable[..., Any], reader: Callable[..., Any]) -> Callable[..., Any]:
    async def metered(self: Any, method: Any, str_or_url: Any, **kwargs: Any) -> Any:
        call, owns = None, False
        if is_relevant(self, method):
            with guard("opening a call on the wire"):
                call, owns = attempt_of(self, _sent(self, method.upper(), str_or_url, kwargs))
        if call is None:
            return await request(self, method, str_or_url, **kwargs)
        await admit_async(call)
        with _RequestInFlight(call, owns) as sending:
            response = await request(self, method, str_or_url, **kwargs)
        with guard("noting an attempt"):
            if sending.answered(call, response.status, id_of(response.headers.items())):
                # The library undoes gzip and the like before the reader.
                reading = reading_of(call, response.headers.get("content-type", ""))
                response.content = reader(response.content, call, reading)
        return response

    return metered


def _sent(session: Any, method: str, url: Any, kwargs: Any) -> RequestView:
    base = getattr(session, "_base_url", None)
    if base is not None and not str(url).startswith(("http:", "https:")):
        url = base.join(type(base)(str(url)))
    content = kwargs.get("data")
    if kwargs.get("json") is not None:
        import json

        try:
            content = json.dumps(kwargs["json"]).encode()
        except (TypeError, ValueError, RecursionError):  # the session's own json_serialize may know better
            content = None
    if kwargs.get("params"):
        url = _with_query(url, kwargs["params"])
    return RequestView(method, str(url), content, _headers(session, kwargs.get("headers")))


def _headers(session: Any, given: Any) -> Any:
    """The headers of a request with those that its session adds to each."""
    usual = getattr(session, "headers", None)
    if not usual or not isinstance(given, Mapping | None):
        return given
    names = {str(name).lower() for name in given or ()}
    return {**{name: value for name, value in usual.items() if name.lower() not in names}, **(given or {})}


def _with_query(url: Any, params: Any) -> Any:
    """The URL with the parameters that the library will add."""
    from yarl import URL  # aiohttp's own

    return URL(str(url)).update_query(params)


class _RequestInFlight(RequestInFlight):
    """Here an answer may be raised: `raise_for_status=True`."""

    __slots__ = ()

    def failed(self, call: OpenCall, error: BaseException) -> None:
        status = getattr(error, "status", None)
        if not isinstance(status, int) or status < 400:
            super().failed(call, error)
            return
        headers = getattr(error, "headers", None) or {}
        answered(call, False, self.started, status, id_of(headers.items()))
        if self.owns:
            call.close(end_of(error), error)


class _Tee(BodyTee):
    """Listens to what is read of one response."""

    _bytes = 0

    def note(self, data: bytes) -> None:
        if data:
            self._reading.chunks.append(data)
            self._bytes += len(data)
            if self._call.first_chunk_ns is None or self._bytes > self._step:
                self._bytes = self._pause(self._bytes)


def _reader_class(base: Any) -> Callable[..., Any]:
    """A stream reader over another one, for this version of the library."""

    class Reader(base):  # type: ignore[misc]
        def __init__(self, inner: Any, call: OpenCall, reading: BodyReading | StreamReading) -> None:
            # Not the library's own __init__: all state is the inner reader's, found by __getattr__.
            self._tokenmeter_inner = inner
            self._tokenmeter_tee = tee = _Tee()
            tee.listen(None, call, reading)
            if inner.at_eof():  # an empty body
                tee._ended(End.COMPLETE)

        def __getattr__(self, name: str) -> Any:
            if name.startswith("_tokenmeter"):
                raise AttributeError(name)
            return getattr(self._tokenmeter_inner, name)

        def __repr__(self) -> str:
            return repr(self._tokenmeter_inner)

        def set_exception(self, exc: Any, *args: Any) -> None:
            """The response is closed or released."""
            inner, tee = self._tokenmeter_inner, self._tokenmeter_tee
            with guard("settling a stream"):
                tee._ended(End.COMPLETE) if inner.at_eof() else tee._closed()
            inner.set_exception(exc, *args)

    for name in dir(base):
        method = inspect.getattr_static(base, name)
        if name in vars(Reader) or not inspect.isfunction(method) or name.startswith(("iter_", "__")):
            continue
        if name in ("read", "readany", "readline", "readuntil", "readexactly", "readchunk"):
            setattr(Reader, name, _reading(name))
        elif name == "read_nowait":
            setattr(Reader, name, _noting(name))
        else:
            setattr(Reader, name, _delegating(name))
    return Reader


def _reading(name: str) -> Callable[..., Any]:
    async def read(self: Any, *args: Any, **kwargs: Any) -> Any:
        inner, tee = self._tokenmeter_inner, self._tokenmeter_tee
        try:
            data = await getattr(inner, name)(*args, **kwargs)
        except BaseException as error:
            # Others leave the stream as it was: a cancelled wait, a line too long, too few bytes.
            if inner.exception() is not None or isinstance(error, TimeoutError):
                with guard("settling a stream"):
                    tee._failed(error)
            elif isinstance(error, asyncio.IncompleteReadError):
                with guard("settling a stream"):
                    tee.note(error.partial)
                    tee._ended(End.COMPLETE)
            raise
        with guard("listening to a stream"):
            tee.note(data[0] if name == "readchunk" else data)
            if inner.at_eof():
                tee._ended(End.COMPLETE)
        return data

    return read


def _noting(name: str) -> Callable[..., Any]:
    def read(self: Any, *args: Any, **kwargs: Any) -> Any:
        data = getattr(self._tokenmeter_inner, name)(*args, **kwargs)
        with guard("listening to a stream"):
            self._tokenmeter_tee.note(data)
            if self._tokenmeter_inner.at_eof():
                self._tokenmeter_tee._ended(End.COMPLETE)
        return data

    return read


def _delegating(name: str) -> Callable[..., Any]:
    def delegated(self: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(self._tokenmeter_inner, name)(*args, **kwargs)

    return delegated
