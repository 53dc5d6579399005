"""Reads the usage of a streamed answer from its events, fed one by one in the order they came.

Streams state their usage once (OpenAI's last chunk, `response.completed`), as a running count in every event (StepFun,
DashScope, Gemini), twice in one event (Groq), or split over two events (Anthropic: input first, output as it grows).
One rule serves them all (`growing_usage`): a later count replaces an earlier one field by field, and no count falls.

Several answers in one list of events (a realtime session, a live session) are several usages and are added up; an
answer begins anew after the end of the one before, by its id or by the signs the format declares.

A stream that ended before the vendor said it was over leaves what was reported until then: its input is exact, its
output a lower bound, and `Usage.sources` says `partial` for the latter.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from tokenmeter.usage import Source
from tokenmeter.wire.answer_facts import Facts
from tokenmeter.wire.element_counts import Gathered
from tokenmeter.wire.extract import Extracted, as_dict, reader_for
from tokenmeter.wire.extracted import RUNNING, added_up
from tokenmeter.wire.growing_usage import GrowingUsage
from tokenmeter.wire.telling_words import TellingWords
from tokenmeter.wire.usage_reader import UsageReader
from tokenmeter.wire.vendor_errors import refusal

__all__ = ["StreamReader"]

OnText = Callable[[str, str], None]
_WAITING_MOST: Final = 200
_ANSWERS_MOST: Final = 1000
_NO_FACTS: Final = Facts(None, None, None, (), None)


class StreamReader:
    """Reads one stream. `on_text(kind, delta)` receives the text as it comes: text, reasoning or tool_calls.

    Without `on_text` the events that cannot carry usage, an error or the end are skipped undecoded, and a zero output
    is left out of the result, since nothing tells whether text went by.

    `terminal` turns true at the protocol's own end (`[DONE]`, `message_stop`, `response.completed` …); `error` is
    the type or code of an error event. No event makes it raise.
    """

    __slots__ = (
        "_answers", "_api", "_begun", "_complete", "_facts", "_found", "_on_text", "_over", "_provider", "_reader",
        "_root", "_said", "_spare", "_spoke", "_turned", "_two_ids", "_unread", "_usage", "_waiting", "_words",
        "error", "terminal",
    )  # fmt: skip

    def __init__(self, *, provider: str | None = None, api: str | None = None, on_text: OnText | None = None) -> None:
        self._provider = provider
        self._api = api
        self._on_text = on_text
        self._reader: UsageReader | None = None
        self._words: TellingWords | None = None
        self._waiting: list[tuple[dict[str, Any], str | None]] = []
        self._answers: list[Extracted] = []
        self._said: dict[str, str] = {}
        self._unread = 0
        self.terminal = False
        self.error: str | None = None
        self._begin(_NO_FACTS)
        self._use(reader_for(provider, api))

    def _begin(self, facts: Facts) -> None:
        """Start an answer, knowing the facts that all answers of a session share."""
        self._usage = GrowingUsage()
        self._spare = GrowingUsage()
        self._root: dict[str, Any] = {}
        self._facts = facts
        self._found: Gathered = {}
        self._complete = False
        self._spoke = False
        self._begun = False
        self._over = False
        self._turned = False
        self._two_ids: str | None = None

    def feed(self, event: object, name: str | None = None) -> None:
        """Take one event: its `data:` text, or the object it decodes to; `name` is the event's name, if it has one."""
        if isinstance(event, str):
            text = event.strip()
            if text == "[DONE]":
                self.terminal = self._over = True
                return
            if self._words is not None and self._facts.model is not None and not self._words.in_text.search(text):
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
        if len(lines) > 1:  # events a server did not part by a blank line
            for line in lines:
                self.feed(line, name)
        elif not isinstance(event, str) or event.strip():
            self._unread += 1

    def result(self) -> Extracted:
        """What the stream has said so far; the whole answer once it has ended."""
        reader = self._reader or self._last_resort()
        if reader is None:
            error = self.error or next((code for body, _ in self._waiting if (code := refusal(body))), None)
            reason = (
                f"the stream is an error ({error})"
                if error
                else "the stream is of no known wire format: say which with api"
            )
            return Extracted(None, Source.NONE, reason=reason, error=error, flags=self._flags())
        answer = self._answer(reader)
        if self._answers:
            read = self._answers if answer.usage is None else [*self._answers, answer]
            text = f"several_answers: the usage is the sum of {len(read)} answers"
            answer = added_up(read, flag=text)._replace(error=answer.error) if len(read) > 1 else read[0]
        flags = self._flags()
        return answer._replace(flags=(*answer.flags, *flags)) if flags else answer

    def _answer(self, reader: UsageReader) -> Extracted:
        """The answer that the last events belong to."""
        facts = self._facts._replace(error=self.error)
        partial = not (self._complete or self.terminal)
        grown = self._usage if self._usage else self._spare
        counts = self._counts(reader)
        if not grown:
            if counts and facts.error is None and not partial:
                return reader.pieces(counts, facts)
            over = "carried no usage" if self._complete or self.terminal else "ended before its usage came"
            error = f" (error: {self.error})" if self.error else ""
            return reader.nothing(facts, f"the stream {over}{error}")
        spoke = self._spoke or (None if self._on_text is None else False)
        answers = [
            reader.settle(raw, facts, self._root, partial=partial, spoke=spoke, counts=counts)
            for raw in grown.objects(reader.counted)
        ]
        if len(answers) == 1:
            answer = answers[0]
        else:
            text = (
                f"usage_per_choice: {len(answers)} choices state a usage each; outputs add up, the prompt counts once"
            )
            answer = added_up(answers, flag=text, same_prompt=True)
        flags = (*grown.flags(), *((self._two_ids,) if self._two_ids is not None else ()))
        return answer._replace(flags=(*answer.flags, *flags)) if flags else answer

    def _counts(self, reader: UsageReader) -> dict[str, Any]:
        elements, each = reader.elements(self._facts.model)
        return {**each, **elements.gathered(self._found)}

    def _last_resort(self) -> UsageReader | None:
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

    def _use(self, reader: UsageReader | None) -> None:
        self._reader = reader
        if reader is not None and self._on_text is None:
            self._words = reader.words

    def _recognise(self, body: dict[str, Any], name: str | None) -> None:
        """Find the wire format from an event; those before the first telling one are read after it."""
        self._waiting.append((body, name))
        typed = {"type": name, **body} if name is not None else body
        self._use(reader_for(self._provider, self._api, typed))
        if self._reader is None and len(self._waiting) < _WAITING_MOST:
            return
        waiting, self._waiting = self._waiting, []
        for waited, waited_name in waiting:
            if self._reader is not None:
                self._take(self._reader, waited, waited_name)

    def _take(self, reader: UsageReader, body: dict[str, Any], name: str | None) -> None:
        root = reader.api.root(body) if reader.api.envelopes else body
        facts = reader.facts(root)
        raw = reader.usage_object(root)
        if raw is not None and not any(value is not None for value in raw.values()):
            raw = None
        begins = any(begins(body) for begins in reader.begins) if reader.begins else False
        if self._over and self._begins_anew(reader, body, facts, raw, begins=begins):
            self._close(reader)
        self._begun = self._begun or begins
        self._note(facts, reader, body, raw)
        if raw is not None:
            self._usage.take(raw, reader.counted, _choice(reader, root, raw))
            self._root = root
        if (spare := reader.spare_object(body)) is not None:
            self._spare.take(spare, reader.counted)
        elements, _ = reader.elements(self._facts.model)
        if elements:
            elements.gather(root, self._found)
        if not self.terminal and any(ends(body) for ends in reader.ends):
            self.terminal = self._over = True
        if reader.turns and any(turns(body) for turns in reader.turns):
            self._complete = self._over = self._turned = True
        if self._on_text is not None and reader.api.deltas:
            self._hand_on(reader, body, name, self._on_text)

    def _begins_anew(
        self, reader: UsageReader, body: dict[str, Any], new: Facts, raw: dict[str, Any] | None, *, begins: bool
    ) -> bool:
        """Whether an event after an answer's end belongs to another answer."""
        old = self._facts
        other = bool(new.id and old.id and new.id != old.id)
        if begins:
            return self._begun and (other or not new.id or not old.id)
        if not self._usage:
            return False
        if self._turned:
            return raw is not None or any(turns(body) for turns in reader.turns)
        return raw is not None and other

    def _close(self, reader: UsageReader) -> None:
        """Settle the answer that is over, and start the next."""
        answer = self._answer(reader)
        if answer.usage is not None and len(self._answers) < _ANSWERS_MOST:
            self._answers.append(answer)
        elif answer.usage is not None:
            self._answers[-1] = added_up([self._answers[-1], answer], flag="several_answers")
        self.terminal = False
        self._begin(Facts(self._facts.model, None, None, (), None))

    def _note(self, new: Facts, reader: UsageReader, body: dict[str, Any], raw: dict[str, Any] | None) -> None:
        """Keep what an event says beside its usage."""
        old = self._facts
        finish = tuple(reason for reason in new.finish if reason.lower() not in RUNNING)
        error = new.error or (reader.error(body) if reader.api.envelopes else None)
        if error is None and (raw is None or raw is body) and not finish:
            error = reader.refusal(body)
        if error is None and body.get("type") == "error":
            error = str(body.get("code") or "error")[:100]
        if error is not None:
            self.error = error
        if finish:
            self._complete = True
        if new.id and old.id and new.id != old.id and not self._over and not self._two_ids:
            self._two_ids = f"two_ids: one answer is called {old.id[:60]!r} and {new.id[:60]!r}"
        self._facts = Facts(new.model or old.model, old.id or new.id, new.tier or old.tier, finish or old.finish, None)

    def _hand_on(self, reader: UsageReader, body: dict[str, Any], name: str | None, on_text: OnText) -> None:
        kind_of_event = body.get("type") or body.get("event_type") or name
        deltas = reader.api.deltas
        readers = deltas.get(kind_of_event) if isinstance(kind_of_event, str) else None
        for kind, read in readers if readers is not None else deltas.get("*", ()):
            for piece in read(body):
                text = piece if isinstance(piece, str) else json.dumps(piece, ensure_ascii=False, default=str)
                if reader.api.cumulative_text:
                    text = self._news(kind, text)
                if text:
                    self._spoke = True
                    on_text(kind, text)

    def _news(self, kind: str, text: str) -> str:
        """What is new in a text that may repeat everything said so far."""
        said = self._said.get(kind, "")
        if text.startswith(said):
            self._said[kind] = text
            return text[len(said) :]
        self._said[kind] = said + text
        return text


def _choice(reader: UsageReader, root: dict[str, Any], raw: dict[str, Any]) -> object:
    """The number of the choice that a usage is of; None where it is of the whole answer."""
    if not reader.choice:
        return None
    usage, index = reader.choice
    return index(root) if usage(root) is raw else None


def _unwrapped(body: dict[str, Any], name: str | None) -> tuple[dict[str, Any], str | None]:
    """An event written as its name beside its payload: how decoders of event streams hand them on."""
    for key in ("payload", "data"):
        if type(body.get(key)) is dict and type(body["event"]) is str:
            return body[key], body["event"]
    return body, name
