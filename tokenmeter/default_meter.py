"""The meter behind the functions of the package, made from the environment on first use, replaced by `configure`."""

from __future__ import annotations

import threading
from typing import Any

from tokenmeter.calls import marks
from tokenmeter.meter import Tokenmeter

__all__ = ["configure", "default", "is_configured"]

_default: Tokenmeter | None = None
_lock = threading.RLock()


def default() -> Tokenmeter:
    """The `Tokenmeter` that the functions of the package use; made from the environment on first use."""
    meter = _default
    if meter is not None:
        return meter
    with _lock:
        return _default if _default is not None else _make({})


marks.set_default(default)


def is_configured() -> bool:
    """Whether there is a default meter yet."""
    return _default is not None


def configure(**settings: Any) -> Tokenmeter:
    """Replace the default `Tokenmeter`; arguments are those of `Tokenmeter`. The one before is flushed first.

    Calls still open settle into the new one.
    """
    return _make(settings)


def _make(settings: dict[str, Any]) -> Tokenmeter:
    global _default
    with _lock:
        before = _default
        made = Tokenmeter(**settings)
        made.is_default = True
        _default = made
        if before is not None:
            before.is_default = False
    if before is not None:
        before.hand_over(made)
    return made
