"""Argument parser and argument types that all commands share: mistakes are answered in one line."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

__all__ = ["Paragraphs", "Parser", "whole"]


class Parser(argparse.ArgumentParser):
    """A parser that takes no abbreviated flags and prints no usage before a complaint; subparsers are of its class."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **{"allow_abbrev": False, **more})

    def error(self, message: str) -> NoReturn:
        """End with status 2 and one line on standard error."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


class Paragraphs(argparse.HelpFormatter):
    """Wraps a description or an epilogue by paragraph: a line is one, and a line that begins with a space goes on."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        from tokenmeter._support.text_tables import wrapped

        paragraphs = text.strip().replace("\n ", " ").splitlines()
        lines = [line for paragraph in paragraphs for line in wrapped(paragraph, width, "  ") or [""]]
        return "\n".join(indent + line for line in lines)


def whole(text: str) -> int:
    """A number of tokens: digits only. Raises ArgumentTypeError that shows how to write `1,000` and `1k`."""
    if text.isascii() and text.isdigit() and len(text) < 20:
        return int(text)
    if text[:1] == "-":
        raise argparse.ArgumentTypeError(f"{text[:40]} cannot be negative")
    read = _read(text)
    hint = "" if read is None else f": write {read}"
    raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a whole number{hint}")


def _read(text: str) -> int | None:
    """What somebody who writes `1,000`, `1_000`, `1k` or `1.5M` means."""
    plain = text.strip().lower().replace(",", "").replace("_", "").replace(" ", "")
    factor = {"k": 1_000, "m": 1_000_000}.get(plain[-1:], 1)
    digits = plain if factor == 1 else plain[:-1]
    before, dot, after = digits.partition(".")
    if not digits.isascii() or not (before + after).isdigit() or len(digits) > 12 or (dot and factor == 1):
        return None
    value, rest = divmod(int(before + after) * factor, 10 ** len(after))
    return None if rest else value
