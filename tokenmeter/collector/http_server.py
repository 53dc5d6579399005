"""OTLP over HTTP: protobuf and JSON bodies, gzip or as they are; and the process's health.

Bodies are unpacked here and not by the HTTP library, so that a small body that grows without end is stopped at the
limit. Errors carry a `google.rpc.Status` in the sender's own format, as the protocol asks.
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
from tokenmeter.collector.receive import Intake
from tokenmeter.collector.results import Outcome, Verdict, http_of, rejected, status
from tokenmeter.collector.signals import SIGNALS, Signal
from tokenmeter.errors import ConfigurationError

__all__ = ["HttpServer"]

_PROTOBUF: Final = "application/x-protobuf"
_JSON: Final = "application/json"
_PACKED: Final = {"gzip": 31, "deflate": 15}


class TooLarge(Exception):
    """A body is longer than the limit, as it came or unpacked."""


class HttpServer:
    """Receives on one address. `health` says how the process is; `largest` is the longest body taken, unpacked."""

    def __init__(self, intake: Intake, health: Callable[[], Mapping[str, Any]], largest: int) -> None:
        self._intake = intake
        self._health = health
        self._largest = largest
        self._runner: Any = None

    async def start(self, host: str, port: int) -> int:
        """Begin to listen; returns the port. Raises ConfigurationError if that cannot be."""
        app = web.Application(client_max_size=self._largest)
        for signal in SIGNALS:
            app.router.add_post(signal.path, self._receiver(signal))
        app.router.add_get("/healthz", self._say_health)
        self._runner = web.AppRunner(app, access_log=None, auto_decompress=False, shutdown_timeout=5.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        try:
            await site.start()
        except OSError as error:
            raise ConfigurationError(f"--http: cannot listen on {host}:{port}: {error.strerror or error}") from None
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Stop listening, when the requests in hand have been answered."""
        if self._runner is not None:
            await self._runner.cleanup()

    def _receiver(self, signal: Signal) -> Callable[[web.Request], Any]:
        async def receive(request: web.Request) -> web.Response:
            kind = request.content_type
            if kind not in (_PROTOBUF, _JSON):
                said = f"Content-Type {kind!r} is not taken; send {_PROTOBUF} or {_JSON}"
                return _failure(rejected(Code.INVALID_ARGUMENT, said, 415), _PROTOBUF)
            outcome = self._intake.turned_away(signal, request.content_length or 0)
            if outcome is None:
                outcome = await self._take(signal, request, json=kind == _JSON)
            if outcome.verdict in (Verdict.DELIVERED, Verdict.KEPT):
                return _success(signal, outcome, kind)
            return _failure(outcome, kind)

        return receive

    async def _take(self, signal: Signal, request: web.Request, *, json: bool) -> Outcome:
        try:
            body = _unpacked(await request.read(), request.headers.get("Content-Encoding", ""), self._largest)
        except (TooLarge, web.HTTPRequestEntityTooLarge):
            said = f"the body is longer than {self._largest} bytes; send less at once, or raise --largest"
            return rejected(Code.INVALID_ARGUMENT, said, 413)
        except ValueError as error:
            return rejected(Code.INVALID_ARGUMENT, str(error))
        return await self._intake.take(signal, body, json=json)

    async def _say_health(self, request: web.Request) -> web.Response:
        return web.Response(text=json.dumps(self._health(), indent=2) + "\n", content_type=_JSON)


def _unpacked(body: bytes, encoding: str, largest: int) -> bytes:
    """A body as it was before it was packed. Raises TooLarge, and ValueError for what cannot be unpacked."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in _PACKED:
        raise ValueError(f"Content-Encoding {encoding[:64]!r} is not taken; send gzip, deflate or identity")
    unpacker = zlib.decompressobj(wbits=_PACKED[encoding])
    try:
        answer = unpacker.decompress(body, largest + 1)
    except zlib.error as error:
        raise ValueError(f"the body is not {encoding}: {error}") from None
    if len(answer) > largest:
        raise TooLarge
    if not unpacker.eof:
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
