"""The package's loggers, and the filter that makes every value in their lines printable and short.

Model names, tags, hosts and paths come from requests and answers: a newline in one would begin a log line of its own,
and an escape sequence would command a terminal. The filter works on the values of a line (`record.args`), so a line's
own text may have line breaks; a value that is already made up of lines is a `Lines`.
"""

from __future__ import annotations

import logging
from typing import Final

__all__ = ["LOGGERS", "Lines", "logger", "printable"]

LOGGERS: Final = ("tokenmeter", "tokenmeter.collector", "tokenmeter.ledger")
_LONGEST: Final = 1000


class Lines(str):
    """Text of our own making with line breaks, which the filter leaves as it is."""

    __slots__ = ()


def printable(text: str, longest: int | None = None) -> str:
    """The text on one line: control, format and half characters as escapes, cut after `longest` characters."""
    if longest is not None and len(text) > longest:
        text = f"{text[:longest]}… ({len(text):,} characters)"
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)


class _PrintableValues(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        args = record.args
        if isinstance(args, tuple):
            record.args = tuple(map(_value, args))
        elif args:
            record.args = {name: _value(value) for name, value in args.items()}
        return True


def _value(value: object) -> object:
    if isinstance(value, int | float | Lines):
        return value
    return printable(str(value), _LONGEST)


_FILTER: Final = _PrintableValues()
for _name in LOGGERS:
    logging.getLogger(_name).addFilter(_FILTER)
logger: Final = logging.getLogger(LOGGERS[0])
