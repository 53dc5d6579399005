"""The bytes of a streamed body that went by, kept until it has ended, in bounded memory.

A tee appends each chunk to `chunks`, and nothing looks at them meanwhile. Past 64 KB they are packed: deflated piece by
piece, in a third of a microsecond per chunk, to a tenth of the space or less. Only the first event and the last 8 KB
stay as they are, since they nearly always say what the stream was billed for.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Final

from tokenmeter.wire.stream_ends import SEAM, Ends, end_chunks, end_events, telling_events, tells
from tokenmeter.wire.telling_words import TellingWords

__all__ = ["KeptStream"]

_PACKED_MOST: Final = 1024 * 1024
_TAIL: Final = 8192
_LEVEL: Final = 1


class KeptStream:
    """The chunks of one stream, to which its tee may be adding. `decoder` undoes a content encoding piece by piece."""

    __slots__ = ("_decode", "_first", "_packed", "_rest", "_size", "chunks")

    def __init__(self, chunks: list[bytes], decoder: Callable[[bytes], bytes] | None = None) -> None:
        self.chunks = chunks
        self._decode = decoder
        self._packed: list[bytes] | None = None
        self._size = 0
        self._rest = b""
        self._first = b""

    def take(self) -> bytes:
        """The chunks so far, as they came; they are kept no longer. For `decoded`, in the same order."""
        data = b"".join(self.chunks)
        self.chunks.clear()
        return data

    def decoded(self, data: bytes) -> bytes:
        """What chunks that were taken hold."""
        return self._decode(data) if self._decode is not None and data else data

    def pack(self, words: TellingWords | None) -> bool:
        """Pack what has come; false where the packed form has grown so large that the stream must be read instead.

        `words` are the telling words of its format, None where its events cannot be passed over.
        """
        if self._size > _PACKED_MOST:
            return False
        data = self._unpacked()
        cut = max(0, len(data) - _TAIL)
        start = 0
        if self._packed is None:
            self._packed = []
            start = data.find(b"\n\n", 0, cut) + 2
            self._first = data[:start] if start > 1 else b""
        if self._first and (words is None or tells(data, words, start, cut + SEAM)):
            self._first = b""
        packed = zlib.compress(data[:cut], _LEVEL)
        self._packed.append(packed)
        self._size += len(packed)
        self._rest = data[cut:]
        return True

    def ends(self, words: TellingWords) -> Ends | None:
        """The first event and the last ones; None where something between them tells something."""
        ends = None
        if self._packed is None and not self._rest and self._decode is None:
            ends = end_chunks(self.chunks, words)
        if ends is None:
            ends = self._ends_of_data(words)
        return None if ends is None or b"\r" in ends.first or b"[DONE]" in ends.first else ends

    def _ends_of_data(self, words: TellingWords) -> Ends | None:
        data = self._unpacked()
        first, start = self._first, 0
        if self._packed is None:
            start = data.find(b"\n\n") + 2
            first = data[:start] if start > 1 else b""
        last = end_events(data, words, since=start) if first else None
        return None if last is None else Ends(first, last, tells(first, words, 0, len(first)))

    def telling(self, words: TellingWords) -> bytes | None:
        """The events that tell something; None where the stream is framed so that they cannot be found."""
        return telling_events(b"".join(self.pieces()), words)

    def pieces(self) -> Iterator[bytes]:
        """All of the stream, in order."""
        yield from map(zlib.decompress, self._packed or ())
        yield self._unpacked()

    def release(self) -> list[bytes]:
        """What was packed, in order, and is kept no longer. The chunks stay: a tee may be adding to them."""
        released = [*map(zlib.decompress, self._packed or ()), self._rest]
        self._packed, self._rest = None, b""
        return released

    def _unpacked(self) -> bytes:
        if self.chunks:
            self._rest += self.decoded(self.take())
        return self._rest
