"""`provider_server()`: a local HTTP server that speaks the providers' wire formats, with faults on demand.

`provider_server()` listens on a free port of 127.0.0.1 and speaks the providers' wire formats to their real SDKs:

    with provider_server() as server:
        client = OpenAI(base_url=server.url("deepseek"), api_key="any")
        client.chat.completions.create(model="deepseek-chat;fail=2", messages=[...])
        assert [request.status for request in server.requests] == [500, 500, 200]

It also answers as an HTTP proxy, so that a client may keep a provider's real host name: `http_proxy=server.origin`
and a base URL of `http://api.deepseek.com`. It needs only the standard library, and keeps every request as received,
so that a test can assert "sent once, unchanged".
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tokenmeter.testing.ask import Ask
from tokenmeter.testing.dialects import DIALECTS, ServerDialect, dialect_of_host
from tokenmeter.testing.faults import Faults, UnknownKnob
from tokenmeter.testing.jobs import Jobs
from tokenmeter.testing.listener import Handler, Listener, Received
from tokenmeter.testing.reply import Reply, json_reply, spoiled
from tokenmeter.testing.wire import Wire, wire_for

__all__ = ["ProviderServer", "Received", "provider_server"]


Answerer = Callable[[Received], Reply]


class ProviderServer:
    """A running provider server; `provider_server()` makes one. A model's suffix overrides its faults."""

    def __init__(self, *, answer: Answerer | None = None, **faults: Any) -> None:
        unknown = set(faults) - set(Faults.__dataclass_fields__)
        if unknown:
            known = ", ".join(Faults.__dataclass_fields__)
            raise UnknownKnob(f"{', '.join(sorted(unknown))}: not a knob of the provider server; there are {known}")
        self.faults = Faults(**faults)
        self.requests: list[Received] = []
        self._answer = answer
        self._jobs = Jobs(_at_once)
        self._refused: Counter[tuple[str, bytes]] = Counter()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self.closing = threading.Event()
        self._http = Listener(("127.0.0.1", 0), Handler)
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
        """Scheme, host and port: the root of every path, and the value for `http_proxy`."""
        return f"http://{self.host}"

    def url(self, dialect: str = "openai") -> str:
        """Base URL of a provider's dialect. Raises ValueError for an unknown one, with the known ones."""
        if dialect not in DIALECTS:
            raise ValueError(f"{dialect!r} is not a dialect of this server; there are {', '.join(DIALECTS)}")
        return f"{self.origin}/v/{dialect}{DIALECTS[dialect].base}"

    def serve(self, answer: Answerer | None) -> None:
        """Answer with a function from a `Received` to a `Reply` from now on; None returns to the default answers."""
        self._answer = answer

    def clear(self) -> None:
        """Forget the requests received so far."""
        with self._lock:
            self.requests.clear()
            self._jobs = Jobs(_at_once)
            self._refused.clear()

    def settled(self, timeout: float = 5.0) -> bool:
        """Wait until every request received has been answered or cut; False if some have not after `timeout` s."""
        deadline = time.monotonic() + timeout
        return all(request.done.wait(max(0.0, deadline - time.monotonic())) for request in list(self.requests))

    def start(self) -> ProviderServer:
        """Start listening in a thread; returns at once."""
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

    def received(self, request: Received) -> None:
        """Store a request; called by the listener."""
        with self._lock:
            self.requests.append(request)

    def connected(self, connection: socket.socket, opened: bool) -> None:
        """Track an open connection, to cut it in `stop`; called by the listener."""
        with self._lock:
            (self._open.add if opened else self._open.discard)(connection)

    def reply(self, request: Received) -> tuple[Reply, Faults]:
        """The reply to a request, and the faults to apply while sending; called by the listener."""
        if self._answer is not None:
            return self._answer(request), self.faults
        dialect, path = _dialect(request)
        job = self._job(request, dialect, path) if dialect is not None else None
        if job is not None:
            return job, Faults()
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

    def _job(self, request: Received, dialect: ServerDialect, path: str) -> Reply | None:
        """The reply to a request about an answer that comes later; None for any other."""
        with contextlib.suppress(UnknownKnob, ValueError):
            return self._jobs.reply(request.method, self._ask(request, dialect, path, None))
        return None

    def _ask(self, request: Received, dialect: ServerDialect, path: str, model: str | None) -> Ask:
        body = _fields(request)
        named = unquote(model) if model else str(body.get("model") or body.get("Model") or "")
        name, faults = self.faults.of_model(named)
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
    """Run a provider server on a free port of 127.0.0.1 during a block.

    Keywords are the fields of `Faults`; `answer`, a function from a `Received` to a `Reply`, answers every
    request. Raises UnknownKnob, a ValueError, for another keyword.
    """
    with ProviderServer(answer=answer, **faults) as server:
        yield server


def _dialect(request: Received) -> tuple[ServerDialect | None, str]:
    path = urlsplit(request.path).path
    if path.startswith("/v/"):
        name, slash, rest = path.removeprefix("/v/").partition("/")
        return DIALECTS.get(name), slash + rest
    return dialect_of_host(request.host), path


def _at_once(ask: Ask) -> Any:
    """The whole answer to a request, as its wire format gives it; None where no format serves its path."""
    found = wire_for(ask.path.replace("/async/", "/"))
    if found is None:
        return None
    whole = replace(ask, body={name: value for name, value in ask.body.items() if name != "stream"})
    return json.loads(b"".join(found[0].answer(whole).frames))


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
