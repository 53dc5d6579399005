"""Finds the events of a stream that say what it was billed for, without reading the others.

`telling_events` searches the whole stream for them. `end_events` takes its first and last events alone, if nothing
between them tells anything: nearly every vendor says all that counts in the last three. `end_chunks` does so where
every event came in a chunk of its own, as it does from most servers.

Both read server-sent events parted by line feeds; they give None for what is framed otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from tokenmeter.wire.telling_words import TellingWords
from tokenmeter.wire.varying_parts import varying_parts

__all__ = ["LAST_EVENTS", "SEAM", "Ends", "end_chunks", "end_events", "goes_on", "telling_events", "tells"]

LAST_EVENTS: Final = 3
"""The finish reason, the usage, and the terminator, each in an event of its own."""
SEAM: Final = 64
"""No telling word is longer: one may lie across the cut between two pieces."""
_DONE: Final = b"[DONE]"
_GAP: Final = b"\n\n"
_LINE: Final = b"\ndata:"
_LINE_FEED: Final = 10
_FEW: Final = 12
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


class Ends(NamedTuple):
    """The first event of a stream and its last ones, between which nothing tells anything."""

    first: bytes
    last: bytes
    first_tells: bool


def end_events(data: bytes, words: TellingWords, *, since: int) -> bytes | None:
    """The last events of a stream; None where an event between `since`, where one begins, and them tells something."""
    start = _start_of_last(data, max(0, since - len(_GAP)))
    return None if start < 0 or tells(data, words, since, start) else data[start:]


def end_chunks(chunks: Sequence[bytes], words: TellingWords) -> Ends | None:
    """The ends of a stream whose first and last events are a chunk each; None where only all of it may say them."""
    if len(chunks) < _FEW:
        return None
    first, last = chunks[0], b"".join(chunks[-LAST_EVENTS:])
    if first.find(_GAP) != len(first) - len(_GAP) or last.count(_GAP) != LAST_EVENTS or not last.endswith(_GAP):
        return None
    varying = varying_parts(chunks[1:-LAST_EVENTS], words)
    if varying is None:
        return None
    both = first + varying
    if not tells(both, words, 0, len(both)):
        return Ends(first, last, False)
    return None if tells(both, words, len(first), len(both)) else Ends(first, last, True)


def goes_on(last: bytes) -> bool:
    """Whether last events go on after the terminator."""
    return last.find(_DONE, 0, last.rfind(_LINE)) >= 0


def tells(data: bytes, words: TellingWords, start: int, stop: int) -> bool:
    """Whether a part of a stream holds a telling word other than a reason to end."""
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
