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


def configure(*, replace: bool = False, **settings: Any) -> Tokenmeter:
    """Change settings of the default `Tokenmeter`; arguments are those of `Tokenmeter`.

    What is not named stays as earlier calls have set it, an open ledger included; None sets a setting back to its
    variable or default. With `replace` all others are set back. A new meter takes the place of the one before: calls
    still open and sinks added by `add_sink` go over to it.
    """
    return _make(settings, replace=replace)


def _make(settings: dict[str, Any], *, replace: bool = False) -> Tokenmeter:
    global _default
    with _lock:
        before = _default
        made = Tokenmeter.in_place_of(
            before, {**({} if before is None or replace else before.given), **settings}, afresh=replace
        )
        made.is_default = True
        _default = made
        if before is not None:
            before.is_default = False
    if before is not None:
        before.hand_over(made)
    return made
