"""The streamed body of a call, read when it has ended, as far as it must be.

First its last events alone, if nothing before them tells anything; else all events that tell something; else, where no
usage was found, every event, whose text is counted. `calls/kept_stream.py` keeps the bytes until then.

A stream that is too long to keep is folded: its events so far are read in full, their text goes to an incremental
counter and is discarded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from tokenmeter.calls.kept_stream import KeptStream
from tokenmeter.calls.response import Reading, as_plain, counter_for
from tokenmeter.record import End
from tokenmeter.usage import Source, Usage
from tokenmeter.wire.events import EventSplitter
from tokenmeter.wire.extract import Extracted, reader_for
from tokenmeter.wire.last_events import last_events
from tokenmeter.wire.stream_ends import Ends, goes_on
from tokenmeter.wire.stream_reader import StreamReader

if TYPE_CHECKING:
    from tokenmeter.token_count import TokenCount
    from tokenmeter.wire.usage_reader import UsageReader

__all__ = ["StreamReading"]


class StreamReading(Reading):
    """A streamed body, fed by a tee through `chunks`, or event by event."""

    # An open stream is to hold little: what most never need, and what is needed when it has ended, is made then.
    _decoder: Callable[[bytes], bytes] | None = None
    _kept_stream: KeptStream | None = None
    _reader: StreamReader | None = None
    _splitter: EventSplitter | None = None
    _hand_fed = False
    terminal = False
    """Whether the protocol's own end was read, such as `[DONE]`."""
    _brief: Extracted | None = None
    """What the telling events say, where they say it all: the text is unread."""

    def __init__(
        self,
        provider: str | None,
        api: str | None,
        model: str | None,
        content_type: str,
        decoder: Callable[[bytes], bytes] | None = None,
    ) -> None:
        self._provider = provider
        self._api = api
        self._model = model
        self._content_type = content_type
        self.chunks: list[bytes] = []
        if decoder is not None:
            self._decoder = decoder

    @property
    def _kept(self) -> KeptStream:
        if self._kept_stream is None:
            self._kept_stream = KeptStream(self.chunks, self._decoder)
        return self._kept_stream

    @property
    def _server_sent(self) -> bool:
        return self._content_type.startswith("text/event-stream")

    @property
    def small(self) -> bool:
        return self._reader is None and not self.packed and len(self.chunks) < 1000

    @property
    def lengthy(self) -> bool:
        return self._reader is None and self.packed and self._briefly() is None

    # While it is read by the caller ---------------------------------------------------------------------------

    def pack(self) -> bool:
        """Keep what has come of a long stream packed; false where it has to be folded from now on."""
        format_ = self._format()
        if self._reader is not None or not self._kept.pack(None if format_ is None else format_.words):
            return False
        self.packed = True
        return True

    def take(self) -> bytes:
        """The chunks so far, as they came; they are kept no longer. For `fold`, in the same order."""
        return self._kept.take()

    def fold(self, data: bytes) -> None:
        """Read a piece of the stream in full, after what was kept before it, and count its text."""
        self._read_in_full((*self._kept.release(), self._kept.decoded(data)))

    def feed_event(self, event: object) -> None:
        """One event given by hand: a mapping, a `data:` string or an SDK's chunk object."""
        self._hand_fed = True
        self._full_reader().feed(event if isinstance(event, str) else as_plain(event))

    # When it has ended ----------------------------------------------------------------------------------------

    def usage(self, end: End) -> tuple[Usage, str | None]:
        said = self._brief
        if said is None and self._reader is None:
            said = self._briefly()
        if said is None:
            self._read_to_the_end()
            reader = self._full_reader()
            said = reader.result()
            self.error, self.terminal = reader.error, reader.terminal
        return self._took(said)

    def end(self, end: End) -> End:
        extracted = self.extracted
        if extracted is None:
            return end
        if self.error is not None and end in (End.COMPLETE, End.CLOSED_EARLY, End.DROPPED):
            return End.ERROR
        if end in (End.CLOSED_EARLY, End.DROPPED) and (self.terminal or self._is_whole()):
            return End.COMPLETE  # SDKs stop at the terminator, some at the finish reason: the answer was whole
        if end is End.COMPLETE and not self.terminal and not self._hand_fed and not extracted.finish_reasons:
            self.flags = (*self.flags, "the stream ended without its terminator")
            return End.CLOSED_EARLY
        return end

    def output(self) -> TokenCount | None:
        if self._brief is not None:  # asked for although usage was reported: the text has not been read yet
            self._brief = None
            self._read_to_the_end()
        return super().output()

    def begun(self, end: End) -> str | None:
        """The id of an answer whose stream stopped before its end; None where it ended or named none."""
        self.usage(end)
        if self.terminal or self.error is not None or self.extracted is None:
            return None
        return self.extracted.response_id

    def ended(self, end: End) -> bool:
        """Whether the stream went on to its last event, or to an error of the vendor's."""
        self.usage(end)
        return self.error is not None or self.terminal

    def _is_whole(self) -> bool:
        extracted = self.extracted
        return extracted is not None and bool(extracted.finish_reasons) and _whole(extracted.usage)

    # Reading --------------------------------------------------------------------------------------------------

    def _format(self) -> UsageReader | None:
        """The reader of its events; None where the format must be recognised, or events cannot be passed over."""
        return reader_for(self._provider, self._api) if self._server_sent else None

    def _briefly(self) -> Extracted | None:
        """What the telling events say; None where that is not all, so that every event must be read."""
        format_ = self._format()
        kept = self._kept
        if format_ is not None and (ends := kept.ends(format_.words)) is not None:
            self._brief = self._read_ends(ends, format_)
            if self._brief is not None:
                return self._brief
        data = kept.telling(format_.words) if format_ is not None else None
        if data is None:
            data = b"".join(kept.pieces())
        said = self._read(data)
        if _whole(said.usage) or not data:
            self._brief = said
            return said
        self.error, self.terminal = None, False
        return None

    def _read_ends(self, ends: Ends, format_: UsageReader) -> Extracted | None:
        """What the last events say, and the first one if they do not say it again; None where that is not all."""
        first, last, first_tells = ends
        plain = last_events(format_)
        said = plain.read(last) if plain is not None and not first_tells else None
        self.error, self.terminal = None, True
        if said is None:
            if b"\r" in last or goes_on(last):
                return None
            said = self._read(last) if not first_tells else None
        if said is not None:
            named = said.response_id is not None and said.response_id.encode() in first
            if not named and b'"id":""' not in first and b'"id": ""' not in first:
                return None  # another answer's, perhaps; Azure's first event has an empty id
            if not named or (said.service_tier is None and _holds_any(first, format_.words.tiers)):
                said = None
        if said is None:
            said = self._read(first + last)
        if said.flags or said.error is not None or said.model is None or not said.finish_reasons:
            return None
        return said if _whole(said.usage) else None

    def _read(self, data: bytes) -> Extracted:
        """Read some of the events, without their text."""
        reader = StreamReader(provider=self._provider, api=self._api)
        splitter = EventSplitter("text/event-stream" if self._server_sent else None)
        for name, event in (*splitter.feed(data), *splitter.close()):
            reader.feed(event, name)
        self.error, self.terminal = reader.error, reader.terminal
        return reader.result()

    def _read_to_the_end(self) -> None:
        if self._hand_fed:
            return
        kept = self._kept
        self._read_in_full((*kept.release(), kept.decoded(kept.take())))
        if self._splitter is not None:
            self._feed(self._splitter.close())

    def _read_in_full(self, pieces: Iterable[bytes]) -> None:
        if self._splitter is None:
            self._splitter = EventSplitter(self._content_type)
        for piece in pieces:
            self._feed(self._splitter.feed(piece))

    def _feed(self, events: Iterable[tuple[str | None, Any]]) -> None:
        reader = self._full_reader()
        for name, data in events:
            reader.feed(data, name)

    def _full_reader(self) -> StreamReader:
        if self._reader is None:
            self._counter = counter_for(self._provider, self._api, self._model)
            self._reader = StreamReader(provider=self._provider, api=self._api, on_text=self._counter.feed)
        return self._reader


def _whole(usage: Usage | None) -> bool:
    if usage is None or usage.input_tokens is None or usage.output_tokens is None:
        return False
    return usage.source is Source.REPORTED and not (usage.sources and usage.worst_source is not Source.REPORTED)


def _holds_any(data: bytes, words: Iterable[bytes]) -> bool:
    for word in words:  # noqa: SIM110 - a generator takes as long as the search
        if word in data:
            return True
    return False
