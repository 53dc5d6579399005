"""Objects start anew in a forked child, in the order in which they asked for it; dead ones and the parent do not."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable

import pytest

from tokenmeter._support.fork import on_fork
from tokenmeter._support.ids import new_id

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


class Noted:
    def __init__(self, name: str, notes: list[str]) -> None:
        self.name = name
        self.notes = notes
        on_fork(self)

    def forked(self) -> None:
        self.notes.append(self.name)


def _in_child(act: Callable[[], str]) -> str:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(write, act().encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        answer = pipe.read()
    os.waitpid(pid, 0)
    return answer


def test_the_living_start_anew_in_the_child_only() -> None:
    notes: list[str] = []
    first, dead, second = Noted("first", notes), Noted("dead", notes), Noted("second", notes)
    del dead
    gc.collect()
    assert _in_child(lambda: " ".join(notes)) == "first second"
    assert (notes, first.name, second.name) == ([], "first", "second")


def test_a_child_draws_other_ids() -> None:
    assert {_in_child(lambda: new_id()[-16:]) for _ in range(3)} != {new_id()[-16:]}
    assert len({_in_child(lambda: new_id()[-16:]) for _ in range(3)}) == 3
