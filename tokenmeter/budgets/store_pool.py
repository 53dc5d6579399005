"""Runs a store's operations beside an event loop, asyncio's or trio's: in threads, since stores may wait.

Neither library is imported before a call runs in it.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import ModuleType
from typing import Any, Final, TypeVar

__all__ = ["StorePool", "sleep"]

_T = TypeVar("_T")
_THREADS: Final = 8


def _trio() -> ModuleType | None:
    """The trio module where the current task is one of trio's."""
    trio = sys.modules.get("trio")
    if trio is not None:
        try:
            trio.lowlevel.current_task()
        except RuntimeError:
            return None
    return trio


async def sleep(seconds: float) -> None:
    """Sleep in whichever event loop runs."""
    trio = _trio()
    if trio is not None:
        await trio.sleep(seconds)
    else:
        import asyncio

        await asyncio.sleep(seconds)


class StorePool:
    """Some threads for the operations of one enforcer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None

    async def run(self, act: Callable[[], _T], undo: Callable[[], object]) -> _T:
        """What `act` returns, run in a thread. A task that is cancelled meanwhile has `undo` run after it."""
        trio = _trio()
        if trio is not None:
            # Trio waits for the thread; a task that is cancelled meanwhile learns it at its next checkpoint.
            result: _T = await trio.to_thread.run_sync(act)
            return result
        import asyncio

        future = self._submit(act)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            future.add_done_callback(lambda _: self._submit(undo))
            raise

    def _submit(self, act: Callable[[], Any]) -> Future[Any]:
        if self._threads is None:
            with self._lock:
                if self._threads is None:
                    self._threads = ThreadPoolExecutor(_THREADS, "tokenmeter-budgets")
        return self._threads.submit(act)
