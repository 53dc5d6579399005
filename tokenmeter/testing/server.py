"""A provider on this machine: real HTTP, real streams, and every way a provider can fail.

`provider_server()` listens on a free port of 127.0.0.1 and speaks the providers' wire formats to their real SDKs:

    with provider_server() as server:
        client = OpenAI(base_url=server.url("deepseek"), api_key="any")
        client.chat.completions.create(model="deepseek-chat;fail=2", messages=[...])
        assert [request.status for request in server.requests] == [500, 500, 200]

It also answers as an HTTP proxy, so that a client may keep a provider's real host name: `http_proxy=server.origin`
and a base URL of `http://api.deepseek.com`. Nothing but the standard library is needed, and every request received
is kept as it came, so that a test can say "sent once, and unchanged".
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tokenmeter.testing.ask import Ask
from tokenmeter.testing.dialects import DIALECTS, Dialect, dialect_of_host
from tokenmeter.testing.faults import Faults, UnknownKnob
from tokenmeter.testing.reply import Dropped, Reply, json_reply, pieces, spoiled
from tokenmeter.testing.wire import Wire, wire_for

__all__ = ["ProviderServer", "Received", "provider_server"]


@dataclass(slots=True, eq=False)
class Received:
    """One request as it came over the wire, and how its answer ended."""

    method: str
    path: str
    """As sent, with the query; without scheme and host."""
    host: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    dialect: str = "openai"
    api: str | None = None
    status: int | None = None
    """Of the answer; None if the connection was cut before it."""
    disconnected: bool = False
    """The client went before the answer was whole."""
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


Answerer = Callable[[Received], Reply]


class ProviderServer:
    """A running provider; `provider_server()` makes one. Its faults hold unless a model's suffix changes them."""

    def __init__(self, *, answer: Answerer | None = None, **faults: Any) -> None:
        unknown = set(faults) - set(Faults.__dataclass_fields__)
        if unknown:
            known = ", ".join(Faults.__dataclass_fields__)
            raise UnknownKnob(f"{', '.join(sorted(unknown))}: not a knob of the provider server; there are {known}")
        self.faults = Faults(**faults)
        self.requests: list[Received] = []
        self._answer = answer
        self._refused: Counter[tuple[str, bytes]] = Counter()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self.closing = threading.Event()
        self._http = _Http(("127.0.0.1", 0), _Handler)
        self._http.provider = self
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)

    @property
    def port(self) -> int:
        return int(self._http.server_address[1])

    @property
    def host(self) -> str:
        """Host and port, as a key for `tokenmeter.configure(hosts=...)`."""
        return f"127.0.0.1:{self.port}"

    @property
    def origin(self) -> str:
        """Scheme, host and port: the root of every path, and the address to use as `http_proxy`."""
        return f"http://{self.host}"

    def url(self, dialect: str = "openai") -> str:
        """The base URL under which a provider's dialect is spoken. Raises ValueError with the known ones."""
        if dialect not in DIALECTS:
            raise ValueError(f"{dialect!r} is not a dialect of this server; there are {', '.join(DIALECTS)}")
        return f"{self.origin}/v/{dialect}{DIALECTS[dialect].base}"

    def serve(self, answer: Answerer | None) -> None:
        """Let a function answer from now on: it gets the request and gives the whole Reply. None undoes it."""
        self._answer = answer

    def clear(self) -> None:
        """Forget the requests received so far."""
        with self._lock:
            self.requests.clear()
            self._refused.clear()

    def settled(self, timeout: float = 5.0) -> bool:
        """Wait until every request received has been answered or cut; False if some have not after `timeout` s."""
        deadline = time.monotonic() + timeout
        return all(request.done.wait(max(0.0, deadline - time.monotonic())) for request in list(self.requests))

    def start(self) -> ProviderServer:
        """Begin to listen; returns at once."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Cut every connection and stop listening."""
        self.closing.set()
        self._http.shutdown()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        self._http.server_close()
        self._thread.join(timeout=5)

    def __enter__(self) -> ProviderServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _received(self, request: Received) -> None:
        with self._lock:
            self.requests.append(request)

    def _connected(self, connection: socket.socket, opened: bool) -> None:
        with self._lock:
            (self._open.add if opened else self._open.discard)(connection)

    def _reply(self, request: Received) -> tuple[Reply, Faults]:
        """The answer to a request, and the faults to play it under."""
        if self._answer is not None:
            return self._answer(request), self.faults
        dialect, path = _dialect(request)
        found = wire_for(path) if dialect is not None else None
        if dialect is None or found is None:
            return json_reply({"error": {"message": f"nothing is served at {request.path}"}}, 404), Faults()
        wire, match = found
        request.dialect, request.api = dialect.name, wire.API
        try:
            ask = self._ask(request, dialect, path, match.groupdict().get("model"))
        except (UnknownKnob, ValueError) as error:
            return json_reply(wire.refuse(400, str(error)), 400), Faults()
        if self._refuses(request, ask.faults):
            return _refusal(wire, ask.faults.refusal), ask.faults
        return spoiled(wire.answer(ask), ask.faults), ask.faults

    def _ask(self, request: Received, dialect: Dialect, path: str, model: str | None) -> Ask:
        body = _fields(request)
        name, faults = self.faults.of_model(unquote(model) if model else str(body.get("model", "")))
        query = dict(parse_qsl(urlsplit(request.path).query))
        return Ask(path, query, request.headers, body, name, faults, dialect)

    def _refuses(self, request: Received, faults: Faults) -> bool:
        if not faults.fail:
            return faults.status is not None
        key = (request.path, request.body)
        with self._lock:
            self._refused[key] += 1
            if self._refused[key] <= faults.fail:
                return True
            del self._refused[key]
            return False


@contextlib.contextmanager
def provider_server(*, answer: Answerer | None = None, **faults: Any) -> Iterator[ProviderServer]:
    """A provider on a free port of this machine, for the length of a block.

    Keywords are the fields of `Faults`, or `answer`, a function that gives every reply. Raises UnknownKnob.
    """
    with ProviderServer(answer=answer, **faults) as server:
        yield server


def _dialect(request: Received) -> tuple[Dialect | None, str]:
    path = urlsplit(request.path).path
    if path.startswith("/v/"):
        name, slash, rest = path.removeprefix("/v/").partition("/")
        return DIALECTS.get(name), slash + rest
    return dialect_of_host(request.host), path


def _fields(request: Received) -> dict[str, Any]:
    """The body's fields: JSON, or the text fields of a form with files. Raises ValueError."""
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        from email.parser import BytesParser

        head = f"content-type: {request.headers['content-type']}\r\n\r\n".encode()
        parts = BytesParser().parsebytes(head + request.body).walk()
        named = {part.get_param("name", header="content-disposition"): part.get_payload(decode=True) for part in parts}
        return {str(name): _text(value) for name, value in named.items() if name and isinstance(value, bytes)}
    body = json.loads(request.body) if request.body else {}
    if not isinstance(body, dict):
        raise ValueError(f"the body is a JSON {type(body).__name__}; an object is due")
    return body


def _text(value: bytes) -> Any:
    text = value.decode("utf-8", "replace")
    return {"true": True, "false": False}.get(text.lower(), text)


def _refusal(wire: Wire, status: int) -> Reply:
    messages = {401: "Incorrect API key provided", 429: "Rate limit reached", 404: "The model does not exist"}
    message = messages.get(status, "The server had an error")
    # SDKs that read these headers try again at once, so that tests of retries are quick.
    again = {"retry-after-ms": "1", "retry-after": "0", "x-request-id": "req_refused"}
    return json_reply(wire.refuse(status, message), status, **again)


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    provider: ProviderServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client may go at any moment, and the interpreter end; anything else is a mistake in a test's own answer.
        import sys

        error = sys.exception()
        if not isinstance(error, OSError) and not self.provider.closing.is_set():
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Http

    def setup(self) -> None:
        super().setup()
        self.server.provider._connected(self.connection, True)

    def finish(self) -> None:
        self.server.provider._connected(self.connection, False)
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the tests read `requests`."""

    def do_POST(self) -> None:
        request = self._read()
        self.server.provider._received(request)
        try:
            reply, faults = self.server.provider._reply(request)
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
        if length != 0:
            self.wfile.flush() if length is None else None

    def _wait(self, milliseconds: float | None) -> None:
        """Let time pass; raises ConnectionError as soon as the client goes or the server stops."""
        self.wfile.flush()
        deadline = None if milliseconds is None else time.monotonic() + milliseconds / 1000
        while deadline is None or (left := deadline - time.monotonic()) > 0:
            if self.server.provider.closing.is_set():
                raise Dropped
            slice_ = 0.02 if deadline is None else min(0.02, left)
            readable, _, _ = select.select([self.connection], [], [], slice_)
            if readable and not self.connection.recv(1, socket.MSG_PEEK):
                raise ConnectionResetError("the client has gone")
            if readable and deadline is not None:  # a pipelined request: let the time pass all the same
                time.sleep(max(0.0, deadline - time.monotonic()))
                return
