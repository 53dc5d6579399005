"""Ledgers at a fork and at the end of the process.

SQLite's locks belong to a process and do not survive a fork, and a connection opened before it makes SQLite in the
child believe that it holds locks it has not got: the child could then write into a file that the parent is just
folding up. So every connection is closed before a fork and opened again after it, on both sides.

A child of multiprocessing leaves by `os._exit`: of the two ways to be called at the end, it knows only
multiprocessing's own finalizers.
"""

from __future__ import annotations

import atexit
import os
import sys
import weakref
from typing import Final, Protocol

from tokenmeter._support.guard import guard
from tokenmeter._support.interrupted_exit import keep_interrupt

__all__ = ["add", "end_with_child"]


class _Resident(Protocol):
    """What a ledger does at these moments."""

    def before_fork(self) -> bool: ...
    def after_fork_in_parent(self) -> None: ...
    def after_fork_in_child(self) -> object: ...
    def end(self) -> None: ...


_residents: Final[weakref.WeakSet[_Resident]] = weakref.WeakSet()
_held: Final[list[_Resident]] = []
_kept: Final[list[object]] = []
_child: int | None = None


def add(resident: _Resident) -> None:
    """Take a ledger into care for as long as it exists."""
    _residents.add(resident)


def end_with_child() -> None:
    """End all ledgers with this process if it is a child of multiprocessing."""
    global _child
    process, util = sys.modules.get("multiprocessing.process"), sys.modules.get("multiprocessing.util")
    if process is None or util is None or process.parent_process() is None or _child == os.getpid():
        return
    _child = os.getpid()
    util.Finalize(None, _end_all, exitpriority=0)


def _end_all() -> None:
    for resident in list(_residents):
        with guard("closing the ledger at exit"):
            resident.end()
    keep_interrupt()


def _before_fork() -> None:
    for resident in list(_residents):
        with guard("closing the ledger before a fork"):
            if resident.before_fork():
                _held.append(resident)


def _after_fork_in_parent() -> None:
    while _held:
        _held.pop().after_fork_in_parent()


def _after_fork_in_child() -> None:
    _held.clear()
    for resident in list(_residents):
        with guard("starting a ledger after a fork"):
            # Finalising a connection that could not be closed in time would release locks the parent relies on.
            if (connection := resident.after_fork_in_child()) is not None:
                _kept.append(connection)


# At import, so that handlers registered later, which run earlier, can still write. Forked children inherit it.
atexit.register(_end_all)

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
