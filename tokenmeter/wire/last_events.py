"""Reads the last events of a stream where they are plain: one line of JSON each, with one usage, then the terminator.

The general reader (`stream_reader.py`) takes events of any shape, one by one, and may be asked at any time. Most
streams end in the same few events, which are all there: their facts and their usage are read here as of an answer.

The answer is None for anything that is not plain: then the general reader says what it is.
"""

from __future__ import annotations

import functools
import json
from typing import Any, Final

from tokenmeter.wire.answer_facts import Facts
from tokenmeter.wire.element_counts import ElementCounts
from tokenmeter.wire.extracted import RUNNING, Extracted
from tokenmeter.wire.usage_reader import UsageReader

__all__ = ["LastEvents", "last_events"]

_DATA: Final = b"data: "
_DONE: Final = b"data: [DONE]"
_USAGE: Final = b'"usage":'
_decode: Final = json.JSONDecoder().raw_decode
_Said = tuple[Facts, dict[str, Any] | None]
"""What an event says: its facts, and its usage object if it has one."""


class LastEvents:
    """The last events of streams of one dialect of a wire format."""

    __slots__ = ("_beside", "_elements", "_reader")

    def __init__(self, reader: UsageReader) -> None:
        """Raises ValueError for a dialect in which an event says more than its facts and its usage."""
        api = reader.api
        if api.envelopes or api.begins or api.turns or api.ends:
            raise ValueError(api.id)
        self._reader = reader
        self._beside = frozenset(path.partition(".")[0] for path in api.beside)
        counted = (api.elements, *api.elements_of.values())
        words = {word.strip('"') for one in counted for word in ElementCounts(one).needles}
        self._elements = tuple(f'"{word}"'.encode() for word in words)

    def read(self, data: bytes) -> Extracted | None:
        """What they say together; None where they are not plain, or do not say all that a call is billed by."""
        for word in self._elements:
            if word in data:
                return None
        *events, done = data.rstrip(b"\n").split(b"\n\n")
        if done != _DONE:
            return None
        model = name = tier = raw = root = None
        text = b""
        finish: tuple[str, ...] = ()
        for event in events:
            body = _object(event)
            said = self._said(body) if body is not None else None
            if said is None:
                return None
            facts, usage = said
            if name is not None and facts.id is not None and facts.id != name:
                return None
            if usage is not None:
                if raw is not None:
                    return None
                raw, root, text = usage, body, event
            name = name or facts.id
            model, tier, finish = facts.model or model, facts.tier or tier, facts.finish or finish
        if raw is None or root is None:
            return None
        return self._settled(Facts(model, name, tier, finish, None), raw, root, text)

    def _settled(self, facts: Facts, raw: dict[str, Any], root: Any, event: bytes) -> Extracted:
        """The answer with this usage, which the object `root` of an event states."""
        reader = self._reader
        frames = reader.frames
        text = b""
        if frames is not None and event.endswith(b"}}") and root.get("usage") is raw and self._beside.isdisjoint(root):
            text = event[event.rfind(_USAGE) + len(_USAGE) : -1]
            known = reader.by_frame(text, facts)
            if known is not None:
                return known._replace(raw=raw)
        if frames is not None and text:
            frames.learn(text, raw)
        _, each = reader.elements(facts.model)
        return reader.settle(raw, facts, root, spoke=None, counts={**each})

    def _said(self, body: dict[str, Any]) -> _Said | None:
        """What an event says; None where that is more than its facts and a usage of the whole answer."""
        reader = self._reader
        if "event" in body or body.get("type") == "error":
            return None
        facts = reader.facts(body)
        finish = facts.finish
        if facts.error is not None:
            return None
        for reason in finish:
            if reason.lower() in RUNNING:
                return None
        usage = reader.usage_object(body)
        if usage is not None:
            if body.get("usage") is not usage and reader.choice and reader.choice[0](body) is usage:
                return None
            for value in usage.values():
                if value is not None:
                    break
            else:
                usage = None
        if not finish and (usage is None or usage is body) and reader.refusal(body) is not None:
            return None
        return facts, usage


def _object(event: bytes) -> dict[str, Any] | None:
    """The object that an event of one line holds; None for any other event."""
    if not event.startswith(_DATA) or b"\n" in event:
        return None
    try:
        text = event[len(_DATA) :].decode()
        body, stop = _decode(text)
    except (ValueError, RecursionError):
        return None
    return body if stop == len(text) and type(body) is dict else None


@functools.cache
def last_events(reader: UsageReader) -> LastEvents | None:
    """The reader of last events of one dialect; None where there is none."""
    try:
        return LastEvents(reader)
    except ValueError:
        return None
