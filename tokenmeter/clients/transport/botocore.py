"""Reads botocore's streamed bodies, and meters its requests where its client class has no hook.

botocore sends by urllib3, below none of the HTTP libraries that we hook. `boto3.py` knows a call by the method that
every client passes; of a botocore that has none of that name, `URLLib3Session.send` is hooked: each request to a
model's endpoint is then a call of its own, as for any other HTTP library.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tokenmeter._support.guard import guard
from tokenmeter.calls.budget_gate import admit
from tokenmeter.clients.support import hooks
from tokenmeter.clients.transport.attempts import (
    RequestInFlight,
    RequestView,
    attempt_of,
    is_relevant,
    read_whole,
    reading_of,
)
from tokenmeter.clients.transport.attempts import request_id as id_of
from tokenmeter.clients.transport.tee import BodyTee
from tokenmeter.record import End

__all__ = ["Tee", "install", "mark"]


def install() -> None:
    """Meter botocore by its requests."""
    hooks.on_import("botocore.httpsession", _hook)


def mark(client: Any, made: hooks.Mark) -> None:
    """Mark what a client sends by."""
    session = getattr(getattr(client, "_endpoint", None), "http_session", None)
    if session is not None:
        hooks.mark(session, made)


def _hook(module: Any) -> None:
    owner = getattr(module, "URLLib3Session", None)
    if owner is not None:
        hooks.patch(owner, "send", _send)


def _send(send: Callable[..., Any]) -> Callable[..., Any]:
    def metered(self: Any, request: Any) -> Any:
        call, owns = None, False
        if is_relevant(self, request.method):
            with guard("opening a call on the wire"):
                call, owns = attempt_of(self, RequestView("POST", request.url, request.body, request.headers))
        if call is None:
            return send(self, request)
        admit(call)
        with RequestInFlight(call, owns) as sending:
            response = send(self, request)
        with guard("noting an attempt"):
            headers = response.headers
            if sending.answered(call, response.status_code, id_of(headers.items())):
                kind = headers.get("content-type", "")
                if request.stream_output:
                    tee = Tee()
                    tee.listen(response.raw, call, reading_of(call, kind))
                    response.raw = tee
                else:
                    call.reading = read_whole(call, kind, response.content)
                    if owns:
                        call.close(End.COMPLETE)
        return response

    return metered


class Tee(BodyTee):
    """Stands in the place of the urllib3 response below botocore's stream."""

    _bytes = 0

    def stream(self, *args: Any, **kwargs: Any) -> Iterator[bytes]:
        try:
            for chunk in self._inner.stream(*args, **kwargs):
                self._note(chunk)
                yield chunk
        except GeneratorExit:  # one reading is over, the stream is not
            raise
        except BaseException as error:
            with guard("settling a stream"):
                self._failed(error)
            raise
        with guard("settling a stream"):
            self._ended(End.COMPLETE)

    def read(self, amt: Any = None, *args: Any, **kwargs: Any) -> Any:
        try:
            data = self._inner.read(amt, *args, **kwargs)
        except BaseException as error:
            with guard("settling a stream"):
                self._failed(error)
            raise
        self._note(data)
        if amt is None or (not data and amt > 0):
            with guard("settling a stream"):
                self._ended(End.COMPLETE)
        return data

    def readinto(self, buffer: Any) -> Any:
        size = self._inner.readinto(buffer)
        self._note(bytes(memoryview(buffer)[:size]))
        if size == 0 and len(buffer) > 0:
            with guard("settling a stream"):
                self._ended(End.COMPLETE)
        return size

    def readlines(self, *args: Any) -> Any:
        lines = self._inner.readlines(*args)
        self._note(b"".join(lines))
        with guard("settling a stream"):
            self._ended(End.COMPLETE)
        return lines

    def __iter__(self) -> Iterator[bytes]:
        return self.stream(decode_content=True)

    def __enter__(self) -> Tee:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        try:
            self._inner.close()
        finally:
            with guard("settling a stream"):
                self._closed()

    def _note(self, data: bytes) -> None:
        if data:
            self._reading.chunks.append(data)
            self._bytes += len(data)
            if self._call.first_chunk_ns is None or self._bytes > self._step:
                self._bytes = self._pause(self._bytes)
