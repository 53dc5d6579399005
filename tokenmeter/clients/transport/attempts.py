"""Matches an HTTP request to the open call it belongs to, or opens a call for it.

A request that belongs to an open SDK call becomes an attempt of that call. Any other request to a known inference
endpoint is a call of its own. A library may send through another one (an httpx transport over aiohttp, a redirect
that requests follows by itself): what is sent while a request of ours is being sent is that same request.

Two further kinds of requests are read though they are no calls: polls for answers that calls wait for
(`calls/later_answers.py`), and downloads of batches (`support/batches.py`).

Requests are told by `method`, `url.host`, `url.port`, `url.path`, `url.raw_path`, `headers` and the body in
`_content`, as httpx has them; `RequestView` says the same of the others.
"""

from __future__ import annotations

import re
import time
import zlib
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from tokenmeter._support.guard import guard
from tokenmeter.calls.accounts import note_account
from tokenmeter.calls.context import CALL
from tokenmeter.calls.opencall import OpenCall
from tokenmeter.calls.response import BodyReading
from tokenmeter.calls.waiting_calls import any_wait
from tokenmeter.clients.support import hooks
from tokenmeter.clients.support.group import Group
from tokenmeter.record import Attempt, End, end_of
from tokenmeter.usage import Source
from tokenmeter.wire.request_body import model_of, request_body

if TYPE_CHECKING:
    from tokenmeter.calls.protocols import CurrentCall, Meter
    from tokenmeter.calls.stream_response import StreamReading

__all__ = [
    "IN_FLIGHT",
    "REQUEST_IDS",
    "RequestInFlight",
    "RequestView",
    "answered",
    "attempt_of",
    "ends_now",
    "failed",
    "gunzip",
    "is_relevant",
    "read_whole",
    "reading_of",
    "request_id",
]

_ID_NAMES: Final = ("x-request-id", "request-id", "x-amzn-requestid", "apim-request-id", "x-tt-logid", "x-ds-trace-id")
REQUEST_IDS: Final = frozenset((*_ID_NAMES, *(name.encode() for name in _ID_NAMES)))
"""Names of headers with the vendor's id of a request, as text and as bytes."""
_STREAMS: Final = ("text/event-stream", "application/x-ndjson", "application/vnd.amazon.eventstream")
_VERB: Final = r":[a-zA-Z]+\Z"
"""Google's paths end in what is to be done with the model; Amazon's models end in a number."""
_BODY_MOST: Final = 8 * 1024 * 1024
_NOT_OURS: Final = (None, False)
_new_attempt: Final = tuple.__new__


class RequestInFlight:
    """A request of a metered call while it is sent; notes an attempt that got no response.

    `over` is when it no longer is, also for tasks that were begun meanwhile. `current` is what was current: an SDK that
    is called meanwhile, as a hook may do, makes a call of its own.
    """

    __slots__ = ("call", "current", "over", "owns", "started")

    def __init__(self, call: OpenCall | None = None, owns: bool = False) -> None:
        self.call = call
        self.owns = owns
        """The request is a call of its own: what comes of it settles the call."""
        self.over = False

    def __enter__(self) -> RequestInFlight:
        self.current = CALL.get()
        IN_FLIGHT.set(self)
        self.started = time.time_ns()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.over = True
        if IN_FLIGHT.get() is self:
            IN_FLIGHT.set(None)
        if error is not None and self.call is not None:
            with guard("noting a failed attempt"):
                self.failed(self.call, error)

    def failed(self, call: OpenCall, error: BaseException) -> None:
        """Note that no answer came."""
        failed(call, self.owns, self.started, error)

    def answered(self, call: OpenCall, status: int, request_id: str | None) -> bool:
        """Note the head of an answer; whether there is a body to read."""
        return answered(call, self.owns, self.started, status, request_id)


IN_FLIGHT: Final[ContextVar[RequestInFlight | None]] = ContextVar("tokenmeter.sending", default=None)


class RequestView:
    """A request as `attempt_of` reads it, for libraries that state it in another way. `url` is its own address."""

    __slots__ = ("_content", "headers", "host", "method", "path", "port", "raw_path", "url")

    def __init__(self, method: str, url: str, content: object, headers: object = None) -> None:
        self.method = method
        self.headers = headers
        self.url = self
        try:
            parts = urlsplit(url)
            self.host, self.port, self.path = parts.hostname or "", parts.port, parts.path
            target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        except ValueError:  # the library says so itself, when it gets there
            self.host, self.port, self.path = "", None, ""
            target = ""
        self.raw_path = target.encode("utf-8", "replace")
        self._content = content.encode() if isinstance(content, str) else content


def is_relevant(client: Any, method: object) -> bool:
    """Whether a request may be of interest at all; asked before it is looked at."""
    if not isinstance(method, str) or method.upper() not in ("POST", "GET"):
        return False
    return CALL.get() is not None or hooks.meter_for(client) is not None or any_wait()


def attempt_of(client: Any, request: Any) -> tuple[OpenCall | None, bool]:
    """The call that this request is an attempt of, and whether it is a call of its own; None: not for us."""
    outer = IN_FLIGHT.get()
    call = CALL.get()
    if outer is not None and not outer.over and outer.current is call:
        return _NOT_OURS
    waits = any_wait()
    own = isinstance(call, OpenCall) and call.sender == id(client) and request.method == call.method and not call.sent
    if own and not waits:  # of nearly every call: what the SDK's HTTP client sends meanwhile
        return _joined(call, request), False
    read = None
    if waits or request.method == "GET":
        with guard("recognising a poll"):
            read = _poll_or_download(client, request, call)
    if read is not None:
        note_account(read, request.headers)
        return read, True
    if call is None or call.sent:
        meter = hooks.meter_for(client)
        # Looked up before any guard is set up: a request to a host not in the map pays for this line only.
        if meter is None or not (meter.watches(request.url.host) or hooks.mark_of(client) is not None):
            return _NOT_OURS
        with guard("opening a call on the wire"):
            return _open(meter, hooks.mark_of(client), request), True
        return _NOT_OURS
    with guard("joining a call"):
        if isinstance(call, Group):
            return _in_group(call, client, request)
        if isinstance(call, OpenCall) and _is_attempt(call, client, request):
            return _joined(call, request), False
        meter = hooks.meter_for(client)
        if meter is not None and meter.watches(request.url.host):
            return _open(meter, hooks.mark_of(client), request), True
    return _NOT_OURS


def _joined(call: Any, request: Any) -> OpenCall:
    call.request = request
    try:  # of nearly every call: httpx, and a credential that was seen before, in its usual place
        accounts, fields = call.lifecycle.accounts, request.headers._list
        call.account = accounts.known[hash(fields[accounts.places[len(fields)]][2])]
    except (AttributeError, LookupError, TypeError):
        note_account(call, request.headers)
    if call.span_due:
        call.lifecycle.start_span(call)
    joined: OpenCall = call
    return joined


def _poll_or_download(client: Any, request: Any, current: CurrentCall | None) -> OpenCall | None:
    """What reads the answer to a request that is no call and yet brings usage; None for any other request."""
    url = request.url
    target = url.raw_path.decode("ascii", "replace")
    if any_wait():
        from tokenmeter.calls.later_answers import poll_of

        poll = poll_of(request.method, target, request)
        if poll is not None:
            return poll
    if request.method != "GET" or isinstance(current, OpenCall):
        return None
    mark = current.mark if isinstance(current, Group) else hooks.mark_of(client)
    meter = current.meter if isinstance(current, Group) else hooks.meter_for(client)
    if meter is None or not (mark is not None or meter.watches(url.host)):
        return None
    from tokenmeter.clients.support.batches import download_of

    return download_of(meter, mark, url.host, url.port, target)


def _is_attempt(call: OpenCall, client: Any, request: Any) -> bool:
    # SDKs for a cloud write another path than they are asked for; what their own client posts meanwhile is the call.
    if request.method != call.method:
        return False
    path = call.route.path
    if path is None or request.url.path.endswith(path):
        return True
    return call.sender == id(client)


def _in_group(group: Group, client: Any, request: Any) -> tuple[OpenCall | None, bool]:
    call = group.call
    if call is not None and not call.settled:
        if _is_attempt(call, client, request):
            call.request = request
            note_account(call, request.headers)
            return call, False
        return _open(group.meter, group.mark, request, any_host=True), True
    group.call = _open(group.meter, group.mark, request, any_host=True)
    return group.call, False


def _open(meter: Meter, mark: hooks.Mark | None, request: Any, *, any_host: bool = False) -> OpenCall | None:
    if request.method != "POST":
        return None
    url = request.url
    path = _action(meter, request) or url.path
    route = meter.route(url.host, url.port, "", path, mark, any_host=any_host or (mark is not None and mark.of_sdk))
    if route is None:
        return None
    body = _request_body(request)
    stream = ":stream" in path or (isinstance(body, dict) and bool(body.get("stream")))
    call = meter.open_call(route, route.model or _model(body, path), stream=stream, body=body)
    call.request = request
    note_account(call, request.headers)
    return call


def _action(meter: Meter, request: Any) -> str | None:
    """What stands for the path where a vendor names its actions in a header; None where the path says it."""
    endpoint = meter.providers.for_host(request.url.host, "")
    if endpoint is None or endpoint.action is None:
        return None
    for name, value in dict(request.headers or {}).items():
        if str(name).lower() == endpoint.action:
            return f"/{value}"
    return None


def _request_body(request: Any) -> object:
    """The JSON body of a request about to be sent; None for an unread stream, which is not ours to read."""
    content = getattr(request, "_content", None)
    return request_body(content) if isinstance(content, bytes) and len(content) <= _BODY_MOST else None


def _model(body: object, path: str) -> str | None:
    named = model_of(body)
    if named is not None:
        return named
    # Gemini, Bedrock and Azure name the model, or the deployment, in the path.
    parts = path.split("/")
    for word in ("models", "model", "deployments"):
        if word in parts[:-1]:
            from urllib.parse import unquote

            return re.sub(_VERB, "", unquote(parts[parts.index(word) + 1])) or None
    return None


def failed(call: OpenCall, owns: bool, started: int, error: BaseException) -> None:
    """Note an attempt that ended without a response."""
    with guard("noting a failed attempt"):
        reason = "no response: whether the vendor billed it is not known"
        kind = type(error).__qualname__
        call.attempts.append(Attempt(None, kind, started, time.time_ns() - started, None, False, reason))
        call.status_code = None
        if owns:
            call.lifecycle.settle(call, end_of(error), error)


def answered(call: OpenCall, owns: bool, started: int, status: int, request_id: str | None) -> bool:
    """Note an attempt by its response's head; whether there is a body to read."""
    call.status_code = status
    took = time.time_ns() - started
    if status < 400:
        call.attempts.append(_new_attempt(Attempt, (status, None, started, took, request_id, False, None)))
        return True
    reason = f"the vendor answered {status}"
    call.attempts.append(Attempt(status, None, started, took, request_id, False, reason))
    call.reading = None
    if owns:
        call.lifecycle.settle(call, End.ERROR)
    return False


def ends_now(call: OpenCall) -> bool:
    """Whether another instrumentation's span is waiting for the cost: it may end before the SDK's method does."""
    if call.span is None or call.span.telemetry != "enriched" or call.reading is None:
        return False
    usage, _ = call.reading.usage(End.COMPLETE)
    return usage.source is not Source.NONE


def request_id(headers: Iterable[tuple[Any, Any]]) -> str | None:
    """The vendor's id of a request, from names and values that are all text or all bytes."""
    for name, value in headers:
        if name.lower() in REQUEST_IDS:
            return value if isinstance(value, str) else str(value.decode("ascii", "replace"))
    return None


def reading_of(
    call: OpenCall, content_type: str, decoder: Callable[[bytes], bytes] | None = None
) -> BodyReading | StreamReading:
    """What listens to a body that the caller has yet to read."""
    if call.new_reading is not None:
        return call.new_reading(decoder)
    if content_type.startswith("application/json") and not call.stream:
        return BodyReading(call.provider, call.api, call.request_model, decoder=decoder)
    from tokenmeter.calls.stream_response import StreamReading

    call.stream = call.stream or content_type.startswith(_STREAMS)
    return StreamReading(call.provider, call.api, call.request_model, content_type, decoder)


def read_whole(call: OpenCall, content_type: str, body: bytes) -> BodyReading | StreamReading:
    """What reads a body that is all there: a stream too, where a transport or a hook has read it before the caller."""
    if call.new_reading is not None:
        made = call.new_reading(None)
        made.chunks.append(body)
        return made
    if not call.stream and not content_type.startswith(_STREAMS):
        return BodyReading(call.route.provider, call.route.api, call.request_model, body)
    reading = reading_of(call, content_type)
    if body:
        reading.chunks.append(body)
    return reading


def gunzip() -> Callable[[bytes], bytes]:
    """Undoes gzip piece by piece."""
    return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress
