"""Meter the SDKs that Stainless generates: one `request` method that every call of theirs passes once.

`SyncAPIClient.request` and its async twin are the choke point of openai 1.26 to 3.x (and of anthropic, groq and ark,
which have a file of their own here only if they differ): `create`, `parse`, the stream helpers, raw and streaming
responses, and the module-level client all go through it, also resources made before the hook. Hidden retries happen
below it, at the attempt level (`http.py`), which also sees the bodies.

What this level adds: one call per call, the provider by `base_url`, and, where the provider allows it, the question
for stream usage, whose extra chunk is hidden again from a caller who did not ask.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tokenmeter._context import CALL, leave
from tokenmeter._guard import guard
from tokenmeter.calls import end_of
from tokenmeter.clients import _hooks
from tokenmeter.record import End

if TYPE_CHECKING:
    from tokenmeter.lifecycle import OpenCall

__all__ = ["SDKS", "install", "mark_copies"]

SDKS: Mapping[str, tuple[str, ...]] = {"openai": ("_client", "lib.azure")}
"""Package: the modules whose client classes have a `copy` of their own."""

_RAW_HEADER = "X-Stainless-Raw-Response"


def install() -> None:
    """Put the hooks in place, now or when an SDK is imported."""
    for package in SDKS:
        _hooks.on_import(f"{package}._base_client", _hook)


def _hook(module: Any) -> None:
    package = module.__name__.partition(".")[0]
    streams = _stream_classes(package)
    _hooks.patch(module.SyncAPIClient, "request", lambda request: _sync_request(request, streams))
    _hooks.patch(module.AsyncAPIClient, "request", lambda request: _async_request(request, streams))


def _stream_classes(package: str) -> tuple[type, ...]:
    import importlib

    module = importlib.import_module(f"{package}._streaming")
    return (module.Stream, module.AsyncStream)


def mark_copies(client: object) -> None:
    """Make `copy()` and `with_options()` of a marked client give a marked client."""
    for owner in type(client).__mro__:
        for name in ("copy", "with_options"):
            if name in vars(owner) and not owner.__module__.startswith("builtins"):
                _hooks.patch(owner, name, _marking)


def _marking(method: Callable[..., Any]) -> Callable[..., Any]:
    def marked(self: Any, *args: Any, **kwargs: Any) -> Any:
        made = method(self, *args, **kwargs)
        with guard("marking a copied client"):
            mark = _hooks.mark_of(self)
            if mark is not None and made is not self:
                _hooks.mark(made, mark)
        return made

    return marked


def _sync_request(request: Callable[..., Any], streams: tuple[type, ...]) -> Callable[..., Any]:
    def metered(self: Any, cast_to: Any, options: Any, *args: Any, **kwargs: Any) -> Any:
        call = hidden = None
        with guard("opening a call"):
            call, options, hidden = _open(self, options, kwargs, streams)
        if call is None:
            return request(self, cast_to, options, *args, **kwargs)
        before = _enter(call)
        try:
            result = request(self, cast_to, options, *args, **kwargs)
        except BaseException as error:
            _leave(call, before)
            call.lifecycle.settle(call, end_of(error), error)
            raise
        _leave(call, before)
        with guard("following an answer"):
            _answered(call, result, hidden)
        return result

    return metered


def _async_request(request: Callable[..., Any], streams: tuple[type, ...]) -> Callable[..., Any]:
    async def metered(self: Any, cast_to: Any, options: Any, *args: Any, **kwargs: Any) -> Any:
        call = hidden = None
        with guard("opening a call"):
            call, options, hidden = _open(self, options, kwargs, streams)
        if call is None:
            return await request(self, cast_to, options, *args, **kwargs)
        before = _enter(call)
        try:
            result = await request(self, cast_to, options, *args, **kwargs)
        except BaseException as error:
            _leave(call, before)
            call.lifecycle.settle(call, end_of(error), error)
            raise
        _leave(call, before)
        with guard("following an answer"):
            _answered(call, result, hidden)
        return result

    return metered


def _enter(call: OpenCall) -> OpenCall | None:
    before = CALL.get()
    CALL.set(call)
    if call.span is not None:
        with guard("attaching a span"):
            call.span.attach()
    return before


def _leave(call: OpenCall, before: OpenCall | None) -> None:
    leave(CALL, call, before)
    if call.span is not None:
        with guard("detaching a span"):
            call.span.detach()


def _open(
    client: Any, options: Any, kwargs: Mapping[str, Any], streams: tuple[type, ...]
) -> tuple[OpenCall | None, Any, bool]:
    """The call that this request is (None: not ours), the options to send, and whether a chunk must be hidden."""
    meter = _hooks.meter_for(client)
    if meter is None or options.method.lower() != "post":
        return None, options, False
    open_call = CALL.get()
    if open_call is not None and open_call.client == id(client):
        return None, options, False  # the SDK calls itself for the same request
    host, port, base = _address(client.base_url)
    query = _query(client)
    route = meter.route(host, port, base, options.url, _hooks.mark_of(client), query=query, any_host=True)
    if route is None:
        return None, options, False
    body = options.json_data
    extra = getattr(options, "extra_json", None)
    merged = {**body, **extra} if isinstance(extra, dict) and isinstance(body, dict) else body
    stream = bool(kwargs.get("stream"))
    call = meter.open_call(route, _text(merged, "model"), stream=stream, body=merged)
    call.client = id(client)
    if stream and route.asks:
        with guard("asking for stream usage"):
            if _can_hide(options, kwargs, streams):
                return call, *_ask_usage(options, body, extra)
    return call, options, False


_addresses: dict[int, tuple[Any, str, int | None, str]] = {}
_ADDRESSES_MOST = 256


def _address(url: Any) -> tuple[str, int | None, str]:
    """Host, port and path of a client's base URL, remembered by the URL object, which is kept so its id stays its."""
    found = _addresses.get(id(url))
    if found is None or found[0] is not url:
        found = (url, url.host, url.port, url.path.rstrip("/"))
        if len(_addresses) >= _ADDRESSES_MOST:
            _addresses.clear()
        _addresses[id(url)] = found
    return found[1], found[2], found[3]


def _query(client: Any) -> str:
    """The API version that a client puts into every query, since what may be asked for depends on it."""
    every = getattr(client, "_custom_query", None)
    version = every.get("api-version") if isinstance(every, Mapping) and every else None
    return f"?api-version={version}" if isinstance(version, str) else ""


def _text(body: object, name: str) -> str | None:
    value = body.get(name) if isinstance(body, dict) else None
    return value if isinstance(value, str) else None


def _can_hide(options: Any, kwargs: Mapping[str, Any], streams: tuple[type, ...]) -> bool:
    # A raw or streaming response gives the caller the bytes: an extra chunk in them could not be taken out.
    headers = options.headers
    if isinstance(headers, Mapping) and any(name.lower() == _RAW_HEADER.lower() for name in headers):
        return False
    made = kwargs.get("stream_cls")
    origin = getattr(made, "__origin__", made)
    return isinstance(origin, type) and issubclass(origin, streams)


def _ask_usage(options: Any, body: object, extra: object) -> tuple[Any, bool]:
    """A copy of the options that asks for usage, unless the caller already said something about it."""
    if not isinstance(body, dict) or (isinstance(extra, dict) and "stream_options" in extra):
        return options, False
    said = body.get("stream_options")
    if said is not None and (not isinstance(said, Mapping) or "include_usage" in said):
        return options, False
    asked = copy.copy(options)
    asked.json_data = {**body, "stream_options": {**(said or {}), "include_usage": True}}
    return asked, True


def _answered(call: OpenCall, result: Any, hidden: bool | None) -> None:
    if call.streaming:
        if hidden:
            _hide_usage(result)
        return
    if call.settled:
        return
    if call.reading is None and not call.attempts:
        # A transport that we do not see: what the SDK made of the answer is the next best thing.
        from tokenmeter._reading import ObjectReading

        call.reading = ObjectReading(result, call.provider, call.api, call.request_model)
    call.lifecycle.settle(call, End.COMPLETE)


def _hide_usage(stream: Any) -> None:
    inner = stream._iterator
    stream._iterator = _HidingAsync(inner) if hasattr(inner, "__anext__") else _Hiding(inner)


def _only_usage(chunk: Any) -> bool:
    return getattr(chunk, "usage", None) is not None and getattr(chunk, "choices", None) == []


class _Hiding:
    """The SDK's own iterator, without the chunk that only we asked for."""

    # No generator: it would add a finalizer, and with it another moment at which a dropped stream ends.
    __slots__ = ("_inner",)

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __iter__(self) -> _Hiding:
        return self

    def __next__(self) -> Any:
        chunk = next(self._inner)
        while _only_usage(chunk):
            chunk = next(self._inner)
        return chunk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _HidingAsync:
    """The same for an async stream."""

    __slots__ = ("_inner",)

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __aiter__(self) -> _HidingAsync:
        return self

    async def __anext__(self) -> Any:
        chunk = await self._inner.__anext__()
        while _only_usage(chunk):
            chunk = await self._inner.__anext__()
        return chunk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)
