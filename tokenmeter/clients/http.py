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
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from tokenmeter._context import CALL
from tokenmeter._guard import guard
from tokenmeter.calls import end_of
from tokenmeter.clients import _hooks
from tokenmeter.record import Attempt, End
from tokenmeter.stream import BodyTee, make_tees

if TYPE_CHECKING:
    from tokenmeter.lifecycle import OpenCall
    from tokenmeter.meter import Tokenmeter

__all__ = ["LIBRARIES", "install"]

LIBRARIES: Final = ("httpx", "httpx2")
_REQUEST_IDS: Final = frozenset(
    (b"x-request-id", b"request-id", b"x-amzn-requestid", b"apim-request-id", b"x-tt-logid", b"x-ds-trace-id")
)
_BODY_MOST: Final = 8 * 1024 * 1024


def install() -> None:
    """Put the hooks in place, now or when the libraries are imported."""
    for library in LIBRARIES:
        _hooks.on_import(library, _hook)


def _hook(library: Any) -> None:
    tee, async_tee = make_tees(library.SyncByteStream, library.AsyncByteStream)
    _hooks.patch(library.Client, "send", lambda send: _sync_send(send, tee))
    _hooks.patch(library.AsyncClient, "send", lambda send: _async_send(send, async_tee))


def _sync_send(send: Callable[..., Any], tee: type[BodyTee]) -> Callable[..., Any]:
    def metered(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        attempt = _begin(self, request)
        if attempt is None:
            return send(self, request, *args, **kwargs)
        try:
            response = send(self, request, *args, **kwargs)
        except BaseException as error:
            attempt.failed(error)
            raise
        attempt.answered(response, kwargs.get("stream", False), tee)
        return response

    return metered


def _async_send(send: Callable[..., Any], tee: type[BodyTee]) -> Callable[..., Any]:
    async def metered(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        attempt = _begin(self, request)
        if attempt is None:
            return await send(self, request, *args, **kwargs)
        try:
            response = await send(self, request, *args, **kwargs)
        except BaseException as error:
            attempt.failed(error)
            raise
        attempt.answered(response, kwargs.get("stream", False), tee)
        return response

    return metered


def _begin(client: Any, request: Any) -> _Attempt | None:
    """The attempt that this request is, or None: not for us. Most requests of a program are not."""
    call = CALL.get()
    if call is None:
        meter = _hooks.meter_for(client)
        # Looked up before any guard is set up: a request to a host not in the map pays for this line only.
        if meter is None or not (meter.watches(request.url.host) or _hooks.mark_of(client) is not None):
            return None
        with guard("opening a call on the wire"):
            return _open(meter, client, request)
        return None
    with guard("joining a call"):
        if request.method == "POST" and _same_request(call, request):
            call.request = request
            return _Attempt(call, False)
        meter = _hooks.meter_for(client)
        if meter is not None and meter.watches(request.url.host):
            return _open(meter, client, request)
    return None


def _same_request(call: OpenCall, request: Any) -> bool:
    url = request.url
    if call.path is not None and not url.path.endswith(call.path):
        return False
    if url.host == call.host:
        return True
    if call.attempts:
        return False
    call.host = url.host  # an SDK may choose the host while it builds the request (regions, gateways)
    return True


def _open(meter: Tokenmeter, client: Any, request: Any) -> _Attempt | None:
    if request.method != "POST":
        return None
    url = request.url
    port = url.port
    mark = _hooks.mark_of(client)
    address = meter.address(url.host, port, url.path, any_host=mark is not None and mark.provider is not None)
    if address is None:
        return None
    body = _request_body(request)
    call = meter.open_call(
        address,
        mark=mark,
        model=_model(body, url.path),
        host=url.host,
        port=port,
        path=url.path,
        stream=bool(isinstance(body, dict) and body.get("stream")) or ":stream" in url.path,
        body=body,
    )
    call.request = request
    return _Attempt(call, True)


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


class _Attempt:
    """One request on the wire. `owns` says whether it settles the call, or an SDK call above it does."""

    __slots__ = ("call", "owns", "started", "started_at")

    def __init__(self, call: OpenCall, owns: bool) -> None:
        self.call = call
        self.owns = owns
        self.started_at = time.time()
        self.started = time.perf_counter()

    def failed(self, error: BaseException) -> None:
        with guard("noting a failed attempt"):
            self._note(None, type(error).__qualname__, None, "no response: whether the vendor billed it is not known")
            self.call.status_code = None
            if self.owns:
                self.call.lifecycle.settle(self.call, end_of(error), error)

    def answered(self, response: Any, stream: bool, tee: type[BodyTee]) -> None:
        with guard("noting an attempt"):
            call = self.call
            status = response.status_code
            call.status_code = status
            reason = f"the vendor answered {status}" if status >= 400 else None
            self._note(status, None, _request_id(response.headers), reason)
            if status >= 400:
                call.reading = None
                if self.owns:
                    call.lifecycle.settle(call, End.ERROR)
                return
            if stream and not response.is_stream_consumed:
                _listen(response, call, tee)
            else:
                from tokenmeter._reading import BodyReading

                call.reading = BodyReading(call.provider, call.api, call.model, response.content)
                if self.owns:
                    call.lifecycle.settle(call, End.COMPLETE)

    def _note(self, status: int | None, error: str | None, request_id: str | None, reason: str | None) -> None:
        self.call.attempts.append(
            Attempt(
                status,
                error,
                datetime.fromtimestamp(self.started_at, UTC),
                time.perf_counter() - self.started,
                request_id,
                False,
                reason,
            )
        )


def _listen(response: Any, call: OpenCall, tee: type[BodyTee]) -> None:
    from tokenmeter._reading import BodyReading, StreamReading

    headers = response.headers
    kind = headers.get("content-type", "")
    decoder = _decoder(response, headers.get("content-encoding", ""))
    reading: BodyReading | StreamReading
    if kind.startswith("application/json") and not call.stream:
        reading = BodyReading(call.provider, call.api, call.model, decoder=decoder)
    else:
        reading = StreamReading(call.provider, call.api, call.model, kind, decoder)
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
