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
from tokenmeter.wire.extracted import RUNNING, Extracted
from tokenmeter.wire.usage_reader import Facts, UsageReader

__all__ = ["LastEvents", "last_events"]

_DATA: Final = b"data: "
_DONE: Final = b"data: [DONE]"
_decode: Final = json.JSONDecoder().raw_decode


class LastEvents:
    """The last events of streams of one dialect of a wire format."""

    __slots__ = ("_elements", "_reader")

    def __init__(self, reader: UsageReader) -> None:
        """Raises ValueError for a dialect in which an event says more than its facts and its usage."""
        api = reader.api
        if api.envelopes or api.begins or api.turns or api.ends:
            raise ValueError(api.id)
        self._reader = reader
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
        finish: tuple[str, ...] = ()
        for event in events:
            body = _object(event)
            if body is None:
                return None
            facts = self._reader.facts(body)
            usage = self._usage(body)
            reasons = facts.finish
            if facts.error is not None or (name is not None and facts.id is not None and facts.id != name):
                return None
            if reasons and not RUNNING.isdisjoint(reason.lower() for reason in reasons):
                return None
            if usage is not None:
                if raw is not None:
                    return None
                raw, root = usage, body
            if not reasons and (usage is None or usage is body) and self._reader.refusal(body) is not None:
                return None
            name = name or facts.id
            model, tier, finish = facts.model or model, facts.tier or tier, reasons or finish
        if raw is None or root is None or self._is_of_choice(root, raw):
            return None
        _, each = self._reader.elements(model)
        facts = Facts(model, name, tier, finish, None)
        return self._reader.settle(raw, facts, root, spoke=None, counts={**each})

    def _usage(self, body: dict[str, Any]) -> dict[str, Any] | None:
        usage = self._reader.usage_object(body)
        return usage if usage is not None and any(value is not None for value in usage.values()) else None

    def _is_of_choice(self, root: dict[str, Any], raw: dict[str, Any]) -> bool:
        return bool(self._reader.choice) and self._reader.choice[0](root) is raw


def _object(event: bytes) -> dict[str, Any] | None:
    """The object of an event of one line, unless its shape alone says that it is no part of an answer."""
    if not event.startswith(_DATA) or b"\n" in event:
        return None
    try:
        text = event[len(_DATA) :].decode()
        body, stop = _decode(text)
    except (ValueError, RecursionError):
        return None
    if stop != len(text) or type(body) is not dict or "event" in body or body.get("type") == "error":
        return None
    return body


@functools.cache
def last_events(reader: UsageReader) -> LastEvents | None:
    """The reader of last events of one dialect; None where there is none."""
    try:
        return LastEvents(reader)
    except ValueError:
        return None
