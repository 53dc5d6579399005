"""Finds the events of a stream that say what it was billed for, without reading the others.

`telling_events` searches the whole stream for them. `end_events` takes its first and last events alone, if nothing
between them tells anything: nearly every vendor says all that counts in the last three.

Both read server-sent events parted by line feeds; they give None for what is framed otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tokenmeter.wire.telling_words import TellingWords
from tokenmeter.wire.varying_parts import varying_parts

__all__ = ["LAST_EVENTS", "SEAM", "end_events", "telling_events", "tells"]

LAST_EVENTS: Final = 3
"""The finish reason, the usage, and the terminator, each in an event of its own."""
SEAM: Final = 64
"""No telling word is longer: one may lie across the cut between two pieces."""
_DONE: Final = b"[DONE]"
_GAP: Final = b"\n\n"
_LINE: Final = b"\ndata:"
_LINE_FEED: Final = 10
_FEW: Final = 8
"""Chunks that it does not pay to compare."""


def telling_events(data: bytes, words: TellingWords) -> bytes | None:
    """The first event of a stream, its last ones, and those between that hold a telling word."""
    first, last = data.find(_GAP) + 2, _start_of_last(data, 0)
    if first < 2 or last < first or b"\r" in data:
        return None
    kept = [data[:first]]
    at = first
    search = words.in_bytes.search
    while (found := search(data, at, last)) is not None:
        start = data.rfind(_GAP, 0, found.start()) + 2
        stop = data.find(_GAP, found.end())
        at = len(data) if stop < 0 else stop + 2
        kept.append(data[max(start, first) : at])
    kept.append(data[max(at, last) :])
    return b"".join(kept)


def end_events(
    data: bytes, words: TellingWords, *, since: int, chunks: Sequence[bytes] = (), at: int = 0
) -> bytes | None:
    """The last events of a stream; None where an event between `since`, where one begins, and them tells something.

    `chunks` are the pieces that the data is made of from `at` on, where they are known: what is alike in them is
    searched once.
    """
    start = _start_of_last(data, max(0, since - len(_GAP)))
    if start < 0:
        return None
    last = data[start:]
    if b"\r" in last or (words.objects and not any(word in last for word in words.objects)):
        return None
    if last.find(_DONE, 0, last.rfind(_LINE)) >= 0:
        return None  # another answer began after the terminator
    return None if tells(data, words, since, start, chunks, at) else last


def tells(data: bytes, words: TellingWords, start: int, stop: int, chunks: Sequence[bytes] = (), at: int = 0) -> bool:
    """Whether a part of a stream holds a telling word other than a reason to end. `chunks` are as for `end_events`."""
    if len(chunks) < _FEW:
        return _found(data, words, start, stop)
    # The chunks that lie in the part as a whole are `chunks[first:last]`, from `begin` to `end`.
    begin, first = at, 0
    while begin < start and first < len(chunks):
        begin += len(chunks[first])
        first += 1
    end, last = len(data), len(chunks)
    while end > stop and last > first:
        last -= 1
        end -= len(chunks[last])
    varying = varying_parts(chunks[first:last], data[begin:end], words) if last - first >= _FEW else None
    if varying is None:
        return _found(data, words, start, stop)
    if _found(varying, words, 0, len(varying)):
        return True
    if begin > start and _found(data, words, start, begin + SEAM):
        return True
    return end < stop and _found(data, words, end, stop)


def _found(data: bytes, words: TellingWords, start: int, stop: int) -> bool:
    find = data.rfind  # four times as fast as `find`, which compares the words' last characters: quotation marks
    for word in words.between:  # noqa: SIM110 - a generator takes as long as the search of a few hundred bytes
        if find(word, start, stop) >= 0:
            return True
    return False


def _start_of_last(data: bytes, since: int) -> int:
    """Where the last events begin; below zero where there are not so many after `since`."""
    at = len(data)
    while at and data[at - 1] == _LINE_FEED:
        at -= 1
    for _ in range(LAST_EVENTS):
        at = data.rfind(_LINE_FEED, since, at)
        while at > since and data[at - 1] != _LINE_FEED:  # a line within an event
            at = data.rfind(_LINE_FEED, since, at)
        if at <= since:
            return -1
        at -= 1
    return at + len(_GAP)
