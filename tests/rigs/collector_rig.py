"""Endpoints that tests switch on, off and against us, and a collector beside them, all in one event loop of its own."""

from __future__ import annotations

import asyncio
import gzip
import inspect
import sqlite3
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import grpc
import requests
from aiohttp import web

from tokenmeter.collector.options import Options
from tokenmeter.collector.process import Collector
from tokenmeter.collector.signals import SIGNALS, TRACES

NOV = 1_793_491_200 * 10**9
"""2026-11-01T00:00:00Z."""
LIMIT = 60.0
"""Seconds that anything here may take on a machine that is busy."""
_Value = TypeVar("_Value")
_Answer = web.Response | None


class Loop:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, _Value]) -> _Value:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(LIMIT)

    def call(self, function: Callable[[], object]) -> None:
        """Call something in the loop's thread."""
        self.loop.call_soon_threadsafe(function)

    def close(self) -> None:
        async def cancel() -> None:
            rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, return_exceptions=True)

        self.run(cancel())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(LIMIT)
        self.loop.close()


class HttpEndpoint:
    """A real OTLP receiver over HTTP. `answer` says what becomes of a request, at once or later; None takes it."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._runner: web.AppRunner | None = None
        self.port = 0
        self.answer: Callable[[str, bytes], _Answer | Awaitable[_Answer]] = lambda path, body: None
        self.bodies: list[tuple[str, bytes]] = []
        self.headers: list[Mapping[str, str]] = []
        self.ssl: ssl.SSLContext | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}" if self.ssl is None else f"https://localhost:{self.port}"

    def start(self) -> None:
        """Listen, at the same port as before."""
        self._loop.run(self._start())

    def stop(self) -> None:
        """Go away."""
        if self._runner is not None:
            self._loop.run(self._runner.cleanup())
            self._runner = None

    async def _start(self) -> None:
        app = web.Application(client_max_size=2**28)
        app.router.add_post("/{path:.*}", self._take)
        self._runner = web.AppRunner(app, access_log=None, auto_decompress=False, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True, ssl_context=self.ssl).start()
        self.port = self._runner.addresses[0][1]

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        if request.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        answer = self.answer(request.path, body)
        if inspect.isawaitable(answer):
            answer = await answer
        if answer is None:
            self.bodies.append((request.path, body))
            self.headers.append(dict(request.headers))
            answer = web.Response(body=b"", content_type="application/x-protobuf")
        return answer


class GrpcEndpoint:
    """A real OTLP receiver over gRPC. `fail` is called with the context before anything is taken."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._server: Any = None
        self.port = 0
        self.bodies: list[tuple[str, bytes]] = []
        self.metadata: list[Mapping[str, Any]] = []
        self.response = b""
        self.key: tuple[bytes, bytes] | None = None
        """A private key and its certificate, for an endpoint that is encrypted."""
        self.fail: Callable[[Any], Coroutine[Any, Any, None]] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}" if self.key is None else f"https://localhost:{self.port}"

    def start(self) -> None:
        self._loop.run(self._start())

    def stop(self) -> None:
        if self._server is not None:
            self._loop.run(self._server.stop(0))
            self._server = None

    async def _start(self) -> None:
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        for signal in SIGNALS:
            handler = grpc.unary_unary_rpc_method_handler(self._taker(signal.path))
            self._server.add_generic_rpc_handlers(
                (grpc.method_handlers_generic_handler(signal.service, {"Export": handler}),)
            )
        address = f"127.0.0.1:{self.port}"
        if self.key is None:
            self.port = self._server.add_insecure_port(address)
        else:
            self.port = self._server.add_secure_port(address, grpc.ssl_server_credentials([self.key]))
        await self._server.start()

    def _taker(self, path: str) -> Callable[[bytes, Any], Coroutine[Any, Any, bytes]]:
        async def take(body: bytes, context: Any) -> bytes:
            if self.fail is not None:
                await self.fail(context)
            self.bodies.append((path, body))
            self.metadata.append(dict(context.invocation_metadata()))
            return self.response

        return take


class Running:
    """A collector in the loop."""

    def __init__(self, loop: Loop, **options: Any) -> None:
        self._loop = loop
        given = {"protocol": "http", "grpc_port": 0, "http_port": 0, "metrics_every": None, "drain": 3.0, **options}
        self.collector = Collector(Options(**given))
        loop.run(self.collector.start())
        self.grpc = f"127.0.0.1:{self.collector.grpc_port}"
        self.url = f"http://127.0.0.1:{self.collector.http_port}"
        self.farewell: str | None = None

    @property
    def counts(self) -> dict[str, int]:
        return self.collector.counts.all()

    def stop(self) -> str:
        if self.farewell is None:
            self.farewell = self._loop.run(self.collector.stop())
        return self.farewell


def spans_of(bodies: list[tuple[str, bytes]]) -> list[Any]:
    """All spans that an endpoint got, in order."""
    return [
        span
        for path, body in bodies
        if path == TRACES.path
        for resource in TRACES.request.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def attributes(span: Any) -> dict[str, Any]:
    """A span's attributes, arrays as tuples of texts."""
    return {
        one.key: tuple(part.string_value for part in one.value.array_value.values)
        if kind == "array_value"
        else getattr(one.value, kind)
        for one in span.attributes
        if (kind := one.value.WhichOneof("value")) is not None
    }


def rows(ledger: Path) -> list[tuple[Any, ...]]:
    """Span, status, amount, currency and tokens of every call in a ledger."""
    with closing(sqlite3.connect(ledger)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'calls'").fetchone():
            return []  # the file is there before its tables are
        return connection.execute(
            "SELECT span_id, status, amount, currency, input_tokens, output_tokens FROM calls ORDER BY seq"
        ).fetchall()


@contextmanager
def health_watched(running: Running, most: float) -> Iterator[None]:
    """`/healthz` answers within `most` seconds, again and again, while the block runs."""
    slowest, stop = [0.0], threading.Event()

    def ping() -> None:
        while not stop.is_set():
            begun = time.monotonic()
            assert requests.get(running.url + "/healthz", timeout=60).status_code == 200
            slowest[0] = max(slowest[0], time.monotonic() - begun)
            stop.wait(0.02)

    thread = threading.Thread(target=ping)
    thread.start()
    yield
    stop.set()
    thread.join()
    assert slowest[0] < most, f"/healthz was silent for {slowest[0]:.1f} s"
