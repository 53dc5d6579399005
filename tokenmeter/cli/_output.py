"""What commands print: one JSON document, one line of complaint, and what to do when nobody reads any more."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections.abc import Iterable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tokenmeter.errors import ConfigurationError
from tokenmeter.money import plain

if TYPE_CHECKING:
    import argparse

    from tokenmeter.prices.book import Book

__all__ = ["abandon", "fail", "prepare", "print_json", "print_rows", "providers_asked", "to_json"]


def prepare() -> None:
    """Let every text be printed: a console that cannot show 你好 gets escapes instead of a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.encoding.lower().replace("-", "") != "utf8":
            stream.reconfigure(errors="backslashreplace")


def fail(message: str) -> int:
    """Say on standard error what is wrong, and return the exit status for bad flags and unreadable files."""
    print(f"tokenmeter: {message}", file=sys.stderr)
    return 2


def abandon() -> None:
    """Stop writing after the reader closed the pipe, so that the interpreter's own last flush does not complain."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, sys.stdout.fileno())
        finally:
            os.close(nowhere)


def _exact(value: object) -> str:
    """Decimals are written as the contract's plain strings; anything else unknown is a mistake of ours."""
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
    """A JSON array with an entry per line, so that counting lines counts entries."""
    print("[" + ",\n".join(to_json(row) for row in rows) + "]")


def providers_asked(args: argparse.Namespace, book: Book) -> tuple[str, ...]:
    """The providers `--provider` leaves. Raises ConfigurationError for one the book does not have."""
    if args.provider is None:
        return book.providers
    prices = book.provider_prices(args.provider)
    if isinstance(prices, str):
        raise ConfigurationError(f"--provider: {prices}")
    return (prices.provider,)
