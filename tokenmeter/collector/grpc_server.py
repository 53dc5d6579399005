"""OTLP/gRPC server of the collector: the export services of traces, metrics and logs, on raw bytes.

`receive.RequestReceiver` parses messages, not gRPC: a malformed one is answered INVALID_ARGUMENT with the reason.
gRPC itself handles compression and the size limit.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc

from tokenmeter.collector.receive import RequestReceiver
from tokenmeter.collector.results import Outcome, Verdict, retry_info, status
from tokenmeter.collector.signals import SIGNALS, Signal
from tokenmeter.errors import ConfigurationError

__all__ = ["GrpcServer"]

_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}


class GrpcServer:
    """Listens on one address. `largest` is the longest message accepted, in bytes."""

    def __init__(self, receiver: RequestReceiver, largest: int) -> None:
        self._receiver = receiver
        self._largest = largest
        self._server: Any = None

    async def start(self, host: str, port: int) -> int:
        """Start listening and return the port. Raises ConfigurationError where the address cannot be bound."""
        self._server = grpc.aio.server(
            options=[("grpc.max_receive_message_length", self._largest), ("grpc.so_reuseport", 0)]
        )
        for signal in SIGNALS:
            handler = grpc.unary_unary_rpc_method_handler(self._handler(signal))
            self._server.add_generic_rpc_handlers(
                (grpc.method_handlers_generic_handler(signal.service, {"Export": handler}),)
            )
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            bound = int(self._server.add_insecure_port(address))
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

    def _handler(self, signal: Signal) -> Callable[[bytes, Any], Awaitable[bytes]]:
        async def export(body: bytes, context: Any) -> bytes:
            outcome = await self._receiver.take(signal, body)
            if outcome.verdict in (Verdict.DELIVERED, Verdict.KEPT):
                return outcome.response
            await context.abort(_CODES[outcome.code], outcome.message, _trailers(outcome))
            raise AssertionError("abort raises")

        return export


def _trailers(outcome: Outcome) -> tuple[tuple[str, bytes], ...]:
    details = (("grpc-status-details-bin", status(outcome).SerializeToString()),)
    if outcome.retry_after is None:
        return details
    # OpenTelemetry's exporter for Python reads the retry delay from this header, not from the status details.
    return (*details, ("google.rpc.retryinfo-bin", retry_info(outcome.retry_after).SerializeToString()))
