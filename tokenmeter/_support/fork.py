"""What happens to an object in a forked child process: its `forked` method runs there, once.

A child starts with a copy of the parent's memory and one thread: locks that another thread of the parent had taken
stay taken, and what the parent has yet to write would be written twice.
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol

from tokenmeter._support.guard import guard

__all__ = ["Forkable", "on_fork"]


class Forkable(Protocol):
    """An object that starts anew in a child process."""

    def forked(self) -> None:
        """Replace locks, threads and what the parent has yet to do. Runs in the child, before other code."""


_alive: weakref.WeakValueDictionary[int, Forkable] = weakref.WeakValueDictionary()
_registered = False


def on_fork(one: Forkable) -> None:
    """Call `one.forked()` in each child process that is forked while `one` is alive."""
    global _registered
    _alive[id(one)] = one
    if not _registered and hasattr(os, "register_at_fork"):
        _registered = True
        os.register_at_fork(after_in_child=_forked)


def _forked() -> None:
    for one in _alive.valuerefs():
        found = one()
        if found is not None:
            with guard("starting anew in a child process"):
                found.forked()
