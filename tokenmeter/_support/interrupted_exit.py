"""Keeps the exit status of a program that ends by an interrupt (Ctrl-C).

CPython notes that an unhandled KeyboardInterrupt ended the program, and at last ends the process by SIGINT, so that a
shell sees it. It forgets that when a source text is evaluated in between, as `NamedTuple` does: importing a module at
exit is enough, and the status would be 1.
"""

from __future__ import annotations

import sys
from contextlib import suppress

__all__ = ["keep_interrupt"]


def keep_interrupt() -> None:
    """Make the interpreter note again that an interrupt ended the program, if one did. For the end of exit handlers."""
    if getattr(sys, "last_type", None) is KeyboardInterrupt:
        with suppress(KeyboardInterrupt):
            exec("raise KeyboardInterrupt")  # noted where a source text ends so
