"""Output of the commands: JSON documents, error lines, encodings of the console, closed pipes."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from tokenmeter.money import plain

__all__ = ["abandon", "fail", "prepare", "print_json", "print_rows", "to_json"]


def prepare() -> None:
    """Make every text printable: a console that cannot encode 你好 gets escapes instead of a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.encoding.lower().replace("-", "") != "utf8":
            stream.reconfigure(errors="backslashreplace")


def fail(message: str) -> int:
    """Print an error line on standard error; returns 2, the exit status for bad flags and unreadable files."""
    print(f"tokenmeter: {message}", file=sys.stderr)
    return 2


def abandon() -> None:
    """Redirect standard output to nowhere after the reader closed the pipe, so that the last flush does not fail."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, sys.stdout.fileno())
        finally:
            os.close(nowhere)


def _exact(value: object) -> str:
    """JSON form of a Decimal: a plain string, by the contract. Raises TypeError for any other type."""
    if isinstance(value, Decimal):
        return plain(value)
    raise TypeError(f"{value!r} ({type(value).__name__}) has no JSON form")


def to_json(value: Any, *, indent: int | None = None) -> str:
    """JSON text with Chinese readable; a lone surrogate, which UTF-8 cannot hold, is escaped."""
    text = json.dumps(value, ensure_ascii=False, indent=indent, default=_exact, allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, indent=indent, default=_exact, allow_nan=False)
    return text


def print_json(value: Any) -> None:
    """Print one JSON document, indented for people."""
    print(to_json(value, indent=2))


def print_rows(rows: Iterable[dict[str, Any]]) -> None:
    """Print a JSON array with an entry per line, so that counting lines counts entries."""
    print("[" + ",\n".join(map(to_json, rows)) + "]")
