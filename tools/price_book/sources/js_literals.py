"""Reads the literals of a JavaScript module as values: strings, exact numbers, arrays and objects. Nothing is run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

from tools.price_book.sources.reading import SourceError

_TOKEN: Final = re.compile(
    r"""\s+|//[^\n]*|/\*.*?\*/|(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`(?:[^`\\]|\\.)*`)"""
    r"""|(?P<number>-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<word>[A-Za-z_$][\w$]*)|(?P<sign>\.\.\.|=>|.)""",
    re.DOTALL,
)
_WORDS: Final = {"true": True, "false": False, "null": None}
_ENDS: Final = frozenset({",", "]", "}", ")", ";"})
_OPEN, _CLOSE = frozenset("[{("), frozenset("]})")


class _Computed:
    """An expression that is no literal, such as the name of another constant."""


COMPUTED: Final = _Computed()


def constants(text: str) -> dict[str, Any]:
    """The literal of every `const` of a module, by name; any other expression is `COMPUTED`. Raises SourceError."""
    reader = _Reader(text)
    found: dict[str, Any] = {}
    while (name := reader.next_constant()) is not None:
        found[name] = reader.value()
    return found


class _Reader:
    """Reads one module's tokens in order."""

    def __init__(self, text: str) -> None:
        self._tokens = [(match.lastgroup, match[0]) for match in _TOKEN.finditer(text) if match.lastgroup]
        self._place = 0

    def next_constant(self) -> str | None:
        """The name of the next `const NAME =`, with the reader after its sign; None at the end of the module."""
        while self._place + 2 < len(self._tokens):
            word, name, sign = self._tokens[self._place : self._place + 3]
            if word == ("word", "const") and name[0] == "word" and sign == ("sign", "="):
                self._place += 3
                return name[1]
            self._place += 1
        return None

    def value(self) -> Any:
        """The literal here; `COMPUTED` for any other expression, which is passed over."""
        start, (group, text) = self._place, self._take()
        if text in _ENDS:
            raise SourceError(f"a module has {text!r} in place of a value: the source has another shape now")
        found: Any = COMPUTED
        if group == "string":
            found = _text(text)
        elif group == "number":
            found = self._product(Decimal(text))
        elif text in _WORDS:
            found = _WORDS[text]
        elif text == "[":
            found = list(self._array())
        elif text == "{":
            found = dict(self._object())
        if self._peek() in _ENDS:
            return found
        self._place = start
        self._pass_over()
        return COMPUTED

    def _product(self, number: Decimal) -> Decimal:
        while self._tokens[self._place : self._place + 1] == [("sign", "*")]:
            group, factor = self._tokens[self._place + 1]
            if group != "number":
                break
            number, self._place = number * Decimal(factor), self._place + 2
        return number

    def _array(self) -> Iterator[Any]:
        while not self._skip("]"):
            spread = self._skip("...")
            value = self.value()
            if spread:
                yield from value if isinstance(value, list) else ()
            else:
                yield value
            self._skip(",")

    def _object(self) -> Iterator[tuple[str, Any]]:
        while not self._skip("}"):
            if self._skip("..."):
                value = self.value()
                yield from value.items() if isinstance(value, dict) else ()
            else:
                group, text = self._take()
                key = _text(text) if group == "string" else text
                if self._skip(":"):
                    yield key, self.value()
                elif self._peek() not in (",", "}"):
                    self._pass_over()
            self._skip(",")

    def _pass_over(self) -> None:
        depth = 0
        while depth or self._peek() not in _ENDS:
            text = self._take()[1]
            depth += (text in _OPEN) - (text in _CLOSE)

    def _take(self) -> tuple[str | None, str]:
        if self._place >= len(self._tokens):
            raise SourceError("a module ends inside a literal: the source has another shape now")
        self._place += 1
        return self._tokens[self._place - 1]

    def _peek(self) -> str:
        return self._tokens[self._place][1] if self._place < len(self._tokens) else ";"

    def _skip(self, sign: str) -> bool:
        if self._place < len(self._tokens) and self._tokens[self._place] == ("sign", sign):
            self._place += 1
            return True
        return False


def _text(quoted: str) -> str:
    try:
        return str(json.loads(quoted))
    except ValueError:
        return re.sub(r"\\(.)", r"\1", quoted[1:-1])
