"""Processes that are ended while they write one ledger: no call twice, none that was never sent, the file whole.

`python -m tests.real.kill` runs hundreds of rounds, and says what is lost and how old it was.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("openai", reason="calls are made with the openai SDK")
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the rounds fork")
WINDOW = "30"  # of a first record on a busy machine; the window of the documents is for the long run


def test_what_a_killed_process_leaves_is_whole() -> None:
    # A process of its own: it forks, and pytest's has threads.
    command = [sys.executable, "-m", "tests.real.kill", "--rounds", "4", "--window", WINDOW]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "doubled 0, unknown 0, integrity ok" in done.stdout
