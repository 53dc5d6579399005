"""OTLP/HTTP server of the collector: protobuf and JSON bodies, gzip or plain; and `/healthz`.

This module decompresses bodies itself, so that a decompression bomb stops at the size limit. Errors carry a
`google.rpc.Status` in the sender's own format, as the protocol requires.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from aiohttp import web
from google.rpc.code_pb2 import Code

from tokenmeter.collector.json_bodies import write_json
from tokenmeter.collector.receive import RequestReceiver
from tokenmeter.collector.results import Outcome, Verdict, http_of, rejected, status
from tokenmeter.collector.signals import SIGNALS, Signal
from tokenmeter.errors import ConfigurationError

__all__ = ["HttpServer"]

_PROTOBUF: Final = "application/x-protobuf"
_JSON: Final = "application/json"
_WINDOW_BITS: Final = {"gzip": 31, "deflate": 15}


class TooLarge(Exception):
    """A body is longer than the limit, compressed or decompressed."""


class HttpServer:
    """Listens on one address. `health` returns the JSON of `/healthz`; `largest` limits a decompressed body (bytes)."""

    def __init__(self, receiver: RequestReceiver, health: Callable[[], Mapping[str, Any]], largest: int) -> None:
        self._receiver = receiver
        self._health = health
        self._largest = largest
        self._runner: Any = None

    async def start(self, host: str, port: int) -> int:
        """Start listening and return the port. Raises ConfigurationError where the address cannot be bound."""
        app = web.Application(client_max_size=self._largest)
        for signal in SIGNALS:
            app.router.add_post(signal.path, self._handler(signal))
        app.router.add_get("/healthz", self._health_response)
        self._runner = web.AppRunner(app, access_log=None, auto_decompress=False, shutdown_timeout=5.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        try:
            await site.start()
        except OSError as error:
            raise ConfigurationError(f"--http: cannot listen on {host}:{port}: {error.strerror or error}") from None
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Stop listening once open requests are answered, after 5 seconds at most."""
        if self._runner is not None:
            await self._runner.cleanup()

    def _handler(self, signal: Signal) -> Callable[[web.Request], Any]:
        async def receive(request: web.Request) -> web.Response:
            kind = request.content_type
            if kind not in (_PROTOBUF, _JSON):
                said = f"Content-Type {kind!r} is not taken; send {_PROTOBUF} or {_JSON}"
                return _failure(rejected(Code.INVALID_ARGUMENT, said, 415), _PROTOBUF)
            outcome = self._receiver.admit(signal, request.content_length or 0)
            if outcome is None:
                outcome = await self._take(signal, request, json=kind == _JSON)
            if outcome.verdict in (Verdict.DELIVERED, Verdict.KEPT):
                return _success(signal, outcome, kind)
            return _failure(outcome, kind)

        return receive

    async def _take(self, signal: Signal, request: web.Request, *, json: bool) -> Outcome:
        try:
            body = _decompressed(await request.read(), request.headers.get("Content-Encoding", ""), self._largest)
        except (TooLarge, web.HTTPRequestEntityTooLarge):
            said = f"the body is longer than {self._largest} bytes; send less at once, or raise --largest"
            return rejected(Code.INVALID_ARGUMENT, said, 413)
        except ValueError as error:
            return rejected(Code.INVALID_ARGUMENT, str(error))
        return await self._receiver.take(signal, body, json=json)

    async def _health_response(self, request: web.Request) -> web.Response:
        return web.Response(text=json.dumps(self._health(), indent=2) + "\n", content_type=_JSON)


def _decompressed(body: bytes, encoding: str, largest: int) -> bytes:
    """Decompress a body. Raises TooLarge, and ValueError for an unknown encoding or damaged data."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in _WINDOW_BITS:
        raise ValueError(f"Content-Encoding {encoding[:64]!r} is not taken; send gzip, deflate or identity")
    decompressor = zlib.decompressobj(wbits=_WINDOW_BITS[encoding])
    try:
        answer = decompressor.decompress(body, largest + 1)
    except zlib.error as error:
        raise ValueError(f"the body is not {encoding}: {error}") from None
    if len(answer) > largest:
        raise TooLarge
    if not decompressor.eof:
        raise ValueError(f"the body is not {encoding}: it ends too early")
    return answer


def _success(signal: Signal, outcome: Outcome, kind: str) -> web.Response:
    body = outcome.response
    if kind == _JSON:
        body = write_json(signal.response.FromString(body))
    return web.Response(body=body, content_type=kind)


def _failure(outcome: Outcome, kind: str) -> web.Response:
    said = status(outcome)
    headers = {} if outcome.retry_after is None else {"Retry-After": str(math.ceil(outcome.retry_after))}
    body = write_json(said) if kind == _JSON else said.SerializeToString()
    return web.Response(status=http_of(outcome), body=body, content_type=kind, headers=headers)
