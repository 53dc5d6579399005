"""Reads the last events of a stream where they are plain: one line of JSON each, with one usage, then the terminator.

The general reader (`stream_reader.py`) takes events of any shape, one by one, and may be asked at any time. Most
streams end in the same few events, which are all there: their facts and their usage are read here as of an answer.

The answer is None for anything that is not plain: then the general reader says what it is.
"""

from __future__ import annotations

import functools
import json
from typing import Any, Final

from tokenmeter.wire.element_counts import ElementCounts
from tokenmeter.wire.event_shapes import EventShapes, Said
from tokenmeter.wire.extracted import RUNNING, Extracted
from tokenmeter.wire.usage_reader import Facts, UsageReader

__all__ = ["LastEvents", "last_events"]

_DATA: Final = b"data: "
_DONE: Final = b"data: [DONE]"
_decode: Final = json.JSONDecoder().raw_decode


class LastEvents:
    """The last events of streams of one dialect of a wire format."""

    __slots__ = ("_beside", "_elements", "_reader", "_shapes")

    def __init__(self, reader: UsageReader) -> None:
        """Raises ValueError for a dialect in which an event says more than its facts and its usage."""
        api = reader.api
        if api.envelopes or api.begins or api.turns or api.ends:
            raise ValueError(api.id)
        self._reader = reader
        self._shapes = EventShapes(self._said)
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
        model = name = tier = raw = None
        finish: tuple[str, ...] = ()
        for event in events:
            said = self._event(event)
            if said is None:
                return None
            facts, usage = said
            if name is not None and facts.id is not None and facts.id != name:
                return None
            if usage is not None:
                if raw is not None:
                    return None
                raw = usage
            name = name or facts.id
            model, tier, finish = facts.model or model, facts.tier or tier, facts.finish or finish
        if raw is None:
            return None
        _, each = self._reader.elements(model)
        facts = Facts(model, name, tier, finish, None)
        answer = self._reader.settle(raw, facts, {"usage": raw}, spoke=None, counts={**each})
        return None if answer.usage is None else answer

    def _event(self, event: bytes) -> Said | None:
        """What an event of one line says; None where it is not plain."""
        if not event.startswith(_DATA) or b"\n" in event:
            return None
        text = event[len(_DATA) :]
        said = self._shapes.find(text)
        if said is not None:
            return said
        try:
            line = text.decode()
            body, stop = _decode(line)
        except (ValueError, RecursionError):
            return None
        if stop != len(line) or type(body) is not dict:
            return None
        said = self._said(body)
        if said is not None and (said[0].finish or said[1] is not None):  # no text: that is another each time
            self._shapes.learn(text)
        return said

    def _said(self, body: dict[str, Any]) -> Said | None:
        """What an event says; None where that is more than its facts and a usage of the whole answer."""
        reader = self._reader
        if "event" in body or body.get("type") == "error" or not self._beside.isdisjoint(body):
            return None
        facts = reader.facts(body)
        if facts.error is not None or not RUNNING.isdisjoint(reason.lower() for reason in facts.finish):
            return None
        usage = reader.usage_object(body)
        if usage is not None:
            if reader.choice and reader.choice[0](body) is usage:
                return None
            if not any(value is not None for value in usage.values()):
                usage = None
        if not facts.finish and (usage is None or usage is body) and reader.refusal(body) is not None:
            return None
        return facts, usage


@functools.cache
def last_events(reader: UsageReader) -> LastEvents | None:
    """The reader of last events of one dialect; None where there is none."""
    try:
        return LastEvents(reader)
    except ValueError:
        return None
