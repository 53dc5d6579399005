"""Counts the instructions of calls in a process that runs under callgrind."""

from __future__ import annotations

import asyncio
import ctypes
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Run = Callable[[int], None]
WARM = 131
"""Calls before the first that is measured: twice what is put off at most, and a few."""


class Callgrind:
    """The library that `callgrind.c` makes; what it measures is found in the profile by its name."""

    def __init__(self, library: str, *, quick: bool = False) -> None:
        self._library = ctypes.CDLL(library)
        self._quick = quick

    def measure(self, name: str, run: Run, times: int, warm: int | None = None) -> None:
        """Count the instructions of `times` calls after `warm` others, collector of garbage off."""
        warm = warm if warm is not None else WARM if times > 9 else 4
        if self._quick:
            warm, times = 1, min(times, 2)
        run(warm)
        with quiet():
            self._library.begin()
            run(1)
            self._library.zero()
            run(times)
            self._library.dump(f"{name}*{times}".encode())
            self._library.end()


@contextmanager
def quiet() -> Iterator[None]:
    """No collection of garbage inside."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


loop = asyncio.new_event_loop()


def repeated(one: Callable[[], Any]) -> Run:
    def run(times: int) -> None:
        for _ in range(times):
            one()

    return run


def awaited(one: Callable[[], Any]) -> Run:
    async def many(times: int) -> None:
        for _ in range(times):
            await one()

    return lambda times: loop.run_until_complete(many(times))
