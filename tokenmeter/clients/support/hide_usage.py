"""Requests the usage of streams, and hides its chunk from callers who did not request it.

A provider that is asked for stream usage sends one chunk more, and some put `usage: null` into every other chunk. The
first is passed over; the second is unsaid, since an SDK's model remembers which fields were set and would write it
out again. Both happen in the SDK's own iterator: its stream object stays what it is.

A raw response gives the caller the bytes, in which nothing could be hidden, so none is asked for usage. litellm takes
raw responses for their headers alone and reads all its streams by `parse()`: there it can be hidden after all.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from itertools import filterfalse
from typing import Any, Final

from tokenmeter._support.guard import guard
from tokenmeter.clients.support import hooks

__all__ = ["ask_usage", "can_hide", "hide_usage", "install"]

_PARSES: Final[ContextVar[bool]] = ContextVar("tokenmeter.parses", default=False)
_HIDES: Final = "_tokenmeter_hides"
_RAW_HEADER: Final = "X-Stainless-Raw-Response"
_HEAD: Final = {"id", "object", "created", "model", "choices", "usage", "system_fingerprint", "service_tier"}
"""Fields that every chunk has, and usage."""
_raw_classes: Final[set[type]] = set()
_PARSING: Final = (
    ("make_sync_openai_chat_completion_request", False),
    ("make_openai_chat_completion_request", True),
)


def install() -> None:
    """Tell litellm's raw responses from others, now or when it is imported."""
    hooks.on_import("openai._legacy_response", _hook_raw)
    hooks.on_import("litellm.llms.openai.openai", _hook_litellm)


def _raw_is_parsed() -> bool:
    """Whether a raw response that is asked for here will be read by `parse()` only, where usage can be hidden."""
    return _PARSES.get() and bool(_raw_classes)


def _hook_raw(module: Any) -> None:
    owner = getattr(module, "LegacyAPIResponse", None)
    if owner is not None and hooks.patch(owner, "parse", _hiding_parse):
        _raw_classes.add(owner)


def _hiding_parse(parse: Callable[..., Any]) -> Callable[..., Any]:
    def parsed(self: Any, *args: Any, **kwargs: Any) -> Any:
        stream = parse(self, *args, **kwargs)
        nulls = self.__dict__.get(_HIDES)
        if nulls is not None:
            with guard("hiding usage that was asked for"):
                inner = getattr(stream, "_iterator", None)
                # A second `parse` gives the same stream.
                if inner is not None and not isinstance(inner, _HiddenUsage | _AsyncHiddenUsage):
                    hide_usage(stream, nulls=nulls)
        return stream

    return parsed


def _hook_litellm(module: Any) -> None:
    owner = getattr(module, "OpenAIChatCompletion", None)
    for name, is_async in _PARSING:
        if owner is not None:  # one that is built otherwise is not asked, and its streams are counted
            hooks.patch(owner, name, _async_parsing if is_async else _parsing)


def _parsing(method: Callable[..., Any]) -> Callable[..., Any]:
    def parsing(self: Any, *args: Any, **kwargs: Any) -> Any:
        before = _PARSES.get()
        _PARSES.set(True)
        try:
            return method(self, *args, **kwargs)
        finally:
            _PARSES.set(before)

    return parsing


def _async_parsing(method: Callable[..., Any]) -> Callable[..., Any]:
    async def parsing(self: Any, *args: Any, **kwargs: Any) -> Any:
        before = _PARSES.get()
        _PARSES.set(True)
        try:
            return await method(self, *args, **kwargs)
        finally:
            _PARSES.set(before)

    return parsing


def can_hide(options: Any, kwargs: Mapping[str, Any], streams: tuple[type, ...]) -> bool:
    """Whether the answer to a request will be one of these classes of streams, in which a chunk can be hidden."""
    headers = options.headers
    raw = isinstance(headers, Mapping) and any(name.lower() == _RAW_HEADER.lower() for name in headers)
    if raw and not _raw_is_parsed():
        return False
    made = kwargs.get("stream_cls")
    origin = getattr(made, "__origin__", made)
    return isinstance(origin, type) and issubclass(origin, streams)


def ask_usage(options: Any, name: str, body: object, extra: object) -> tuple[Any, bool]:
    """A copy of the options that asks for usage, unless the caller already said something about it."""
    if not isinstance(body, dict) or (isinstance(extra, dict) and "stream_options" in extra):
        return options, False
    said = body.get("stream_options")
    if said is not None and (not isinstance(said, Mapping) or "include_usage" in said):
        return options, False
    asked = copy.copy(options)
    setattr(asked, name, {**body, "stream_options": {**(said or {}), "include_usage": True}})
    return asked, True


def hide_usage(stream: Any, *, nulls: bool) -> None:
    """Hide the usage that this SDK stream was asked for; `nulls`: also what asking put into the other chunks."""
    if type(stream) in _raw_classes:
        stream.__dict__[_HIDES] = nulls
        return
    inner = stream._iterator
    stream._iterator = _AsyncHiddenUsage(inner, nulls) if hasattr(inner, "__anext__") else _HiddenUsage(inner, nulls)


def _is_only_usage(*, nulls: bool) -> Callable[[Any], bool]:
    """What tells the chunks that are only there because usage was asked for. Called for every chunk, in order.

    With `nulls` it takes the null usage out of the others that it is asked about, if the first one has it: a server
    that begins without puts a null in for a reason of its own.
    """
    last: Any = None
    is_first = True

    def only_usage(chunk: Any) -> bool:
        nonlocal last, nulls, is_first
        if is_first:
            is_first = False
            nulls = nulls and "usage" in _fields_set(chunk)
        try:  # of pydantic 2, with text: nearly every chunk
            if chunk.choices:
                last = chunk
                if nulls and chunk.usage is None:
                    chunk.__pydantic_fields_set__.discard("usage")
                return False
        except AttributeError:
            pass
        choices = getattr(chunk, "choices", None)
        hidden = False
        if choices:
            last = chunk
        elif choices is not None:
            hidden = getattr(chunk, "usage", None) is not None or _is_null_usage(chunk, last)
        if nulls and not hidden and getattr(chunk, "usage", None) is None:
            _fields_set(chunk).discard("usage")
        return hidden

    return only_usage


def _is_null_usage(chunk: Any, last: Any) -> bool:
    """Whether a chunk without choices or usage is the usage chunk: after the finish, some gateways send it as null."""
    said = _fields_set(chunk)
    return "usage" in said and said <= _HEAD and not getattr(chunk, "model_extra", None) and _finishes(last)


def _finishes(chunk: Any) -> bool:
    return any(getattr(choice, "finish_reason", None) for choice in getattr(chunk, "choices", None) or ())


def _fields_set(chunk: Any) -> set[str]:
    # pydantic 2, then 1
    fields = getattr(chunk, "__pydantic_fields_set__", None) or getattr(chunk, "__fields_set__", None)
    return fields if isinstance(fields, set) else set()


class _HiddenUsage:
    """The SDK's own iterator, without what only we asked for."""

    # No generator: it would add a finalizer, and with it another moment at which a dropped stream ends.
    __slots__ = ("_inner", "_shown")

    def __init__(self, inner: Any, nulls: bool) -> None:
        self._inner = inner
        self._shown: Iterator[Any] = filterfalse(_is_only_usage(nulls=nulls), inner)

    def __iter__(self) -> Iterator[Any]:
        return self._shown  # a `for` loop then runs one function of ours per chunk

    def __next__(self) -> Any:
        return next(self._shown)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _AsyncHiddenUsage:
    """The same for an async stream."""

    __slots__ = ("_inner", "_only_usage")

    def __init__(self, inner: Any, nulls: bool) -> None:
        self._inner = inner
        self._only_usage = _is_only_usage(nulls=nulls)

    def __aiter__(self) -> _AsyncHiddenUsage:
        return self

    async def __anext__(self) -> Any:
        chunk = await self._inner.__anext__()
        while self._only_usage(chunk):
            chunk = await self._inner.__anext__()
        return chunk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)
