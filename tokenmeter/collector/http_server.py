"""OTLP/HTTP server of the collector: protobuf and JSON bodies, gzip or plain; and `/healthz`.

A body is read only when its sender has shown the token, and memory for it is reserved; head and body must arrive in
time. Errors carry a `google.rpc.Status` in the sender's own format, as the protocol requires.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from aiohttp import ClientError, web
from google.rpc.code_pb2 import Code

from tokenmeter.collector.access import bearer_of, ssl_context
from tokenmeter.collector.connections import Connections
from tokenmeter.collector.forward_queue import Reservation
from tokenmeter.collector.json_bodies import write_json
from tokenmeter.collector.options import Options
from tokenmeter.collector.receive import ENCODINGS, RequestReceiver, too_large
from tokenmeter.collector.results import Outcome, Verdict, http_of, rejected, status, unavailable
from tokenmeter.collector.signals import SIGNALS, Signal
from tokenmeter.errors import ConfigurationError

__all__ = ["HttpServer"]

_PROTOBUF: Final = "application/x-protobuf"
_JSON: Final = "application/json"
_KEEP_ALIVE: Final = 75.0  # seconds without a request until a connection is closed
_LINGER: Final = 2.0  # seconds for which the rest of a refused body is read, so that its sender sees the answer


class HttpServer:
    """Listens on one address. `health` returns the JSON of `/healthz`."""

    def __init__(self, receiver: RequestReceiver, health: Callable[[], Mapping[str, Any]], options: Options) -> None:
        self._receiver = receiver
        self._health = health
        self._options = options
        self._runner: Any = None
        self._server: asyncio.Server | None = None
        self._connections: Connections | None = None

    async def start(self, host: str, port: int) -> int:
        """Start listening and return the port. Raises ConfigurationError where the address cannot be bound."""
        app = web.Application(middlewares=[self._head_arrived])
        for signal in SIGNALS:
            app.router.add_post(signal.path, self._handler(signal))
        app.router.add_get("/healthz", self._health_response)
        self._runner = web.AppRunner(
            app, access_log=None, auto_decompress=False, shutdown_timeout=5.0,
            keepalive_timeout=_KEEP_ALIVE, lingering_time=_LINGER,
        )  # fmt: skip
        await self._runner.setup()
        tls = self._options.tls
        seconds = self._options.head_timeout
        connections = self._connections = Connections(self._runner.server, seconds)
        try:
            self._server = await asyncio.get_running_loop().create_server(
                connections, host, port, backlog=512,
                ssl=ssl_context(*tls) if tls else None, ssl_handshake_timeout=seconds if tls else None,
            )  # fmt: skip
        except OSError as error:
            raise ConfigurationError(f"--http: cannot listen on {host}:{port}: {error.strerror or error}") from None
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stop listening once open requests are answered, after 5 seconds at most."""
        if self._server is not None:
            self._server.close()
        if self._runner is not None:
            await self._runner.cleanup()

    def _handler(self, signal: Signal) -> Callable[[web.Request], Any]:
        async def receive(request: web.Request) -> web.Response:
            kind = request.content_type
            if not self._may_send(request):
                return _failure(rejected(Code.UNAUTHENTICATED, "the request carries no valid bearer token"), kind)
            if kind not in (_PROTOBUF, _JSON):
                said = f"Content-Type {kind!r} is not taken; send {_PROTOBUF} or {_JSON}"
                return _failure(rejected(Code.INVALID_ARGUMENT, said, 415), _PROTOBUF)
            outcome = await self._take(signal, request, json=kind == _JSON)
            if outcome.verdict in (Verdict.DELIVERED, Verdict.KEPT):
                return _success(signal, outcome, kind)
            return _failure(outcome, kind)

        return receive

    @web.middleware
    async def _head_arrived(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Runs for every request, also for those that no route takes."""
        if self._connections is not None:
            self._connections.head_arrived(request.transport)
        answer: web.StreamResponse = await handler(request)
        return answer

    def _may_send(self, request: web.Request) -> bool:
        token = self._options.token
        return token is None or bearer_of(request.headers.get("Authorization"), token)

    async def _take(self, signal: Signal, request: web.Request, *, json: bool) -> Outcome:
        encoding = request.headers.get("Content-Encoding", "").strip().lower()
        if encoding == "identity":
            encoding = ""
        if encoding and encoding not in ENCODINGS:
            said = f"Content-Encoding {encoding[:64]!r} is not taken; send gzip, deflate or identity"
            return rejected(Code.INVALID_ARGUMENT, said)
        declared = request.content_length or 0
        if declared > self._options.largest:
            return too_large(self._options.largest)
        reservation = self._receiver.reserve(signal, declared)
        if isinstance(reservation, Outcome):
            return reservation
        try:
            body = await self._body(signal, request, reservation)
        except BaseException:  # a cancelled handler holds nothing either
            reservation.release()
            raise
        if isinstance(body, Outcome):
            reservation.release()
            return body
        return await self._receiver.take(signal, body, reservation, json=json, encoding=encoding)

    async def _body(self, signal: Signal, request: web.Request, reservation: Reservation) -> bytes | Outcome:
        """Read a body within its time and the reserved memory, which grows with a body of unknown length."""
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._options.body_timeout):
                async for part in request.content.iter_any():
                    parts.append(part)
                    size += len(part)
                    if size > self._options.largest:
                        return too_large(self._options.largest)
                    if size > reservation.size:
                        grown = self._receiver.reserve(signal, size, reservation)
                        if isinstance(grown, Outcome):
                            return grown
        except TimeoutError:
            said = f"the body did not arrive within {self._options.body_timeout:g} seconds"
            return unavailable(said)._replace(http_status=408)
        except (ClientError, ConnectionError, web.RequestPayloadError):  # the sender went away: nobody reads this
            return rejected(Code.CANCELLED, "the connection was closed before the body was complete", 400)
        return b"".join(parts)

    async def _health_response(self, request: web.Request) -> web.Response:
        health = self._health()
        if not self._may_send(request):  # a probe has no token: it learns whether the process works, no more
            health = {"status": health["status"]}
        return web.Response(text=json.dumps(health, indent=2) + "\n", content_type=_JSON)


def _success(signal: Signal, outcome: Outcome, kind: str) -> web.Response:
    body = outcome.response
    if kind == _JSON:
        body = write_json(signal.response.FromString(body))
    return web.Response(body=body, content_type=kind)


def _failure(outcome: Outcome, kind: str) -> web.Response:
    said = status(outcome)
    headers = {} if outcome.retry_after is None else {"Retry-After": str(math.ceil(outcome.retry_after))}
    if kind == _JSON:
        return web.Response(status=http_of(outcome), body=write_json(said), content_type=_JSON, headers=headers)
    if http_of(outcome) == 401:
        headers["WWW-Authenticate"] = "Bearer"
    body = said.SerializeToString()
    return web.Response(status=http_of(outcome), body=body, content_type=_PROTOBUF, headers=headers)
