"""A server that answers every request with a stream that does not end, and counts the connections that are open."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from typing import Final

__all__ = ["OpenConnections", "open_connections"]

_HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_EVENT: Final = {
    "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o",
    "choices": [{"index": 0, "delta": {"content": "word "}, "finish_reason": None}],
}  # fmt: skip


class OpenConnections:
    """The server. `now` is how many connections are open."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._lock = threading.Lock()
        self.now = 0
        self.opened = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"

    def serve(self) -> None:
        """Take connections until the listener is closed."""
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.now += 1
                self.opened += 1
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            with contextlib.suppress(OSError):
                self._read_request(connection)
                line = b"data: " + json.dumps(_EVENT).encode() + b"\n\n"
                connection.sendall(_HEAD + 3 * (f"{len(line):x}\r\n".encode() + line + b"\r\n"))
                while connection.recv(65536):  # the client says nothing more: this returns when it closes
                    pass
            with self._lock:
                self.now -= 1

    @staticmethod
    def _read_request(connection: socket.socket) -> None:
        got = b""
        while b"\r\n\r\n" not in got:
            got += connection.recv(65536)
        head, _, body = got.partition(b"\r\n\r\n")
        length = next(
            int(line.partition(b":")[2]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")
        )
        while len(body) < length:
            body += connection.recv(65536)


@contextlib.contextmanager
def open_connections() -> Iterator[OpenConnections]:
    """The server, listening on a port of its own."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listener:
        server = OpenConnections(listener)
        accepting = threading.Thread(target=server.serve, daemon=True)
        accepting.start()
        yield server
        listener.shutdown(socket.SHUT_RDWR)
