"""The attempt level of programs and SDKs that send through `requests`.

`Session.send` is hooked: everything, `requests.post` too, goes through it, and what it follows by itself (redirects)
is sent inside it. A body that the caller has yet to read is listened to in `Response.iter_content`, through which
`content`, `text`, `json()`, `iter_lines` and iteration all go; the response itself stays as it is. Who reads
`response.raw` goes past it: such a call is recorded, and its usage is not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from tokenmeter._support.guard import guard
from tokenmeter.calls.budget_gate import admit
from tokenmeter.clients.support import hooks
from tokenmeter.clients.transport.attempts import (
    RequestInFlight,
    RequestView,
    attempt_of,
    ends_now,
    is_relevant,
    read_whole,
    reading_of,
)
from tokenmeter.clients.transport.attempts import request_id as id_of
from tokenmeter.clients.transport.tee import BodyTee
from tokenmeter.record import End

if TYPE_CHECKING:
    from tokenmeter.calls.opencall import OpenCall

__all__ = ["install", "mark"]

_TEE: Final = "_tokenmeter_tee"


def install() -> None:
    """Put the hooks in place, now or when the library is imported."""
    hooks.on_import("requests", _hook)


def mark(client: Any, made: hooks.Mark) -> None:
    """Meter this session's requests to known endpoints."""
    hooks.mark(client, made)
    if hooks.is_unknown("requests"):
        for adapter in getattr(client, "adapters", {}).values():
            hooks.mark(adapter, made)


def _hook(library: Any) -> None:
    if not hooks.patch(library.Session, "send", _send):
        hooks.unknown_version("requests", "Session.send")
        hooks.patch(library.adapters.HTTPAdapter, "send", _send)  # below it: redirects are requests of their own
    # A copied or pickled session has what this names and nothing else; only a marked one says more than before.
    hooks.patch(library.Session, "__getstate__", _getstate)
    hooks.patch(library.Response, "iter_content", _iter_content)
    hooks.patch(library.Response, "close", _close)


def _getstate(getstate: Callable[..., Any]) -> Callable[..., Any]:
    def metered(self: Any) -> Any:
        state = getstate(self)
        mark = self.__dict__.get(hooks.MARK)
        return state if mark is None else {**state, hooks.MARK: mark}

    return metered


def _send(send: Callable[..., Any]) -> Callable[..., Any]:
    def metered(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        call, owns = _attempt_of(self, request)
        if call is None:
            return send(self, request, *args, **kwargs)
        admit(call)
        with RequestInFlight(call, owns) as sending:
            response = send(self, request, *args, **kwargs)
        with guard("noting an attempt"):
            _answered(call, sending, response)
        return response

    return metered


def _attempt_of(session: Any, request: Any) -> tuple[OpenCall | None, bool]:
    if not is_relevant(session, request.method):
        return None, False
    return attempt_of(session, RequestView(request.method.upper(), request.url, request.body, request.headers))


def _answered(call: OpenCall, sending: RequestInFlight, response: Any) -> None:
    headers = response.headers
    if not sending.answered(call, response.status_code, id_of(headers.items())):
        return
    kind = headers.get("content-type", "")
    if not getattr(response, "_content_consumed", True):
        tee = _Tee()
        tee.listen(None, call, reading_of(call, kind))
        response.__dict__[_TEE] = tee
        return
    call.reading = read_whole(call, kind, response.content)
    if sending.owns or ends_now(call):
        call.lifecycle.settle(call, End.COMPLETE)


class _Tee(BodyTee):
    """Listens to what is read of one response. It knows nothing of the response, which would not be let go then."""

    @property
    def listening(self) -> bool:
        return self._call.streaming

    def through(self, chunks: Iterator[Any], encoding: str | None) -> Iterator[Any]:
        kept, call, size = self._reading.chunks, self._call, 0
        try:
            for chunk in chunks:
                # With decode_unicode the library hands out text, in the encoding that it took the bytes for.
                kept.append(chunk if isinstance(chunk, bytes) else chunk.encode(encoding or "utf-8", "replace"))
                size += len(chunk)
                if size > self._step or call.first_chunk_ns is None:
                    size = self._pause(size)
                yield chunk
        except GeneratorExit:  # one reading is over, the body is not: another may go on where this one stopped
            raise
        except BaseException as error:
            with guard("settling a stream"):
                self._failed(error)
            raise
        with guard("settling a stream"):
            self._ended(End.COMPLETE)


def _iter_content(iter_content: Callable[..., Any]) -> Callable[..., Any]:
    def metered(self: Any, *args: Any, **kwargs: Any) -> Any:
        chunks = iter_content(self, *args, **kwargs)
        tee = self.__dict__.get(_TEE)
        return chunks if tee is None or not tee.listening else tee.through(chunks, self.encoding)

    return metered


def _close(close: Callable[..., Any]) -> Callable[..., Any]:
    def metered(self: Any) -> Any:
        tee = self.__dict__.get(_TEE)
        if tee is None:
            return close(self)
        try:
            return close(self)
        finally:
            with guard("settling a stream"):
                tee._closed()

    return metered
