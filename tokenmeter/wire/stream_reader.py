"""A streamed answer → `Usage`: the events fed one by one, in the order they came.

Streams say their usage in four ways, and one rule serves them all: *later replaces earlier*. Totals come once
(OpenAI's last chunk, `response.completed`), or in every event as a running count (StepFun, DashScope, Gemini), or
twice in one (Groq), or split over two events (Anthropic: input first, output as it grows; `merge` in the api's data
makes the replacement field by field). Nothing is ever added up.

A stream that ended before the vendor said it was over leaves what was reported until then: its input is exact, its
output a lower bound, and `Usage.sources` says `partial` for the latter.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final

from tokenmeter.usage import Source
from tokenmeter.wire.extract import Extracted, as_dict, reader_for
from tokenmeter.wire.usage_reader import Facts, Reader

__all__ = ["StreamReader"]

OnText = Callable[[str, str], None]
_RUNNING: Final = frozenset(("", "null", "in_progress", "queued"))
_WAITING_MOST: Final = 200


class StreamReader:
    """Reads one stream. `on_text(kind, delta)` is handed the text as it comes: text, reasoning or tool_calls.

    `terminal` turns true at the protocol's own end (`[DONE]`, `message_stop`, `response.completed` …); `error` is
    the type or code of an error event. No event makes it raise.
    """

    __slots__ = (
        "_api", "_complete", "_facts", "_needles", "_on_text", "_provider", "_reader", "_root", "_said", "_unread",
        "_usage", "_waiting", "error", "terminal",
    )  # fmt: skip

    def __init__(self, *, provider: str | None = None, api: str | None = None, on_text: OnText | None = None) -> None:
        self._provider = provider
        self._api = api
        self._on_text = on_text
        self._reader: Reader | None = None
        self._needles: re.Pattern[str] | None = None
        self._waiting: list[tuple[dict[str, Any], str | None]] = []
        self._usage: dict[str, Any] | None = None
        self._root: dict[str, Any] = {}
        self._facts = Facts(None, None, None, (), None)
        self._said: dict[str, str] = {}
        self._complete = False
        self._unread = 0
        self.terminal = False
        self.error: str | None = None
        self._use(reader_for(provider, api))

    def feed(self, event: object, name: str | None = None) -> None:
        """Take one event: its `data:` text, or the object it decodes to; `name` is the event's name, if it has one."""
        if isinstance(event, str):
            text = event.strip()
            if text == "[DONE]":
                self.terminal = True
                return
            if self._needles is not None and self._facts.model is not None and not self._needles.search(text):
                return
        body = event if type(event) is dict else as_dict(event)
        if type(body) is list:
            for item in body:  # Gemini without alt=sse: one array of events
                if type(item) is dict:
                    self.feed(item, name)
            return
        if type(body) is not dict:
            self._not_read(event, name)
            return
        if "event" in body:
            body, name = _unwrapped(body, name)
        if self._reader is None:
            self._recognise(body, name)
        else:
            self._take(self._reader, body, name)

    def _not_read(self, event: object, name: str | None) -> None:
        lines = event.split("\n") if isinstance(event, str) else []
        if len(lines) > 1:  # events a server forgot to part by a blank line
            for line in lines:
                self.feed(line, name)
        elif not isinstance(event, str) or event.strip():
            self._unread += 1

    def result(self) -> Extracted:
        """What the stream has said so far; the whole answer once it has ended."""
        reader = self._reader or self._last_resort()
        if reader is None:
            reason = "the stream is of no known wire format: say which with api"
            return Extracted(None, Source.NONE, reason=reason, error=self.error, flags=self._flags())
        facts = self._facts._replace(error=self.error)
        if self._usage is None:
            over = "carried no usage" if self._complete or self.terminal else "ended before its usage came"
            error = f" (error: {self.error})" if self.error else ""
            return reader.nothing(facts, f"the stream {over}{error}")._replace(flags=self._flags())
        partial = not (self._complete or self.terminal)
        answer = reader.settle(self._usage, facts, self._root, partial=partial)
        return answer._replace(flags=(*answer.flags, *self._flags())) if self._unread else answer

    def _last_resort(self) -> Reader | None:
        """No event told the format: the provider's most likely one, if there is a provider."""
        reader = reader_for(self._provider, self._api, last=True)
        self._use(reader)
        if reader is not None:
            for body, name in self._waiting:
                self._take(reader, body, name)
        self._waiting = []
        return reader

    def _flags(self) -> tuple[str, ...]:
        return (f"unreadable_events: {self._unread} events of the stream are not JSON",) if self._unread else ()

    def _use(self, reader: Reader | None) -> None:
        self._reader = reader
        if reader is not None and self._on_text is None:
            self._needles = reader.needles

    def _recognise(self, body: dict[str, Any], name: str | None) -> None:
        """Find the wire format from an event; those before the first telling one are read after it."""
        self._waiting.append((body, name))
        typed = {"type": name, **body} if name is not None else body
        self._use(reader_for(self._provider, self._api, typed))
        if self._reader is None and len(self._waiting) < _WAITING_MOST:
            return
        waiting, self._waiting = self._waiting, []
        for held, held_name in waiting:
            if self._reader is not None:
                self._take(self._reader, held, held_name)

    def _take(self, reader: Reader, body: dict[str, Any], name: str | None) -> None:
        root = reader.api.root(body)
        self._note(reader.facts(root), reader, body)
        raw = reader.usage_object(root)
        if raw is not None and any(value is not None for value in raw.values()):
            if reader.merge and self._usage is not None:
                self._usage.update((key, value) for key, value in raw.items() if value is not None)
            else:
                self._usage = dict(raw)
            self._root = root
        if not self.terminal and any(ends(body) for ends in reader.ends):
            self.terminal = True
        if self._on_text is not None and reader.api.deltas:
            self._hand_on(reader, body, name, self._on_text)

    def _note(self, new: Facts, reader: Reader, body: dict[str, Any]) -> None:
        old = self._facts
        finish = tuple(reason for reason in new.finish if reason not in _RUNNING)
        error = new.error or (reader.error(body) if reader.api.envelopes else None)
        if error is None and body.get("type") == "error":
            error = str(body.get("code") or "error")[:100]
        if error is not None:
            self.error = error
        if finish:
            self._complete = True
        self._facts = Facts(new.model or old.model, old.id or new.id, new.tier or old.tier, finish or old.finish, None)

    def _hand_on(self, reader: Reader, body: dict[str, Any], name: str | None, on_text: OnText) -> None:
        kind_of_event = body.get("type") or body.get("event_type") or name
        deltas = reader.api.deltas
        readers = deltas.get(kind_of_event) if isinstance(kind_of_event, str) else None
        for kind, read in readers if readers is not None else deltas.get("*", ()):
            for piece in read(body):
                text = piece if isinstance(piece, str) else json.dumps(piece, ensure_ascii=False, default=str)
                if reader.api.cumulative_text:
                    text = self._news(kind, text)
                if text:
                    on_text(kind, text)

    def _news(self, kind: str, text: str) -> str:
        """What is new in a text that may repeat everything said so far."""
        said = self._said.get(kind, "")
        if text.startswith(said):
            self._said[kind] = text
            return text[len(said) :]
        self._said[kind] = said + text
        return text


def _unwrapped(body: dict[str, Any], name: str | None) -> tuple[dict[str, Any], str | None]:
    """An event written as its name beside its payload: how decoders of event streams hand them on."""
    for key in ("payload", "data"):
        if type(body.get(key)) is dict and type(body["event"]) is str:
            return body[key], body["event"]
    return body, name
