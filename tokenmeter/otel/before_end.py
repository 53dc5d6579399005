"""Steps that run just before a span ends, while its attributes can still be set.

OpenTelemetry's SDK tells processors of an end when the span is sealed already. So the `end` of such a span
is covered, on that one object and until it is called, by one that takes the steps first. Steps of several processors
share one cover: which of them was registered first does not matter.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from tokenmeter._support.guard import absorbed

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import Span

__all__ = ["Step", "before_end", "covered"]

Step = Callable[["Span", int], None]
"""Takes the span and the instant of its end, in nanoseconds."""
_END: Final = "end"


class _Cover:
    __slots__ = ("_last", "_span", "_steps")

    def __init__(self, span: Any) -> None:
        self._span = span
        self._steps: list[Step] = []
        self._last: list[Step] = []

    def add(self, step: Step, last: bool) -> None:
        (self._last if last else self._steps).append(step)

    def __call__(self, end_time: int | None = None) -> None:
        span = self._span
        vars(span).pop(_END, None)
        if span.is_recording():
            if end_time is None:
                end_time = time.time_ns()  # what we do takes no part in its duration
            for step in (*self._steps, *self._last):
                try:
                    step(span, end_time)
                except BaseException as error:
                    if not absorbed("completing a span", error):
                        raise
        span.end(end_time)


def before_end(span: Span, step: Step, *, last: bool = False) -> None:
    """Take a step before the span ends; with `last`, after the steps that are not."""
    cover = vars(span).get(_END)
    if cover is None:
        cover = vars(span)[_END] = _Cover(span)
    if isinstance(cover, _Cover):  # another library may have covered `end` as well: then `on_end` has to do
        cover.add(step, last)


def covered(span: object) -> bool:
    """Whether steps of ours wait for the end of this span."""
    return isinstance(getattr(span, "__dict__", {}).get(_END), _Cover)
