"""The end of the program: every meter settles what is still open; only the default one is ours to close."""

from __future__ import annotations

import atexit
import functools
import weakref
from typing import TYPE_CHECKING, Final

from tokenmeter._support.guard import guard

if TYPE_CHECKING:
    from tokenmeter.meter import Tokenmeter

__all__ = ["mind"]

_SECONDS: Final = 5.0
_alive: Final[weakref.WeakSet[Tokenmeter]] = weakref.WeakSet()


def mind(meter: Tokenmeter) -> None:
    """Settle and flush this meter when the program ends."""
    _alive.add(meter)
    _register()


@functools.cache
def _register() -> None:
    # With the first meter and not at import: handlers run in reverse, and spans are ended before the program's tracer
    # provider, which is mostly there by then, is shut down.
    atexit.register(_at_exit)
    # What a broken stream said is counted then, by tiktoken, which needs this; after threading's own end, which comes
    # before the handlers, it cannot be loaded.
    import concurrent.futures.thread  # noqa: F401


def _at_exit() -> None:
    for meter in list(_alive):
        with guard("settling streams at exit"):
            meter.abandon()
        meter.shutdown(_SECONDS) if meter.is_default else meter.flush(_SECONDS)
