"""The attempt level: every request that httpx or httpx2 sends.

`Client.send` is hooked, not a transport: custom transports, redirects and authentication all lie below it, and each
try of an SDK's hidden retries passes it once. A request that belongs to an open SDK call becomes an attempt of that
call. Any other request to a known inference endpoint is a call of its own.

The two libraries are the same code under two names, and may both be loaded; neither is imported here.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from tokenmeter._context import CALL
from tokenmeter._guard import guard
from tokenmeter._reading import BodyReading, StreamReading
from tokenmeter.calls import end_of
from tokenmeter.clients import _hooks
from tokenmeter.clients._group import Group
from tokenmeter.record import Attempt, End
from tokenmeter.stream import BodyTee, make_tees
from tokenmeter.usage import Source

if TYPE_CHECKING:
    from tokenmeter.lifecycle import OpenCall
    from tokenmeter.meter import Tokenmeter

__all__ = ["LIBRARIES", "install", "mark"]

LIBRARIES: Final = ("httpx", "httpx2")
_REQUEST_IDS: Final = frozenset(
    (b"x-request-id", b"request-id", b"x-amzn-requestid", b"apim-request-id", b"x-tt-logid", b"x-ds-trace-id")
)
_BODY_MOST: Final = 8 * 1024 * 1024


def install() -> None:
    """Put the hooks in place, now or when the libraries are imported."""
    for library in LIBRARIES:
        _hooks.on_import(library, _hook)


def mark(client: Any, made: _hooks.Mark) -> None:
    """Meter this HTTP client's requests to known endpoints."""
    _hooks.mark(client, made)


def _hook(library: Any) -> None:
    tee, async_tee = make_tees(library.SyncByteStream, library.AsyncByteStream)
    _hooks.patch(library.Client, "send", lambda send: _sync_send(send, tee))
    _hooks.patch(library.AsyncClient, "send", lambda send: _async_send(send, async_tee))


def _sync_send(send: Callable[..., Any], tee: type[BodyTee]) -> Callable[..., Any]:
    def metered(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        call, owns = _join(self, request)
        if call is None:
            return send(self, request, *args, **kwargs)
        started = time.time_ns()
        try:
            response = send(self, request, *args, **kwargs)
        except BaseException as error:
            _failed(call, owns, started, error)
            raise
        _answered(call, owns, started, response, kwargs.get("stream", False), tee)
        return response

    return metered


def _async_send(send: Callable[..., Any], tee: type[BodyTee]) -> Callable[..., Any]:
    async def metered(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        call, owns = _join(self, request)
        if call is None:
            return await send(self, request, *args, **kwargs)
        started = time.time_ns()
        try:
            response = await send(self, request, *args, **kwargs)
        except BaseException as error:
            _failed(call, owns, started, error)
            raise
        _answered(call, owns, started, response, kwargs.get("stream", False), tee)
        return response

    return metered


_NOT_OURS: Final = (None, False)


def _join(client: Any, request: Any) -> tuple[OpenCall | None, bool]:
    """The call that this request is an attempt of, and whether it is a call of its own; None: not for us."""
    call = CALL.get()
    if call is None:
        meter = _hooks.meter_for(client)
        # Looked up before any guard is set up: a request to a host not in the map pays for this line only.
        if meter is None or not (meter.watches(request.url.host) or _hooks.mark_of(client) is not None):
            return _NOT_OURS
        with guard("opening a call on the wire"):
            return _open(meter, _hooks.mark_of(client), request), True
        return _NOT_OURS
    with guard("joining a call"):
        if isinstance(call, Group):
            return _in_group(call, client, request)
        if _is_attempt(call, client, request):
            call.request = request
            if call.span_due:
                call.lifecycle.start_span(call)
            return call, False
        meter = _hooks.meter_for(client)
        if meter is not None and meter.watches(request.url.host):
            return _open(meter, _hooks.mark_of(client), request), True
    return _NOT_OURS


def _is_attempt(call: OpenCall, client: Any, request: Any) -> bool:
    # SDKs for a cloud write another path than they are asked for; what their own client posts meanwhile is the call.
    if request.method != "POST":
        return False
    path = call.route.path
    if path is None or request.url.path.endswith(path):
        return True
    return call.sender is not None and call.sender is client


def _in_group(group: Group, client: Any, request: Any) -> tuple[OpenCall | None, bool]:
    call = group.call
    if call is not None and not call.settled:
        if _is_attempt(call, client, request):
            call.request = request
            return call, False
        return _open(group.meter, group.mark, request, any_host=True), True
    group.call = _open(group.meter, group.mark, request, any_host=True)
    return group.call, False


def _open(meter: Tokenmeter, mark: _hooks.Mark | None, request: Any, *, any_host: bool = False) -> OpenCall | None:
    if request.method != "POST":
        return None
    url = request.url
    path = url.path
    route = meter.route(url.host, url.port, "", path, mark, any_host=any_host or (mark is not None and mark.of_sdk))
    if route is None:
        return None
    body = _request_body(request)
    stream = ":stream" in path or (isinstance(body, dict) and bool(body.get("stream")))
    call = meter.open_call(route, _model(body, path), stream=stream, body=body)
    call.request = request
    return call


def _request_body(request: Any) -> object:
    """The JSON body of a request about to be sent; None for an unread stream, which is not ours to read."""
    content = getattr(request, "_content", None)
    if not isinstance(content, bytes) or len(content) > _BODY_MOST:
        return None
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _model(body: object, path: str) -> str | None:
    if isinstance(body, dict) and isinstance(body.get("model"), str):
        return str(body["model"])
    # Gemini, Bedrock and Azure name the model, or the deployment, in the path.
    parts = path.split("/")
    for word in ("models", "model", "deployments"):
        if word in parts[:-1]:
            from urllib.parse import unquote

            return unquote(parts[parts.index(word) + 1]).partition(":generate")[0].partition(":stream")[0] or None
    return None


def _failed(call: OpenCall, owns: bool, started: int, error: BaseException) -> None:
    with guard("noting a failed attempt"):
        reason = "no response: whether the vendor billed it is not known"
        kind = type(error).__qualname__
        call.attempts.append(Attempt(None, kind, started, time.time_ns() - started, None, False, reason))
        call.status_code = None
        if owns:
            call.lifecycle.settle(call, end_of(error), error)


def _answered(call: OpenCall, owns: bool, started: int, response: Any, stream: bool, tee: type[BodyTee]) -> None:
    with guard("noting an attempt"):
        status = call.status_code = response.status_code
        request_id = _request_id(response.headers)
        took = time.time_ns() - started
        if status >= 400:
            reason = f"the vendor answered {status}"
            call.attempts.append(Attempt(status, None, started, took, request_id, False, reason))
            call.reading = None
            if owns:
                call.lifecycle.settle(call, End.ERROR)
            return
        call.attempts.append(Attempt(status, None, started, took, request_id))
        if stream and not response.is_stream_consumed:
            _listen(response, call, tee)
            return
        call.reading = BodyReading(call.route.provider, call.route.api, call.request_model, response.content)
        if owns or _ends_now(call):
            call.lifecycle.settle(call, End.COMPLETE)


def _ends_now(call: OpenCall) -> bool:
    # Another instrumentation's span may end before the SDK's method does; a cost must be on it by then.
    if call.span is None or call.span.telemetry != "enriched" or call.reading is None:
        return False
    usage, _ = call.reading.usage(End.COMPLETE)
    return usage.source is not Source.NONE


def _listen(response: Any, call: OpenCall, tee: type[BodyTee]) -> None:
    headers = response.headers
    kind = headers.get("content-type", "")
    decoder = _decoder(response, headers.get("content-encoding", ""))
    reading: BodyReading | StreamReading
    if kind.startswith("application/json") and not call.stream:
        reading = BodyReading(call.provider, call.api, call.request_model, decoder=decoder)
    else:
        reading = StreamReading(call.provider, call.api, call.request_model, kind, decoder)
    listener = tee()
    listener.listen(response.stream, call, reading)
    response.stream = listener


def _decoder(response: Any, encoding: str) -> Callable[[bytes], bytes] | None:
    """Undo a content encoding piece by piece; the tee sees the bytes as they came over the wire."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return None
    if encoding in ("gzip", "x-gzip"):
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress
    # Brotli and zstd are whatever the HTTP library was installed with; a response of our own gives us its decoder.
    twin = type(response)(200, headers={"content-encoding": encoding})
    decode: Callable[[bytes], bytes] = twin._get_content_decoder().decode
    return decode


def _request_id(headers: Any) -> str | None:
    for name, value in headers.raw:
        if name.lower() in _REQUEST_IDS:
            return str(value.decode("ascii", "replace"))
    return None
