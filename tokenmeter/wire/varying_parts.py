"""Leaves out of a stream's chunks what they have in common, so that a search looks at the rest alone.

Nearly all chunks of a stream are one event of text each, and differ in that text: of 300 bytes, in ten. What two of
them begin and end with is searched once, then only what lies between in each. The search finds a word in the result if
and only if it finds it in the chunks: the words hold two quotation marks at most and no line feed, so that a window
which reaches over the next marks on both sides holds every word that begins or ends in it.
"""

from __future__ import annotations

from collections.abc import Sequence

from tokenmeter.wire.telling_words import TellingWords

__all__ = ["varying_parts"]

_MARK = b'"'


def varying_parts(chunks: Sequence[bytes], words: TellingWords) -> bytes | None:
    """What a search for telling words must look at; None where the chunks are not alike, so that it is all of them."""
    sample = chunks[0]
    other = next((chunk for chunk in chunks if chunk != sample), None)
    if other is None:
        return sample if sample.endswith(b"\n") else None
    mark = sample.rfind(_MARK, 0, _common_head(sample, other))
    begin = sample.rfind(_MARK, 0, max(mark, 0))
    if begin < 0:
        return None
    head = sample[: mark + 1]
    most = min(len(sample), len(other)) - len(head)
    start = len(sample) - min(_common_tail(sample, other), most)
    start = max(sample.find(_MARK, start), start)
    tail = sample[start:]
    cut = max(0, len(tail) - 1 - words.after_mark)
    if not tail.endswith(b"\n"):
        return None
    size = len(head)
    parts = [
        chunk[begin : len(chunk) - cut] for chunk in chunks if chunk.startswith(head) and chunk.endswith(tail, size)
    ]
    if len(parts) < len(chunks):
        odd = [chunk for chunk in chunks if not (chunk.startswith(head) and chunk.endswith(tail, size))]
        if len(odd) * 4 > len(chunks) or not all(chunk.endswith(b"\n") for chunk in odd):
            return None
        parts += odd
    return b"\n".join((sample, *parts))


def _common_head(one: bytes, other: bytes) -> int:
    """How many bytes both begin with."""
    size = min(len(one), len(other))
    # The highest bit in which the two numbers differ stands in the first byte that differs.
    differing = int.from_bytes(one[:size], "big") ^ int.from_bytes(other[:size], "big")
    return size - (differing.bit_length() + 7) // 8


def _common_tail(one: bytes, other: bytes) -> int:
    """How many bytes both end with."""
    size = min(len(one), len(other))
    differing = int.from_bytes(one[-size:], "little") ^ int.from_bytes(other[-size:], "little")
    return size - (differing.bit_length() + 7) // 8
