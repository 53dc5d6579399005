"""OTLP/gRPC server of the collector: the export services of traces, metrics and logs, on raw bytes.

`receive.RequestReceiver` parses messages, so that a malformed one is answered INVALID_ARGUMENT with the reason.
gRPC itself handles compression and the size limit. Its methods are registered as client streams, which look the same
on the wire: so the message is read here, after the token, when there is memory for it, and for a limited time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc
from google.rpc.code_pb2 import Code

from tokenmeter.collector.access import bearer_of, grpc_credentials
from tokenmeter.collector.options import Options
from tokenmeter.collector.receive import RequestReceiver
from tokenmeter.collector.results import Outcome, Verdict, rejected, retry_info, status, unavailable
from tokenmeter.collector.signals import SIGNALS, Signal
from tokenmeter.errors import ConfigurationError

__all__ = ["GrpcServer"]

_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}
_STREAMS: Final = 64  # requests at once on one connection; further ones wait at their sender


class GrpcServer:
    """Listens on one address."""

    def __init__(self, receiver: RequestReceiver, options: Options) -> None:
        self._receiver = receiver
        self._options = options
        # A message's size is not known before it is read: so many as fit whatever their size are read at once.
        self._reading = asyncio.Semaphore(max(1, options.queue // options.largest))
        self._server: Any = None

    async def start(self, host: str, port: int) -> int:
        """Start listening and return the port. Raises ConfigurationError where the address cannot be bound."""
        self._server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", self._options.largest),
                ("grpc.so_reuseport", 0),
                ("grpc.max_concurrent_streams", _STREAMS),
                ("grpc.http2.bdp_probe", 0),  # else the window of a stream that nobody reads grows to megabytes
                ("grpc.max_connection_idle_ms", 600_000),
            ]
        )
        for signal in SIGNALS:
            handler = grpc.stream_unary_rpc_method_handler(self._handler(signal))
            self._server.add_generic_rpc_handlers(
                (grpc.method_handlers_generic_handler(signal.service, {"Export": handler}),)
            )
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        tls = self._options.tls
        try:
            if tls is None:
                bound = int(self._server.add_insecure_port(address))
            else:
                bound = int(self._server.add_secure_port(address, grpc_credentials(*tls)))
        except RuntimeError:
            raise ConfigurationError(
                f"--grpc: cannot listen on {address}: is another process listening there?"
            ) from None
        await self._server.start()
        return bound

    async def stop(self) -> None:
        """Stop listening once open requests are answered, after 5 seconds at most."""
        if self._server is not None:
            await self._server.stop(5.0)

    def _handler(self, signal: Signal) -> Callable[[Any, Any], Awaitable[bytes]]:
        async def export(messages: Any, context: Any) -> bytes:
            outcome = await self._take(signal, context)
            if outcome.verdict in (Verdict.DELIVERED, Verdict.KEPT):
                return outcome.response
            await context.abort(_CODES[outcome.code], outcome.message, _trailers(outcome))
            raise AssertionError("abort raises")

        return export

    async def _take(self, signal: Signal, context: Any) -> Outcome:
        token = self._options.token
        if token is not None:
            metadata = dict(context.invocation_metadata() or ())
            if not bearer_of(metadata.get("authorization"), token):
                return rejected(Code.UNAUTHENTICATED, "the request carries no valid bearer token")
        try:
            async with asyncio.timeout(self._options.body_timeout), self._reading:
                body = await context.read()
        except TimeoutError:
            return unavailable(f"the message did not arrive within {self._options.body_timeout:g} seconds")
        if body is grpc.aio.EOF:
            return rejected(Code.INVALID_ARGUMENT, "the request has no message")
        reservation = self._receiver.reserve(signal, len(body))
        if isinstance(reservation, Outcome):
            return reservation
        return await self._receiver.take(signal, body, reservation)


def _trailers(outcome: Outcome) -> tuple[tuple[str, bytes], ...]:
    details = (("grpc-status-details-bin", status(outcome).SerializeToString()),)
    if outcome.retry_after is None:
        return details
    # OpenTelemetry's exporter for Python reads the retry delay from this header, not from the status details.
    return (*details, ("google.rpc.retryinfo-bin", retry_info(outcome.retry_after).SerializeToString()))
