"""Where hooks live and for whom they act.

Hooks are class-level pass-throughs, put in place once and left there: a class may be wrapped by others after us, and
taking ours out from the middle would take theirs with it. Whether a hook acts is decided per call: for every object
after `instrument()`, for marked objects after `wrap(object)`.

A mark is a small attribute of the instance, so it goes where the instance's `__dict__` goes: `copy.copy`, pickling.
A bound method stored on the instance would not: a copy with a changed key would send the old one.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
import threading
from collections.abc import Callable
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final

from tokenmeter._support.guard import guard, logger

if TYPE_CHECKING:
    from tokenmeter.meter import Tokenmeter

__all__ = ["MARK", "Mark", "mark", "meter_for", "on_import", "patch", "patched", "set_instrumented", "unknown_version"]

MARK: Final = "_tokenmeter_mark"


def _load_default() -> Tokenmeter:
    importlib.import_module("tokenmeter.default_meter")  # which puts its own function here
    return default_meter()


_instrumented: Tokenmeter | None = None
default_meter: Callable[[], Tokenmeter] = _load_default
"""Set by `tokenmeter.default_meter`: the process's default meter, looked up anew since `configure` replaces it."""
_lock = threading.Lock()
_watched: set[str] = set()
_unknown: set[str] = set()
_patched: list[tuple[type, str]] = []


class Mark:
    """Says which meter an object belongs to, and what the user said about the object."""

    __slots__ = ("_meter", "of_sdk", "provider", "region")

    def __init__(
        self,
        meter: Tokenmeter | None,
        provider: str | None = None,
        region: str | None = None,
        *,
        of_sdk: bool = False,
    ) -> None:
        self._meter = meter
        self.provider = provider
        self.region = region
        self.of_sdk = of_sdk
        """The marked object is an SDK's: what it posts to a host not in the map is told by its path."""

    def for_sdk(self) -> Mark:
        """The same mark for a part of an SDK's client."""
        return Mark(self._meter, self.provider, self.region, of_sdk=True)

    @property
    def meter(self) -> Tokenmeter:
        return self._meter if self._meter is not None else default_meter()

    def __reduce__(self) -> tuple[Any, ...]:
        # A meter does not travel: in another process the object belongs to that process's default meter. Nor does a
        # class of ours: what was pickled here may be read where tokenmeter is not installed.
        return (tuple, ((self.provider, self.region, self.of_sdk),))

    def __deepcopy__(self, memo: object) -> Mark:
        return self


def set_instrumented(meter: Tokenmeter | None) -> Tokenmeter | None:
    """Make hooks act for every object, for this meter; None stops that. Returns the one before."""
    global _instrumented
    with _lock:
        before, _instrumented = _instrumented, meter
    return before


def instrumented() -> Tokenmeter | None:
    return _instrumented


def mark_of(thing: object) -> Mark | None:
    try:
        found = thing.__dict__.get(MARK)
    except AttributeError:  # an object with slots only: it cannot be marked
        return None
    if found is None or isinstance(found, Mark):
        return found
    provider, region, of_sdk = found  # it comes out of a pickle
    made = Mark(None, provider, region, of_sdk=of_sdk)
    mark(thing, made)
    return made


def meter_for(thing: object) -> Tokenmeter | None:
    """The meter that calls of this object belong to; None: leave them alone."""
    found = mark_of(thing)
    if found is None:
        return _instrumented
    with guard("finding the meter of a client"):  # a client from another process may be the first to ask for one here
        return found.meter
    return None


def mark(thing: object, made: Mark) -> None:
    thing.__dict__[MARK] = made


def patch(owner: type, name: str, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> bool:
    """Replace a method by `make(method)`, once; whether it is in place now."""
    with _lock:
        found = inspect.getattr_static(owner, name, None)
        if found is None:
            return False
        if getattr(found, "__tokenmeter__", False):
            return True
        method = found.__func__ if isinstance(found, classmethod) else found
        replacement: Any = functools.wraps(method)(make(_as_function(method)))
        if isinstance(found, classmethod):
            replacement = classmethod(replacement)
        replacement.__tokenmeter__ = True
        setattr(owner, name, replacement)
        _patched.append((owner, name))
        return True


def patched(package: str) -> list[str]:
    """The methods of a package that carry a hook of ours now, as `Class.method`."""
    return sorted(
        f"{owner.__name__}.{name}"
        for owner, name in _patched
        if f"{owner.__module__}.".startswith(f"{package}.")
        and getattr(inspect.getattr_static(owner, name, None), "__tokenmeter__", False)
    )


def _as_function(method: Any) -> Callable[..., Any]:
    """A method to be called as `method(self, ...)`: wrappers of other libraries know the instance by binding only."""
    if type(method) is FunctionType:  # exactly: those wrappers pretend to be functions
        return method
    return lambda self, *args, **kwargs: method.__get__(self, type(self))(*args, **kwargs)


def unknown_version(package: str, missing: str, *, by_requests: bool = True) -> None:
    """Say, once for each SDK, that it is not built as we know it; `by_requests`: a layer below it still is."""
    if package in _unknown:
        return
    _unknown.add(package)
    logger.warning(
        "this version of %s has no %s as tokenmeter knows it: %s",
        package,
        missing,
        "its calls are metered by their HTTP requests, so an attempt that the SDK repeats counts as a call of its own"
        if by_requests
        else "what is sent through it is not metered; tokenmeter.call(provider=..., model=...) meters a call by hand",
    )


def is_unknown(package: str) -> bool:
    """Whether an SDK turned out to be built otherwise than we know it."""
    return package in _unknown


def on_import(module: str, hook: Callable[[Any], None]) -> None:
    """Run `hook(module)` now if it is loaded, else when it will be. Each module once."""
    with _lock:
        if module in _watched:
            return
        _watched.add(module)

    def guarded(loaded: Any) -> None:
        with guard(f"putting hooks into {module}"):
            hook(loaded)

    if module in sys.modules:
        guarded(sys.modules[module])
        return
    import wrapt

    wrapt.register_post_import_hook(guarded, module)
