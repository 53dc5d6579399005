"""Tells the host program's exceptions from failures of our own code.

Code of ours runs between two bytecodes of the host, so an exception that passes through our frames need not be a
failure of ours: a signal handler may have raised it (Celery's soft time limit does), or a scheduler of greenlets may
have thrown it in at a switch. Such an exception belongs to the host and must reach it. Exceptions of other threads'
making (`PyThreadState_SetAsyncExc`) leave no trace in the frames; of those, the ones that derive from `Exception` are
not recognised.
"""

from __future__ import annotations

from collections.abc import Iterator
from inspect import CO_VARARGS
from types import FrameType, TracebackType
from typing import Final

__all__ = ["is_of_host"]

_PANIC: Final = ("pyo3_runtime", "PanicException")
_COUNTING: Final = ("tokenmeter", "tiktoken", "tokenizers", "transformers")
"""Packages whose native code we call: a panic that rose below another package's frame is not ours to stop."""
_SCHEDULERS: Final = ("gevent", "eventlet", "greenlet")


def is_of_host(error: BaseException) -> bool:
    """Whether an exception that passed through our frames is the host's.

    Everything outside `Exception` is (KeyboardInterrupt, SystemExit, GeneratorExit, asyncio's and trio's Cancelled,
    gevent's Timeout and GreenletExit …) but for a native panic that rose in a tokenizer. Of `Exception`s, those
    that a signal handler raised and those that a scheduler of greenlets threw in.
    """
    frames = list(_frames(error.__traceback__))
    if not isinstance(error, Exception):
        kind = type(error)
        return (kind.__module__, kind.__name__) != _PANIC or not (frames and _package(frames[-1]) in _COUNTING)
    return any(map(_is_signal_handler, frames)) or bool(frames and _is_switch(frames[-1]))


def _frames(traceback: TracebackType | None) -> Iterator[FrameType]:
    while traceback is not None:
        yield traceback.tb_frame
        traceback = traceback.tb_next


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _is_signal_handler(frame: FrameType) -> bool:
    """Whether Python called this frame with the frame that it interrupted: handlers get (signal number, frame)."""
    interrupted = frame.f_back
    if interrupted is None:
        return False
    for value in _arguments(frame):
        if value is interrupted or (isinstance(value, tuple) and any(one is interrupted for one in value)):
            return True
    return False


def _arguments(frame: FrameType) -> Iterator[object]:
    code = frame.f_code
    count = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & CO_VARARGS)
    return (frame.f_locals.get(name) for name in code.co_varnames[:count])


def _is_switch(frame: FrameType) -> bool:
    return _package(frame) in _SCHEDULERS and frame.f_code.co_name.endswith(("switch", "throw"))
