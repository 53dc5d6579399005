"""`guard`: the one place where an exception of our own code ends, logged, before it reaches the host program.

We run inside somebody else's program. Code of ours that runs beside a metered call runs under `guard`: in
production its failure is logged (once per place and kind of error), in our own test suite it is raised. Nothing
else in the package catches broadly.

An exception of the host passes through (`host_exceptions`), whatever frames of ours it crosses. A native panic of a
tokenizer is a BaseException and ends here.

The log names the error's type and the places in the code that it passed, never its chain of contexts and never the
message of an exception that is not ours: either may quote a prompt.
"""

from __future__ import annotations

import logging
import threading
import traceback
from contextlib import suppress
from types import TracebackType

from tokenmeter._support.bounded import BoundedDict
from tokenmeter._support.host_exceptions import is_of_host
from tokenmeter._support.logs import Lines, logger, printable
from tokenmeter.errors import TokenmeterError

__all__ = ["absorbed", "describe", "guard", "let_through", "logger", "raise_failures", "report"]

_seen: BoundedDict[tuple[str, type[BaseException]], None] = BoundedDict(1000)
_seen_lock = threading.Lock()
_raising = False


def raise_failures(on: bool) -> None:
    """Raise failures of ours instead of logging them. For test suites."""
    global _raising
    _raising = on


def let_through(error: BaseException) -> None:
    """Mark an error that is meant for the caller, such as BudgetExceeded: no guard stops it."""
    with suppress(AttributeError):  # an exception of the user's own with slots
        error._tokenmeter_for_caller = True  # type: ignore[attr-defined]


def report(doing: str, error: BaseException) -> None:
    """Log a failure of ours, the first of its kind at each place as a warning, later ones at debug level."""
    key = (doing, type(error))
    with _seen_lock:
        first = key not in _seen and _seen.keep(key, None)
    level = logging.WARNING if first else logging.DEBUG
    logger.log(level, "tokenmeter failed while %s; the metered call is not affected\n%s", doing, Lines(describe(error)))


def describe(error: BaseException) -> str:
    """An error as log lines: the code it passed, innermost last, and its type; its message if the error is ours."""
    lines = ["Traceback (most recent call last):"]
    for frame, number in traceback.walk_tb(error.__traceback__):
        lines.append(f'  File "{frame.f_code.co_filename}", line {number}, in {frame.f_code.co_name}')
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    lines.append(f"{name}: {printable(str(error), 1000)}" if isinstance(error, TokenmeterError) else name)
    return "\n".join(lines)


def absorbed(doing: str, error: BaseException) -> bool:
    """What `guard` does with an error, for the path of every call, where a block costs more than a `try`.

    Inside `except BaseException as error`: whether it ends here, logged; else it is to be raised again.
    """
    if _raising or getattr(error, "_tokenmeter_for_caller", False) or is_of_host(error):
        return False
    report(doing, error)
    return True


class guard:  # reads as a statement: `with guard("reading usage"):`
    """`with guard("reading usage"): ...` keeps any failure of the block from the host program."""

    __slots__ = ("_doing",)

    def __init__(self, doing: str) -> None:
        self._doing = doing

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        return error is not None and absorbed(self._doing, error)
