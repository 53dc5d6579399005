"""Makes a call current while an SDK's method runs, and settles it if the method raises.

    with CurrentCallBlock(call):
        result = method(self, *args, **kwargs)

An exception of the method's settles the call and goes on to the caller as it is. What an answer means is the hook's.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from tokenmeter._support.guard import absorbed, guard
from tokenmeter.calls.context import CALL
from tokenmeter.record import end_of

if TYPE_CHECKING:
    from tokenmeter.calls.protocols import CurrentCall

__all__ = ["CurrentCallBlock"]


class CurrentCallBlock:
    """Makes a call, or a group of requests, current for the length of a block; closes it if the block raises."""

    __slots__ = ("_before", "_call")

    def __init__(self, call: CurrentCall) -> None:
        self._call = call

    def __enter__(self) -> None:
        self._before = CALL.get()
        CALL.set(self._call)
        span = self._call.span
        if span is not None:
            try:
                span.attach()
            except BaseException as raised:
                if not absorbed("attaching a span", raised):
                    raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        call = self._call
        if CALL.get() is call:
            CALL.set(self._before)
        if call.span is not None:  # it may have been started meanwhile
            try:
                call.span.detach()
            except BaseException as raised:
                if not absorbed("detaching a span", raised):
                    raise
        if error is not None:
            with guard("settling a call"):
                call.close(end_of(error), error)
