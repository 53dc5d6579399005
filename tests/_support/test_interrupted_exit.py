"""A program that is interrupted ends by SIGINT, also where something was imported at its end."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import atexit
from tokenmeter._support.interrupted_exit import keep_interrupt

def at_exit():
    from typing import NamedTuple
    class Imported(NamedTuple("Imported", [("a", int)])): pass
    {keep}

atexit.register(at_exit)
{body}
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no status of signals")
@pytest.mark.parametrize(
    ("body", "keep", "status"),
    [
        pytest.param("raise KeyboardInterrupt", "keep_interrupt()", -signal.SIGINT, id="interrupted"),
        pytest.param("raise KeyboardInterrupt", "pass", 1, id="what CPython does without it"),
        pytest.param("raise ValueError", "keep_interrupt()", 1, id="an error"),
        pytest.param("pass", "keep_interrupt()", 0, id="a normal end"),
        pytest.param("raise SystemExit(3)", "keep_interrupt()", 3, id="a status"),
    ],
)
def test_the_exit_status_is_that_of_the_program(body: str, keep: str, status: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(body=body, keep=keep)], capture_output=True, check=False, timeout=60,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler) and None,
    )  # fmt: skip
    assert done.returncode == status
