"""Finds the points where a text may be split so that the tokens of its pieces add up to those of the whole.

A point is safe when every pattern ends a piece there, looking neither ahead nor behind it:

A. before a space or tab that follows anything but white space or `>`: a piece takes white space only at its front, or
   (newlines) after punctuation;
B. before a newline that follows a letter or digit: only punctuation and white space take newlines with them;
C. before a common mark of punctuation, quotes excluded, that follows a letter: only an apostrophe (`'s`) may join.

The letters of B and C are ASCII and common Chinese ones, which every Unicode version and every pattern agrees on.
A vocabulary of SentencePiece has no pattern; there the rules hold because no token lies across such a place, but for
one with a space behind `>`, which rule A therefore leaves out. No rule splits inside a special token, and none splits
between characters that Unicode normalisation may compose.

`python -m tokenmeter.tokens.build --verify` and the tests check the rules against every family.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

__all__ = ["FORCED", "last_split_point", "pieces", "scalars", "space_runs"]

# The character behind the point comes first: `re` looks for one of a few characters five times faster than behind each.
_SAFE: Final = re.compile(
    r"[ \t\n,.;!?，。；！？]"
    r"(?:(?<=[^\s>][ \t])|(?<=[0-9A-Za-z\u4e00-\u9fa5]\n)|(?<=[A-Za-z\u4e00-\u9fa5][,.;!?，。；！？]))"
)

CHUNK: Final = 1 << 16
"""Characters encoded at once: a list of token ids costs up to 40 bytes a character while it lives."""
FORCED: Final = 1 << 18
"""A text with no safe point in this many characters is split anyway: no prose has such a piece, and from about half a
million on the native engine's regular expressions may run out of states."""
_WINDOW: Final = 64
"""Characters first searched for a point, from the end: most prose has one in its last dozen."""


def scalars(text: str) -> str:
    """The text with surrogate pairs joined and lone surrogates replaced, as a JSON decoder of a server does."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def last_split_point(text: str, start: int = 0, end: int | None = None) -> int:
    """The last safe point behind `start` and not behind `end`, or 0 where there is none."""
    end = len(text) if end is None else end
    high, width = end, _WINDOW
    while high > start:
        low = max(start + 1, high - width)
        found = 0
        # A point looks one character ahead, so the window has one more; one behind `end` does not count.
        for match in _SAFE.finditer(text, low, min(high + 1, len(text))):
            if match.start() > end:
                break
            found = match.start()
        if found:
            return found
        high = low - 1
        width *= 4
    return 0


def pieces(text: str, chunk: int = CHUNK, forced: int = FORCED) -> Iterator[str]:
    """Pieces of a long text that can be counted one after the other, most of them up to `chunk` characters long.

    Where `forced` characters have no safe point (no prose does) they are split anyway, which can cost a token.
    """
    start, length = 0, len(text)
    while length - start > chunk:
        reach, point = chunk, 0
        while not point:
            point = last_split_point(text, start + reach - chunk, min(start + reach, length))
            if not point and (reach >= forced or start + reach >= length):
                point = min(start + reach, length)
            reach *= 2
        yield text[start:point]
        start = point
    yield text[start:]


LONG_RUN: Final = 1 << 12
"""Runs of white space from here on are taken out before a pattern sees them.

`\\s+(?!\\S)` keeps one state per character, and from about a million on the native engine panics: it prints to the
host's standard error and raises a BaseException. No prose comes near four thousand.
"""
# White_Space of Unicode without the two newlines, which another branch of every pattern takes first.
_SPACE: Final = "\t\x0b\x0c \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_RUN: Final = re.compile(f"[{_SPACE}]{{{LONG_RUN},}}")


def space_runs(text: str) -> list[tuple[int, int]]:
    """Long runs of white space as (start, end). Looks at one character in `LONG_RUN` of a text that has none."""
    for at in range(LONG_RUN - 1, len(text), LONG_RUN):
        # A run that reaches here goes on for half its length on one side; prose never for 64 characters.
        if text[at].isspace() and (text[at : at + 64].isspace() or text[at - 63 : at + 1].isspace()):
            return [match.span() for match in _RUN.finditer(text)]
    return []
