"""Time limits on connections of the HTTP server: on TLS handshakes and on the head of the first request.

aiohttp waits for ever for the first request of a connection; later ones fall under its keep-alive limit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

__all__ = ["Connections"]


class Connections:
    """Makes the protocols of a server's connections. `seconds` is the time until a first request's head is there."""

    def __init__(self, handler: Callable[[], asyncio.Protocol], seconds: float) -> None:
        self._handler = handler
        self._seconds = seconds
        self._timers: dict[Any, asyncio.TimerHandle] = {}

    def __call__(self) -> asyncio.Protocol:
        """The protocol of one connection, as `loop.create_server` wants it."""
        return _Connection(self._handler(), self)

    def begin(self, transport: Any) -> None:
        """Start the time of a connection."""
        self._timers[transport] = asyncio.get_running_loop().call_later(self._seconds, transport.abort)

    def head_arrived(self, transport: Any) -> None:
        """Stop the time of a connection: its head arrived, or it is lost."""
        timer = self._timers.pop(transport, None)
        if timer is not None:
            timer.cancel()


class _Connection(asyncio.Protocol):
    """Hands every event of a connection to aiohttp's own protocol."""

    def __init__(self, inner: asyncio.Protocol, connections: Connections) -> None:
        self._inner = inner
        self._connections = connections
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._connections.begin(transport)
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        self._connections.head_arrived(self._transport)
        self._inner.connection_lost(error)
