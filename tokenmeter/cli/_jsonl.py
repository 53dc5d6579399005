"""The loop of every `--jsonl FILE`: reads JSON Lines and writes one answer per non-blank line, in order.

    answer_lines(path, handler) -> exit status

`handler` takes the line's object and returns the answer's fields; `id` and `line` are added here, first. A line
that cannot be answered (not UTF-8, not JSON, not an object, or refused by the handler with `LineError`) is answered
with `{"id", "line", "error", "field"}`, and the loop continues.

Input is read in blocks as it arrives, and the answers of a block are written before the next block is awaited: the
same loop serves a file of millions of lines and a program that writes one line and waits. Numbers are read
exactly: fractions as Decimal, integers as int; NaN and Infinity, which JSON does not have, are refused, and so is
an object with a duplicate key, because it is unknown which of the two is meant. Two lines may share an `id`;
`line` tells them apart.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any, BinaryIO, Final

from tokenmeter._support.guard import guard
from tokenmeter.cli import _output, _terminal
from tokenmeter.errors import TokenmeterError

__all__ = ["LONGEST_LINE", "Handler", "LineError", "answer_lines", "parse_object"]

LONGEST_LINE: Final = 64 * 1024 * 1024
"""Bytes of the longest line that is read; a longer one is answered as an error and not kept in memory."""

_LONGEST_NUMBER: Final = 1000
"""Digits of the longest number that is read: writing one of more takes a time that its line's length does not show."""
_BLOCK: Final = 256 * 1024
_PATIENCE: Final = 0.1  # seconds after which buffered answers are written
_UTF8_BOM: Final = b"\xef\xbb\xbf"
# UTF-8 cannot encode a lone surrogate, and some readers take the others for line ends: JSON can escape both.
_UNSAFE: Final = re.compile("[\x85\u2028\u2029\ud800-\udfff]")
_OTHER_BOMS: Final = (b"\xff\xfe", b"\xfe\xff")


class LineError(TokenmeterError, ValueError):
    """A line cannot be answered: the message says why and the way out, `field` names the place (`usage.input`)."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


# A handler that answers tens of thousands of lines a second may return its fields written already, without braces.
Handler = Callable[[dict[str, Any]], "Mapping[str, Any] | str"]


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    answer = dict(pairs)
    if len(answer) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise LineError(f"the key {twice!r} is there twice: leave the one that is meant", twice)
    return answer


def _fraction(text: str) -> Decimal:
    # Without an exponent a number is no larger than its text.
    if len(text) > _LONGEST_NUMBER or ("e" in text.lower() and abs(_exponent(text)) > _LONGEST_NUMBER):
        raise LineError(f"the number {text[:40]} is beyond what can be held")
    return Decimal(text)


def _exponent(text: str) -> int:
    return int(text.lower().partition("e")[2][:10])


def _no_constant(name: str) -> None:
    raise LineError(f"{name} is not JSON; leave a number out where it is not known")


_decoder: Final = json.JSONDecoder(object_pairs_hook=_pairs, parse_float=_fraction, parse_constant=_no_constant)
_encode: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(", ", ": "), default=_output._exact)


def parse_object(raw: bytes) -> dict[str, Any]:
    """Read one line's JSON object exactly. Raises LineError saying what is wrong with it."""
    try:
        value = _decoder.decode(raw.decode())
    except UnicodeDecodeError as error:
        raise LineError(f"not UTF-8: byte {error.start + 1} of the line is 0x{raw[error.start]:02x}") from None
    except json.JSONDecodeError as error:
        raise LineError(f"not JSON: {error.msg} at column {error.colno}") from None
    except RecursionError:
        raise LineError("nested too deeply to be read") from None
    except LineError:
        raise
    except ValueError as error:  # an integer with more digits than Python converts
        raise LineError(str(error).partition(";")[0]) from None
    if type(value) is not dict:
        raise LineError(f"a line holds a JSON object, not {_json_name(value)}")
    return value


def _json_name(value: object) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _blocks(source: BinaryIO) -> Iterator[bytes]:
    """Blocks of input as they arrive: `read1` returns available bytes instead of waiting for a full block."""
    read = getattr(source, "read1", source.read)
    return iter(lambda: read(_BLOCK), b"")


def _lines(source: BinaryIO) -> Iterator[list[bytes | LineError]]:
    """The complete lines of each block; a line over LONGEST_LINE is a LineError in its place."""
    held: list[bytes] = []
    size = 0
    for block in _blocks(source):
        first, *rest = block.split(b"\n")
        size += len(first)
        if size <= LONGEST_LINE:
            held.append(first)
        else:
            held.clear()
        if rest:
            last = rest.pop()
            yield [_joined(held, size), *rest]
            held, size = [last], len(last)
    if size:
        yield [_joined(held, size)]


def _joined(held: list[bytes], size: int) -> bytes | LineError:
    if size > LONGEST_LINE:
        return LineError(f"the line is {size} bytes long; at most {LONGEST_LINE} are read: split it")
    return b"".join(held)


class _Answers:
    """Writes answers in order; `failed` is True once one of them was an error."""

    def __init__(self, handler: Handler, target: BinaryIO, progress: Callable[[int], None]) -> None:
        self._handler = handler
        self._target = target
        self._progress = progress
        self._waiting: list[str] = []
        self._number = 0
        self._bytes = 0
        self.failed = False

    def take(self, lines: list[bytes | LineError]) -> None:
        due = time.monotonic() + _PATIENCE
        for raw in lines:
            self._number += 1
            if type(raw) is bytes:
                self._bytes += len(raw) + 1
                if not raw or raw.isspace():
                    continue
            self._waiting.append(self._answer(raw))
            if time.monotonic() > due:
                self.write()
                due = time.monotonic() + _PATIENCE
        self.write()

    def _answer(self, raw: bytes | LineError) -> str:
        identity = None
        answer: Mapping[str, Any] = {"error": "tokenmeter failed on this line; its log says why", "field": None}
        text = None
        with guard("answering a line"):
            try:
                if isinstance(raw, LineError):
                    raise raw
                line = parse_object(raw)
                identity = _echo(line.get("id"))
                fields = self._handler(line)
                if type(fields) is str:
                    text = f'{{"id": {_encode.encode(identity)}, "line": {self._number}, {fields}}}'
                elif isinstance(fields, Mapping):
                    text = _encode.encode({"id": identity, "line": self._number, **fields})
            except TokenmeterError as error:
                answer = {"error": str(error), "field": getattr(error, "field", None)}
        if text is None:
            self.failed = True
            text = _encode.encode({"id": identity, "line": self._number, **answer})
        return text

    def write(self) -> None:
        if not self._waiting:
            return
        text = "\n".join(self._waiting) + "\n"
        if not text.isascii():
            text = _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
        self._waiting.clear()
        self._target.write(text.encode())
        self._target.flush()
        self._progress(self._bytes)


def _echo(identity: Any) -> Any:
    """The id as it is answered: unchanged, a Decimal as a JSON number where a float is exact, else as text."""
    if type(identity) is not Decimal:
        return identity
    number = float(identity)
    return number if Decimal(repr(number)) == identity else str(identity)


def answer_lines(path: str, handler: Handler) -> int:
    """Answer each line of a JSON Lines file (`-` is standard input) on standard output; return the exit status.

    0 when every line was answered, 1 when some answers are errors, 2 when the file cannot be read, 130 when
    interrupted. A reader that closes the pipe ends the loop quietly, with the status so far.
    """
    sys.stdout.flush()
    try:
        opened = _open(path)
    except OSError as error:
        return _output.fail(f"cannot read {path}: {error.strerror or error}")
    with opened as source, _terminal.progress(path, _size(source), prints=True) as progress:
        answers = _Answers(handler, sys.stdout.buffer, progress)
        try:
            return _run(path, source, answers)
        except KeyboardInterrupt:
            with guard("writing the last answers"):
                answers.write()
            return 130
        except BrokenPipeError:
            _output.abandon()
        return 1 if answers.failed else 0


def _open(path: str) -> contextlib.AbstractContextManager[BinaryIO]:
    if path != "-":
        return open(path, "rb")
    if sys.stdin is None:
        raise OSError("there is no standard input")
    return contextlib.nullcontext(sys.stdin.buffer)  # standard input stays open


def _size(source: BinaryIO) -> int | None:
    """Bytes of a file; None of a pipe."""
    try:
        found = os.fstat(source.fileno())
    except (OSError, ValueError):  # a stream without a descriptor
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def _run(path: str, source: BinaryIO, answers: _Answers) -> int:
    blocks = _lines(source)
    while True:
        try:
            lines = next(blocks, None)
        except OSError as error:
            return _output.fail(f"cannot read {path}: {error.strerror or error}")
        if lines is None:
            return 1 if answers.failed else 0
        if not answers._number and isinstance(lines[0], bytes):
            if lines[0].startswith(_OTHER_BOMS):
                return _output.fail(f"{path} is UTF-16; save it as UTF-8")
            lines[0] = lines[0].removeprefix(_UTF8_BOM)
        answers.take(lines)
