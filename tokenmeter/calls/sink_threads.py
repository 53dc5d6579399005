"""Recognises calls to a model that a sink makes on a thread of its own, where the context does not say so.

A sink that gives records to a thread and asks a model there would be handed its own question, without end. Such a
thread begins in a method of the sink, or in a function written in one; so does the work that a sink submits to a pool.
A thread that begins in any other function is not recognised: `tokenmeter.carry(function)` gives it the context.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Iterator
from inspect import unwrap
from types import CodeType, FrameType
from typing import Any, Final

__all__ = ["code_of_sinks", "runs_for_a_sink"]

_ENTRY: Final = 8
"""Frames from a thread's begin within which its work begins: of `threading`, of a pool, and of what wraps them."""


def code_of_sinks(sinks: Iterable[object]) -> frozenset[CodeType]:
    """The code of all methods of these sinks, inherited ones of the standard library and of ours left out."""
    return frozenset(code for sink in sinks for function in _functions(sink) for code in _nested(function))


def _functions(sink: object) -> Iterator[Any]:
    yield from getattr(sink, "__dict__", {}).values()
    for owner in type(sink).__mro__:
        if owner.__module__.partition(".")[0] not in sys.stdlib_module_names | {"tokenmeter"}:
            yield from vars(owner).values()


def _nested(function: Any) -> Iterator[CodeType]:
    """A function's code, and that of the functions written in it."""
    function = getattr(function, "__func__", function)  # of a bound, static or class method
    code = getattr(unwrap(function) if callable(function) else None, "__code__", None)
    waiting = [code] if isinstance(code, CodeType) else []
    while waiting:
        found = waiting.pop()
        yield found
        waiting += [one for one in found.co_consts if isinstance(one, CodeType)]


def runs_for_a_sink(codes: frozenset[CodeType]) -> bool:
    """Whether the work of this thread begins in one of these codes. The main thread's never does."""
    if threading.current_thread() is threading.main_thread():
        return False
    stack: list[CodeType] = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        stack.append(frame.f_code)
        frame = frame.f_back
    return any(code in codes for code in stack[-_ENTRY:])
