"""The end of the program: every meter settles its open streams, and the default one is closed."""

from __future__ import annotations

import atexit
import functools
import weakref
from typing import Final, Protocol

from tokenmeter._support.guard import guard
from tokenmeter._support.interrupted_exit import keep_interrupt
from tokenmeter._support.worker import worker

__all__ = ["Closable", "register"]

_SECONDS: Final = 5.0


class Closable(Protocol):
    """What the end of the program asks of a meter."""

    is_default: bool

    def abandon(self) -> None: ...
    def flush(self, timeout: float = ...) -> bool: ...
    def shutdown(self, timeout: float = ...) -> bool: ...


_alive: Final[weakref.WeakSet[Closable]] = weakref.WeakSet()


def register(meter: Closable) -> None:
    """Settle and flush this meter when the program ends; shut it down if it is the default one."""
    _alive.add(meter)
    _register_once()


@functools.cache
def _register_once() -> None:
    # With the first meter and not at import: handlers run in reverse, and by then the program has mostly made its
    # tracer provider, so spans end before that is shut down.
    atexit.register(_at_exit)
    # tiktoken needs this module to count what broken streams hold; it cannot be loaded after threading's own end, which
    # comes before the handlers.
    import concurrent.futures.thread  # noqa: F401


def _at_exit() -> None:
    for meter in list(_alive):
        with guard("settling streams at exit"):
            meter.abandon()
    worker.end()
    for meter in list(_alive):
        meter.shutdown(_SECONDS) if meter.is_default else meter.flush(_SECONDS)
    keep_interrupt()
