"""`guard`: the one place where an exception of our own code ends, logged, before it reaches the host program.

We run inside somebody else's program. Code of ours that runs beside a metered call runs under `guard`: in
production its failure is logged (once per place and kind of error), in our own test suite it is raised. Nothing
else in the package catches broadly.

A native extension can raise a BaseException (tiktoken's panic is one), so the guard stops every exception but the
ones by which the host ends itself: KeyboardInterrupt, SystemExit, GeneratorExit and asyncio's CancelledError are
the host's and pass through.
"""

from __future__ import annotations

import logging
import sys
import threading
from types import TracebackType
from typing import Final

from tokenmeter._support.bounded import BoundedDict

__all__ = ["guard", "raise_failures", "report"]

logger: Final = logging.getLogger("tokenmeter")
_seen: BoundedDict[tuple[str, type[BaseException]], None] = BoundedDict(1000)
_seen_lock = threading.Lock()
_raising = False


def raise_failures(on: bool) -> None:
    """Raise failures of ours instead of logging them. For test suites."""
    global _raising
    _raising = on


def _is_the_hosts(kind: type[BaseException]) -> bool:
    if issubclass(kind, KeyboardInterrupt | SystemExit | GeneratorExit):
        return True
    # asyncio is not imported for this: where it is not loaded, no task can be cancelled.
    asyncio = sys.modules.get("asyncio.exceptions")
    return asyncio is not None and issubclass(kind, asyncio.CancelledError)


def report(doing: str, error: BaseException) -> None:
    """Log a failure of ours, the first of its kind at each place with its traceback, later ones at debug level."""
    key = (doing, type(error))
    with _seen_lock:
        first = key not in _seen and _seen.keep(key, None)
    level = logging.WARNING if first else logging.DEBUG
    logger.log(level, "tokenmeter failed while %s; the metered call is not affected", doing, exc_info=error)


class guard:  # reads as a statement: `with guard("reading usage"):`
    """`with guard("reading usage"): ...` keeps any failure of the block from the host program."""

    __slots__ = ("_doing",)

    def __init__(self, doing: str) -> None:
        self._doing = doing

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if kind is None or error is None:
            return False
        if _raising or _is_the_hosts(kind):
            return False
        report(self._doing, error)
        return True
