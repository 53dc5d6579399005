"""Meter the SDKs that Stainless generates: one `request` method that every call of theirs passes once.

`SyncAPIClient.request` and its async twin are the choke point of openai, anthropic and groq in every major, and of
Volcengine's Ark, which was made from one of them: `create`, `parse`, the stream helpers, raw and streaming responses,
and the module-level client all go through it, also resources made before the hook. Hidden retries happen below it, at
the attempt level (`transport/httpx.py`), which also sees the bodies. A further SDK of this make is a row of `SDKS`.

What this level adds: one call per call, the provider by `base_url`, and, where the provider allows it, the question
for stream usage, whose extra chunk is hidden again from a caller who did not ask.

Clients for a cloud (Bedrock, Vertex) write another path and body than they are given; the call is what was given, so
the provider is told by their host and the wire format by the path they were asked for. Of an SDK that turns out to be
built otherwise the HTTP client is marked instead: its requests are metered one by one.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tokenmeter._support.guard import absorbed, guard
from tokenmeter.calls.budget_gate import admit, admit_async
from tokenmeter.calls.context import CALL
from tokenmeter.calls.marks import instrumented
from tokenmeter.calls.response import BodyReading, ObjectReading
from tokenmeter.clients.support import hide_usage, hooks
from tokenmeter.clients.support.base_urls import address_of
from tokenmeter.clients.support.current_call import CurrentCallBlock
from tokenmeter.clients.support.stream_errors import watching
from tokenmeter.clients.table import SDKS, Stainless
from tokenmeter.clients.transport.tee import call_of_body
from tokenmeter.errors import ConfigurationError
from tokenmeter.record import End
from tokenmeter.wire.request_body import model_of

if TYPE_CHECKING:
    from tokenmeter.calls.opencall import OpenCall

__all__ = ["install", "mark"]


_SDKS: Final = {root: sdk.shape for root, sdk in SDKS.items() if isinstance(sdk.shape, Stainless)}
_OF_CLIENTS: Final = ("with_options", "base_url", "_base_url")


class _Loaded(NamedTuple):
    """An SDK in this process: its row, and the classes of its streams."""

    package: str
    sdk: Stainless
    streams: tuple[type, ...]
    clients: tuple[type | None, type | None] = (None, None)
    """The sync and the async class whose `request` every client inherits."""


_loaded: Final[dict[str, _Loaded]] = {}


def install() -> None:
    """Put the hooks in place, now or when an SDK is imported."""
    hide_usage.install()
    for package in _SDKS:
        hooks.on_import(f"{package}._base_client", _hook)
    for loaded in list(_loaded.values()):
        with guard("putting hooks into classes of clients"):
            _hook_classes(loaded)


def mark(client: object, made: hooks.Mark) -> None:
    """Mark a client, and have `copy()` and `with_options()` give marked clients."""
    if not any(hasattr(client, name) for name in _OF_CLIENTS):
        raise ConfigurationError(
            f"wrap takes a client, not a part of one ({type(client).__qualname__}): wrap the client it belongs to"
        )
    hooks.mark(client, made)
    _mark_copies(client)
    packages = {owner.__module__.partition(".")[0] for owner in type(client).__mro__}
    if any(hooks.is_unknown(package) for package in packages):
        _by_attempts(client)


def _hook(module: Any) -> None:
    package = module.__name__.partition(".")[0]
    classes = (getattr(module, "SyncAPIClient", None), getattr(module, "AsyncAPIClient", None))
    streams = _stream_classes(package)
    loaded = _loaded[package] = _Loaded(package, _SDKS[package], streams, classes)
    for stream in streams:
        hooks.patch(stream, "__stream__", watching(_call_of_stream))
    _hook_classes(loaded)


def _hook_classes(loaded: _Loaded) -> None:
    for owner, wrapped in zip(loaded.clients, (_sync_request, _async_request), strict=True):
        make = functools.partial(wrapped, loaded=loaded)
        if owner is None or not hooks.patch(owner, "request", make):
            hooks.unknown_version(loaded.package, "SyncAPIClient.request")
            continue
        # Another instrumentation may have wrapped the inherited method in a class below before ours was in place, or
        # put the bare one there when it was taken out: that one goes past our hook.
        bare = inspect.unwrap(vars(owner)["request"])
        outside = functools.partial(wrapped, loaded=loaded._replace(sdk=loaded.sdk._replace(own_spans=True)))
        for below in _below(owner):
            method = vars(below).get("request")
            if method is not None and inspect.unwrap(method) is bare:
                hooks.patch(below, "request", outside)


def _call_of_stream(stream: Any) -> OpenCall | None:
    return call_of_body(getattr(stream.response, "stream", None))


def _below(owner: Any) -> Iterator[Any]:
    for below in owner.__subclasses__():
        yield below
        yield from _below(below)


def _stream_classes(package: str) -> tuple[type, ...]:
    """The classes of the streams that usage may be asked for in; none of them in a version we do not know."""
    import importlib

    try:
        module = importlib.import_module(f"{package}._streaming")
    except ImportError:
        return ()
    return tuple(getattr(module, name) for name in ("Stream", "AsyncStream") if hasattr(module, name))


def _by_attempts(client: Any) -> None:
    """Leave a marked client's calls to the attempt level."""
    made = hooks.mark_of(client)
    http = getattr(client, "_client", None)
    if made is not None and http is not None:
        hooks.mark(http, made.for_sdk())


def _mark_copies(client: object) -> None:
    for owner in type(client).__mro__:
        for name in ("copy", "with_options"):
            if name in vars(owner) and not owner.__module__.startswith("builtins"):
                hooks.patch(owner, name, _marking)


def _marking(method: Callable[..., Any]) -> Callable[..., Any]:
    def marked(self: Any, *args: Any, **kwargs: Any) -> Any:
        made = method(self, *args, **kwargs)
        with guard("marking a copied client"):
            mark = hooks.mark_of(self)
            if mark is not None and made is not self:
                hooks.mark(made, mark)
        return made

    return marked


def _sync_request(request: Callable[..., Any], loaded: _Loaded) -> Callable[..., Any]:
    def metered(self: Any, cast_to: Any, options: Any, *args: Any, **kwargs: Any) -> Any:
        call = hidden = None
        try:
            call, options, hidden = _open(self, options, kwargs, loaded)
        except BaseException as error:
            if not absorbed("opening a call", error):
                raise
        if call is None:
            return request(self, cast_to, options, *args, **kwargs)
        if call.budget is not None:
            admit(call)
        with CurrentCallBlock(call):
            result = request(self, cast_to, options, *args, **kwargs)
        try:
            _answered(call, result, hidden)
        except BaseException as error:
            if not absorbed("following an answer", error):
                raise
        return result

    return metered


def _async_request(request: Callable[..., Any], loaded: _Loaded) -> Callable[..., Any]:
    async def metered(self: Any, cast_to: Any, options: Any, *args: Any, **kwargs: Any) -> Any:
        call = hidden = None
        try:
            call, options, hidden = _open(self, options, kwargs, loaded)
        except BaseException as error:
            if not absorbed("opening a call", error):
                raise
        if call is None:
            return await request(self, cast_to, options, *args, **kwargs)
        if call.budget is not None:
            await admit_async(call)
        with CurrentCallBlock(call):
            result = await request(self, cast_to, options, *args, **kwargs)
        try:
            _answered(call, result, hidden)
        except BaseException as error:
            if not absorbed("following an answer", error):
                raise
        return result

    return metered


def _open(client: Any, options: Any, kwargs: Mapping[str, Any], loaded: _Loaded) -> tuple[OpenCall | None, Any, bool]:
    """The call that this request is (None: not ours), the options to send, and whether a chunk must be hidden."""
    found = hooks.mark_of(client)
    meter = found.meter if found is not None else instrumented()
    if meter is None:
        return None, options, False
    sdk = loaded.sdk
    try:
        method, url, body = options.method, options.url, getattr(options, sdk.body)
        address = address_of(client, sdk.address)
    except AttributeError as missing:
        hooks.unknown_version(loaded.package, missing.name or "request options")
        _by_attempts(client)
        return None, options, False
    if method != "post" and (method := method.lower()) != "post":
        # The HTTP client of a marked client is not marked itself: this is where its downloads are known.
        if method == "get" and found is not None:
            from tokenmeter.clients.support.batches import download_of

            return download_of(meter, found, address.host, address.port, url), options, False
        return None, options, False
    open_call = CALL.get()
    if open_call is not None and not open_call.sent and open_call.client == id(client):
        return None, options, False  # the SDK calls itself for the same request
    route = address.route(meter, found, url, getattr(client, "_custom_query", None))
    if route is None:
        return None, options, False
    extra = getattr(options, sdk.extra, None)
    merged = {**body, **extra} if isinstance(extra, dict) and isinstance(body, dict) else body
    stream = bool(kwargs.get("stream"))
    model = merged.get("model") if type(merged) is dict else None
    if type(model) is not str or not model:
        model = model_of(merged)
    call = meter.open_call(route, model, stream=stream, body=merged, span_later=sdk.own_spans)
    call.client = id(client)
    call.sender = id(getattr(client, "_client", None))
    if stream and route.asks:
        with guard("asking for stream usage"):
            if hide_usage.can_hide(options, kwargs, loaded.streams):
                return call, *hide_usage.ask_usage(options, sdk.body, body, extra)
    return call, options, False


def _answered(call: OpenCall, result: Any, hidden: bool | None) -> None:
    if hidden:
        hide_usage.hide_usage(result, nulls=call.route.asks_null)
    if call.streaming or call.settled:
        return
    reading = call.reading
    if type(reading) is BodyReading:
        reading.note_parsed(result)
    elif reading is None and not call.attempts:
        # A transport that we do not see: what the SDK made of the answer is the next best thing.
        call.reading = ObjectReading(result, call.provider, call.api, call.request_model)
    call.lifecycle.settle(call, End.COMPLETE)
