"""Leaves out of a stream's chunks what they have in common, so that a search looks at the rest alone.

Nearly all chunks of a stream are one event of text each, and differ in that text: of 300 bytes, in ten. What two of
them begin and end with is searched once, then only what lies between in each, if all chunks begin and end so.

The search finds a word in the result if and only if it finds it in the chunks: words hold two quotation marks at most
and no line feed, so that what lies between, with the next marks on both sides, holds every word that reaches into it.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Final, Literal

from tokenmeter.wire.telling_words import TellingWords

__all__ = ["varying_parts"]

_MARK: Final = b'"'
_TAIL_MOST: Final = 64
"""Bytes at the ends of chunks that are compared: what stands before them in all is searched in all."""


def varying_parts(chunks: Sequence[bytes], words: TellingWords) -> bytes | None:
    """What a search of some chunks must look at; None where that is all of them."""
    sample = chunks[0]
    other = chunks[1] if chunks[1] != sample else next((chunk for chunk in chunks if chunk != sample), None)
    if other is None:
        return sample if sample.endswith(b"\n") else None
    size = min(len(sample), len(other))
    mark = sample.rfind(_MARK, 0, _alike(sample[:size], other[:size], "big"))
    before = sample.rfind(_MARK, 0, max(mark, 0))
    most = min(_TAIL_MOST, size - mark - 1)
    start = len(sample) - (_alike(sample[-most:], other[-most:], "little") if most else 0)
    start = max(sample.find(_MARK, start), start)
    head, tail = sample[: mark + 1], sample[start:]
    if before < 0 or not tail.endswith(b"\n"):
        return None
    middles = list(map(itemgetter(slice(len(head), -len(tail))), chunks))
    if head + (tail + head).join(middles) + tail != b"".join(chunks):
        return None
    lead, trail = head[before:], tail[: 1 + words.after_mark]
    return b"".join((sample, lead, (trail + b"\n" + lead).join(middles), trail))


def _alike(one: bytes, other: bytes, order: Literal["big", "little"]) -> int:
    """How many bytes two pieces of one length have in common at their beginning (big) or at their end (little)."""
    differing = int.from_bytes(one, order) ^ int.from_bytes(other, order)  # its highest bit is in the first such byte
    return len(one) - (differing.bit_length() + 7) // 8
