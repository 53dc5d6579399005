"""What is current in this context: the scope, the tags, the hand-made call, and the SDK call that is being sent.

A variable is put back only where ours is still the current value, by setting the previous one: a generator or task
may leave a block in another context than it entered it, where resetting by token would raise and restoring blindly
would overwrite the value of others.
"""

from __future__ import annotations

import contextvars
import functools
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from tokenmeter._support.arguments import check_callable
from tokenmeter._support.bounded import short_name
from tokenmeter._support.empty import EMPTY
from tokenmeter.errors import ConfigurationError

if TYPE_CHECKING:
    from tokenmeter.calls.opencall import OpenCall, ScopeNode
    from tokenmeter.calls.protocols import CurrentCall

__all__ = ["CALL", "HAND", "HANDING_ON", "OPEN_SCOPES", "SCOPE", "TAGS", "carry", "clean_tags", "handing_on", "leave"]

_T = TypeVar("_T")
_P = ParamSpec("_P")
_R = TypeVar("_R")

SCOPE: Final[ContextVar[ScopeNode | None]] = ContextVar("tokenmeter.scope", default=None)
"""A `calls.scope.Scope`."""
TAGS: Final[ContextVar[Mapping[str, str]]] = ContextVar("tokenmeter.tags", default=EMPTY)
HAND: Final[ContextVar[OpenCall | None]] = ContextVar("tokenmeter.hand_made_call", default=None)
CALL: Final[ContextVar[CurrentCall | None]] = ContextVar("tokenmeter.call", default=None)
OPEN_SCOPES: Final[set[int]] = set()
"""ids of the scopes whose blocks are open, in any thread."""
HANDING_ON: Final[ContextVar[str | None]] = ContextVar("tokenmeter.handing_on", default=None)
"""What of the program's own a call to a model is being handed to or asked for: a "sink", a "span", the "clock"."""


class handing_on:  # reads as a statement: `with handing_on("sink"):`
    """Calls to a model made in this block are summed, and not handed to the program's sinks or spans again.

    A sink that asks a model would else be handed its own question, without end.
    """

    __slots__ = ("_before", "_to")

    def __init__(self, to: str) -> None:
        self._to = to

    def __enter__(self) -> None:
        self._before = HANDING_ON.get()
        HANDING_ON.set(self._to if self._before in (None, "sink") or self._to == "clock" else "span")

    def __exit__(self, *raised: object) -> None:
        HANDING_ON.set(self._before)


def leave(variable: ContextVar[_T], ours: object, previous: _T) -> None:
    """Put `previous` back if `ours` is still the current value."""
    if variable.get() is ours:
        variable.set(previous)


def clean_tags(tags: Mapping[str, Any]) -> dict[str, str]:
    """Tags as text of 256 characters at most; None means "no such tag".

    Raises ConfigurationError for a value that is not a plain one.
    """
    clean: dict[str, str] = {}
    for name, value in tags.items():
        if value is None:
            continue
        if isinstance(value, bool):
            clean[name] = "true" if value else "false"
        elif isinstance(value, str | int | float):
            clean[short_name(name)] = short_name(str(value))
        else:
            raise ConfigurationError(f"tag {name}={value!r}: a tag is text, a number or a boolean")
    return clean


def carry(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """The same function, run in the scope and tags of this moment, in whatever thread it is called.

    `pool.submit(tokenmeter.carry(work), item)`: thread pools start their threads without the caller's context.
    Each call runs in a copy of its own, so one function may be carried to many threads.
    """
    check_callable(function, "function", "a function, as in pool.submit(tokenmeter.carry(work), item)")
    context = contextvars.copy_context()

    @functools.wraps(function)
    def carried(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        return context.copy().run(function, *args, **kwargs)

    return carried
