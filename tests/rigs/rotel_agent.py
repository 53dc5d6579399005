"""Where rotel's program is: a real OTLP collector, from the package registry, around ours and between us and others."""

from __future__ import annotations

import functools
import importlib.util
import subprocess
from pathlib import Path

import pytest

__all__ = ["rotel_agent"]


def rotel_agent() -> Path:
    """The program. Skips the test where it is not installed, or does not run on this Python."""
    found = importlib.util.find_spec("rotel")
    path = Path(found.origin).parent / "rotel-agent" if found is not None and found.origin else None
    if path is None or not path.exists():
        pytest.skip("rotel is not installed: pip install rotel")
    if problem := _problem(path):
        pytest.skip(f"rotel-agent does not run here: {problem}")
    return path


@functools.cache
def _problem(path: Path) -> str | None:
    # It is linked with the interpreter's own library, which not every Python is built with.
    done = subprocess.run([str(path), "--version"], capture_output=True, text=True, timeout=60, check=False)
    return None if done.returncode == 0 else (done.stderr.strip() or f"exit status {done.returncode}")
