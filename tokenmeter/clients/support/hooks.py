"""Puts hooks into the classes of SDKs and HTTP libraries, once, when they are imported.

Hooks are class-level pass-throughs, put in place once and left there: a class may be wrapped by others later, and
taking a hook out from the middle would take theirs with it. Whether a hook acts is decided per call by
`calls.marks.meter_for`: for every object after `instrument()`, for marked objects after `wrap(object)`.
"""

from __future__ import annotations

import functools
import inspect
import sys
import threading
from collections.abc import Callable
from types import FunctionType
from typing import Any

from tokenmeter._support.guard import guard, logger
from tokenmeter._support.imports import when_imported
from tokenmeter.calls.marks import MARK, Mark, mark, mark_of, meter_for

__all__ = [
    "MARK",
    "Mark",
    "is_unknown",
    "mark",
    "mark_of",
    "meter_for",
    "on_import",
    "patch",
    "patched",
    "unknown_version",
]

_lock = threading.Lock()
_watched: set[tuple[str, str]] = set()
"""A module that has been asked for, with the module of ours that asked."""
_waiting: dict[str, list[Callable[[Any], None]]] = {}
"""The hooks of each module that is not imported to its end yet."""
_unknown: set[str] = set()
_patched: list[tuple[type, str]] = []


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
    """Run `hook(module)` now if it is loaded, else when it will be. Once for a module and the home of the hook."""
    with _lock:
        if (module, hook.__module__) in _watched:
            return
        _watched.add((module, hook.__module__))
        # First those that are waited for: a module that is being imported is in `sys.modules` too, without its classes.
        waiting = _waiting.get(module)
        if waiting is not None:
            waiting.append(hook)
            return
        loaded = sys.modules.get(module)
        if loaded is None:
            _waiting[module] = [hook]
    if loaded is not None:
        _run(hook, loaded)
        return
    when_imported(module, _imported)


def _imported(module: Any) -> None:
    with _lock:
        hooks = _waiting.pop(module.__name__, [])
    for hook in hooks:
        _run(hook, module)


def _run(hook: Callable[[Any], None], module: Any) -> None:
    with guard(f"putting hooks into {module.__name__}"):
        hook(module)
