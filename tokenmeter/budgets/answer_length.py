"""How many tokens of an answer have come, guessed from the bytes of its stream, in a microsecond for many chunks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

__all__ = ["AnswerLength"]

_BYTES_OF_TOKEN: Final = 3


class AnswerLength:
    """Each event is a token at least; what it is longer than the shortest event is text, three bytes a token.

    It guides how much is held, and never what is charged. `tokens` is the length so far.
    """

    __slots__ = ("_bytes", "_events", "_frame")

    def __init__(self) -> None:
        self._events = 0
        self._bytes = 0
        self._frame = 1 << 30

    def add(self, chunks: Iterable[bytes]) -> None:
        """Note chunks of the body, as they came over the wire."""
        for chunk in chunks:
            events = chunk.count(b"\n\n") or chunk.count(b"\r\n\r\n")
            self._bytes += len(chunk)
            self._events += events
            if events:
                self._frame = min(self._frame, len(chunk) // events)

    @property
    def tokens(self) -> int:
        text = self._bytes - self._events * self._frame if self._events else self._bytes
        return self._events + max(0, text) // _BYTES_OF_TOKEN
