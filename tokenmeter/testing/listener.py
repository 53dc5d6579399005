"""HTTP side of the provider server: reads requests, sends replies with their faults, detects disconnected clients.

Built on the standard library's threading server. `server.py` decides the reply; this module handles bytes, connections
and time.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import urlsplit

from tokenmeter.testing.faults import Faults
from tokenmeter.testing.reply import Dropped, Reply, pieces

__all__ = ["Handler", "Listener", "Received", "ReplySource"]


@dataclass(slots=True, eq=False)
class Received:
    """One request as received, and how its answer ended."""

    method: str
    path: str
    """Path with the query, without scheme and host."""
    host: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    dialect: str = "openai"
    api: str | None = None
    status: int | None = None
    """Status of the answer; None if the connection was cut before it."""
    disconnected: bool = False
    """The client disconnected before the answer was complete."""
    done: threading.Event = field(default_factory=threading.Event, repr=False)

    @property
    def json(self) -> Any:
        """The body read as JSON. Raises ValueError where it is not JSON."""
        return json.loads(self.body)

    @property
    def model(self) -> str | None:
        """The model named in the body, with its suffix."""
        with contextlib.suppress(ValueError):
            body = self.json
            return body.get("model") if isinstance(body, dict) else None
        return None


class ReplySource(Protocol):
    """Interface to the provider server: counts connections, keeps requests, builds replies."""

    closing: threading.Event

    def connected(self, connection: socket.socket, opened: bool) -> None:
        """A connection was opened or closed."""

    def received(self, request: Received) -> None:
        """A request came in."""

    def reply(self, request: Received) -> tuple[Reply, Faults]:
        """The answer to it, and the faults to play it under."""


class Listener(ThreadingHTTPServer):
    """Accepts connections and gives each a thread."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    provider: ReplySource

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Clients may disconnect at any time; any other error is a mistake in a test's own `answer` function.
        error = sys.exception()
        if not isinstance(error, OSError) and not self.provider.closing.is_set():
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """Serves one connection, request after request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: Listener

    def setup(self) -> None:
        super().setup()
        self.server.provider.connected(self.connection, True)

    def finish(self) -> None:
        self.server.provider.connected(self.connection, False)
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: tests read `requests`."""

    def do_POST(self) -> None:
        request = self._read()
        self.server.provider.received(request)
        try:
            reply, faults = self.server.provider.reply(request)
            self._play(request, reply, faults)
        except Dropped:
            self.close_connection = True
        except OSError:
            request.disconnected = True
            self.close_connection = True
        finally:
            request.done.set()

    do_GET = do_PUT = do_PATCH = do_DELETE = do_POST

    def _read(self) -> Received:
        headers = {name.lower(): value for name, value in self.headers.items()}
        target = urlsplit(self.path)
        path = target._replace(scheme="", netloc="").geturl() if target.scheme else self.path
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body = self._chunked_body()
        else:
            body = self.rfile.read(int(headers.get("content-length") or 0))
        return Received(self.command, path, target.netloc or headers.get("host", ""), headers, body)

    def _chunked_body(self) -> bytes:
        parts: list[bytes] = []
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _play(self, request: Received, reply: Reply, faults: Faults) -> None:
        if faults.drop == 0:
            raise Dropped
        if faults.hang == 0:
            self._wait(None)
        if faults.ttft:
            self._wait(faults.ttft)
        whole: Sequence[bytes] | None = None
        if not (reply.streamed or faults.drop or faults.hang):
            whole = list(pieces(reply, faults, self._wait))
        self._head(request, reply, faults, None if whole is None else sum(map(len, whole)))
        for piece in whole if whole is not None else pieces(reply, faults, self._wait):
            self.wfile.write(piece if whole is not None else b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.flush()
        if whole is None:
            self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def _head(self, request: Received, reply: Reply, faults: Faults, length: int | None) -> None:
        request.status = reply.status
        self.send_response_only(reply.status)
        self.send_header("content-type", reply.content_type)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if faults.gzip:
            self.send_header("content-encoding", "gzip")
        if length is None:
            self.send_header("transfer-encoding", "chunked")
        else:
            self.send_header("content-length", str(length))
        self.end_headers()
        if length is None:
            self.wfile.flush()  # a stream's head goes out before its first event

    def _wait(self, milliseconds: float | None) -> None:
        """Wait; raises ConnectionError as soon as the client disconnects or the server stops."""
        self.wfile.flush()
        deadline = None if milliseconds is None else time.monotonic() + milliseconds / 1000
        while deadline is None or (left := deadline - time.monotonic()) > 0:
            if self.server.provider.closing.is_set():
                raise Dropped
            slice_ = 0.02 if deadline is None else min(0.02, left)
            readable, _, _ = select.select([self.connection], [], [], slice_)
            if readable and not self.connection.recv(1, socket.MSG_PEEK):
                raise ConnectionResetError("the client has gone")
            if readable and deadline is not None:  # a pipelined request: wait all the same
                time.sleep(max(0.0, deadline - time.monotonic()))
                return
