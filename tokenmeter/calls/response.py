"""Readings: the response of a call, kept as it came and read once, at settle.

Four forms, one interface: an object given by hand, text given by hand, a whole body, and a streamed body
(`calls/stream_response.py`).
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from tokenmeter._support.guard import guard
from tokenmeter.record import NOT_REPORTED, End
from tokenmeter.usage import Usage
from tokenmeter.wire.extract import Extracted, extract, reader_for
from tokenmeter.wire.extracted import RUNNING, added_up
from tokenmeter.wire.parsed_answer import ParsedAnswers, parsed_answers
from tokenmeter.wire.request_body import exceeds

if TYPE_CHECKING:
    from tokenmeter.token_count import TokenCount
    from tokenmeter.tokens import OutputCounter
    from tokenmeter.wire.answer_facts import Facts

__all__ = ["FOLD_BYTES", "BodyReading", "ObjectReading", "Reading", "TextReading", "as_plain", "counter_for"]

FOLD_BYTES: Final = 64 * 1024
_BIG_BODY: Final = 256 * 1024
_KEPT_BODY: Final = 1024 * 1024
_HEAD: Final = 4096
_COMPLETE: Final = End.COMPLETE
_CUT: Final = (End.CLOSED_EARLY, End.DROPPED)


class Reading:
    """The response of a call. Ask `usage` first: the other answers are complete only after it."""

    extracted: Extracted | None = None
    error: str | None = None
    flags: tuple[str, ...] = ()
    whole = False
    """Whether it is one answer, not the events of a stream."""
    packed = False
    """Whether there is so much of it that it is kept packed."""
    _counter: OutputCounter | None = None

    @property
    def small(self) -> bool:
        """Whether so little is kept that it may be read later."""
        return False

    @property
    def short(self) -> bool:
        """Whether what is left to count is so little that it may be counted on the caller's thread."""
        return True

    @property
    def lengthy(self) -> bool:
        """Whether finding the usage takes so much reading that the caller must not wait for it."""
        return False

    def usage(self, end: End) -> tuple[Usage, str | None]:
        """The usage as reported, and why nothing was."""
        return NOT_REPORTED, None

    def plain(self) -> Extracted | None:
        """What an answer says that its SDK has parsed and that reports its usage in full; None: ask `usage`."""
        return None

    @property
    def api(self) -> str | None:
        """The wire format that the answer was read as."""
        return self.extracted.api if self.extracted is not None else None

    def answer(self, words: tuple[bytes, ...] = ()) -> object:
        """The answer as plain JSON values; None where there is none, or its text holds none of `words`."""
        return None

    def end(self, end: End) -> End:
        """How the call really ended, given how it looked from outside."""
        return End.ERROR if self.error is not None and end is End.COMPLETE else end

    def output(self) -> TokenCount | None:
        """A count of the text that came back; None where there is no text to be seen."""
        return self._counter.count() if self._counter is not None else None

    def _answer_count(self) -> TokenCount | None:
        """The count of a whole answer; None where nothing in it is an answer of its format: that is not zero tokens."""
        count = self._counter.count() if self._counter is not None else None
        reasons = self.extracted.finish_reasons if self.extracted is not None else ()
        ended = any(reason.lower() not in RUNNING for reason in reasons)
        return count if count is None or count.tokens or ended else None

    def text_kinds(self) -> tuple[str, set[str]] | None:
        """Script and kinds of the text that `output` counted; None where it counted none."""
        return self._counter.text_kinds() if self._counter is not None else None

    def _took(self, extracted: Extracted) -> tuple[Usage, str | None]:
        self.extracted = extracted
        self.flags = extracted.flags
        if self.error is None:
            self.error = extracted.error
        return extracted.usage or NOT_REPORTED, extracted.reason


class ObjectReading(Reading):
    """A reply given by hand or returned by an SDK: a mapping, or an object with `model_dump` or `to_dict`.

    Of several replies in one call, such as the responses of a realtime session, each that has an id and a usage of its
    own adds up; a later state of the same answer takes the place of the earlier one.
    """

    def __init__(self, reply: object, provider: str | None, api: str | None, model: str | None) -> None:
        self._reply: object = reply
        self._provider = provider
        self._api = api
        self._model = model
        self._before: dict[str, Extracted] = {}

    def then(self, reply: object) -> None:
        """Take a further reply of the same call."""
        earlier = self._read()
        if earlier.usage is not None and earlier.response_id is not None:
            self._before[earlier.response_id] = earlier
        self._reply = reply

    def usage(self, end: End) -> tuple[Usage, str | None]:
        last = self._read()
        others = [answer for name, answer in self._before.items() if name != last.response_id]
        if not others or last.response_id is None:
            return self._took(last)
        answers = [*others, last] if last.usage is not None else others
        flag = f"several_answers: the usage is the sum of {len(answers)} answers"
        return self._took(added_up(answers, flag=flag) if len(answers) > 1 else answers[0])

    def _read(self) -> Extracted:
        return extract(self.answer(), provider=self._provider, api=self._api)

    def answer(self, words: tuple[bytes, ...] = ()) -> object:
        self._reply = as_plain(self._reply)
        return self._reply

    def output(self) -> TokenCount | None:
        self._counter = _counter_of(self._reply, self._provider, self._api, self._model)
        return self._answer_count()

    @property
    def short(self) -> bool:
        return not exceeds(self._reply, FOLD_BYTES)


class TextReading(Reading):
    """Text given by hand, piece by piece: counted as it comes, not kept."""

    def __init__(self, counter: OutputCounter) -> None:
        self._counter = counter
        self._feed = counter.feed

    def feed(self, text: str) -> None:
        self._feed("text", text)

    def usage(self, end: End) -> tuple[Usage, str | None]:
        return NOT_REPORTED, "the usage was not given, only the text"


class BodyReading(Reading):
    """A whole response body: given at once, or fed as it is read by the caller.

    Of a fed body past 1 MB only the head and the tail are kept: a body so large is one of vectors or media, and its
    usage stands at its end.
    """

    whole = True

    def __init__(
        self,
        provider: str | None,
        api: str | None,
        model: str | None,
        body: bytes = b"",
        decoder: Callable[[bytes], bytes] | None = None,
    ) -> None:
        self.chunks = [body] if body else []
        self._head = b""
        self._decode = decoder
        self._provider = provider
        self._api = api
        self._model = model
        self._parsed: object = None

    _answers: ParsedAnswers | None = None
    _facts: Facts | None = None

    def note_parsed(self, answer: object) -> None:
        """Note what the SDK has made of the body, which need not be parsed again then. Nothing of it is kept."""
        self._answers = answers = parsed_answers(self._provider, self._api)
        self._facts = answers.facts(answer) if answers is not None else None

    @property
    def small(self) -> bool:
        chunks = self.chunks
        held = len(chunks[0]) if len(chunks) == 1 else sum(map(len, chunks))
        return len(self._head) + held <= FOLD_BYTES

    @property
    def short(self) -> bool:
        return len(self._head) <= FOLD_BYTES

    def fold(self) -> None:
        """Past 1 MB, keep the head and the tail."""
        if not self.chunks:
            return
        if self._decode is not None:
            with guard("decoding a body"):
                self._head += self._decode(b"".join(self.chunks))
        else:
            self._head += b"".join(self.chunks)
        self.chunks.clear()
        if len(self._head) > _KEPT_BODY:
            self._head = self._head[:_HEAD] + self._head[-_KEPT_BODY // 4 :]

    def plain(self) -> Extracted | None:
        answers, facts, chunks = self._answers, self._facts, self.chunks
        if answers is None or facts is None or len(chunks) != 1 or self._head or self._decode is not None:
            return None
        said = self.extracted = answers.read(chunks[0], facts)
        return said

    def usage(self, end: End) -> tuple[Usage, str | None]:
        self.fold()
        body = self._head
        if self._answers is not None and self._facts is not None:
            said = self._answers.read(body, self._facts)
            if said is not None:
                return self._took(said)
        if len(body) > _BIG_BODY:
            self._parsed = _tail_usage(body)
        if self._parsed is None:
            try:
                self._parsed = json.loads(body)
            except (ValueError, RecursionError):
                kind = "is empty" if not body.strip() else "is not JSON"
                return NOT_REPORTED, f"the response body {kind}"
        return self._took(extract(self._parsed, provider=self._provider, api=self._api))

    def answer(self, words: tuple[bytes, ...] = ()) -> object:
        self.fold()
        body = self._head
        if len(body) > _BIG_BODY or (words and not any(word in body for word in words)):
            return None
        if self._parsed is None:
            with contextlib.suppress(ValueError, RecursionError):
                self._parsed = json.loads(body)
        return self._parsed

    def end(self, end: End) -> End:
        if self._parsed is not None and end in _CUT:
            end = _COMPLETE  # closed after the last byte: the answer was whole
        return End.ERROR if self.error is not None and end is _COMPLETE else end

    def output(self) -> TokenCount | None:
        self._counter = _counter_of(self._parsed or self.answer(), self._provider, self._api, self._model)
        return self._answer_count()


def _tail_usage(body: bytes) -> object:
    """The usage of a body of megabytes (embeddings) without parsing its vectors; None if it is not at the end."""
    decoder = json.JSONDecoder()
    found: dict[str, Any] = {}
    for part in (body[:_HEAD], body[-16384:]):
        text = part.decode("utf-8", "replace")
        for name in ("usage", "model", "service_tier", "object"):
            at = text.rfind(f'"{name}"')
            colon = text.find(":", at) if at >= 0 else -1
            if colon < 0:
                continue
            start = colon + 1 + (len(text[colon + 1 :]) - len(text[colon + 1 :].lstrip()))
            try:
                value, _ = decoder.raw_decode(text, start)
            except ValueError:
                continue
            if name != "usage" or isinstance(value, dict):
                found[name] = value
    return found if "usage" in found else None


def _counter_of(body: object, provider: str | None, api: str | None, model: str | None) -> OutputCounter | None:
    """A counter fed with all text of a whole answer; None where its format is not known."""
    if not isinstance(body, dict):
        return None
    reader = reader_for(provider, api, body)
    if reader is None or not reader.api.text:
        return None
    counter = counter_for(provider, api, model)
    for kind, text in reader.api.texts(body):
        counter.feed(kind, text)
    return counter


def counter_for(provider: str | None, api: str | None, model: str | None) -> OutputCounter:
    from tokenmeter.tokens import OutputCounter

    return OutputCounter(model=model or "", provider=provider, api=api)


def as_plain(reply: object) -> object:
    """An SDK's object as plain mappings and lists; what is plain already is returned as it is."""
    if reply is None or isinstance(reply, str | bytes | bytearray | Mapping | list | tuple | int | float):
        if isinstance(reply, bytes | bytearray):
            return bytes(reply).decode("utf-8", "replace")
        return reply
    for name in ("model_dump", "to_dict", "dict"):
        method = getattr(reply, name, None)
        if callable(method):
            return method()
    to_json = getattr(reply, "json", None)
    if callable(to_json):
        return to_json()
    return vars(reply) if hasattr(reply, "__dict__") else reply
