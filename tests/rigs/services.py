"""Starting real programs on loopback, waiting until they answer, and stopping them whatever happens."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

PATIENCE = 120.0
"""Seconds that anything may take on a loaded machine before a test calls it broken."""
_Found = TypeVar("_Found")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(ask: Callable[[], _Found], what: object = "it", patience: float = PATIENCE) -> _Found:
    """The first answer that is not empty. Fails naming what was waited for."""
    end = time.monotonic() + patience
    while not (answer := ask()):
        assert time.monotonic() < end, f"{what}: not within {patience:.0f} s"
        time.sleep(0.02)
    return answer


def answers(url: str) -> bool:
    """Whether a URL answers with success."""
    try:
        with urllib.request.urlopen(url, timeout=30) as reply:
            return 200 <= int(reply.status) < 300
    except (urllib.error.URLError, OSError):
        return False


def fetch(url: str) -> str:
    """The text at a URL. Raises what urllib raises."""
    with urllib.request.urlopen(url, timeout=30) as reply:
        text: str = reply.read().decode()
        return text


def listens(port: int) -> bool:
    """Whether somebody accepts connections on a port of this machine."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=30):
        return True
    return False


@contextlib.contextmanager
def program(command: Sequence[str], ready: Callable[[], bool], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until the block ends. Raises RuntimeError with its log if it dies, AssertionError if it is mute."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT)
        try:
            until(lambda: process.poll() is not None or ready(), command[0])
            if process.poll() is not None:
                raise RuntimeError(f"{command[0]} ended with {process.returncode}: {log.read_text('utf-8')[-2000:]}")
            yield process
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(30)
            if process.stdin is not None:
                process.stdin.close()
