"""`Calibrator`: counts a sample of reported calls to learn how counts differ, and corrects other counts by that.

The sample is the first few calls of each model and then at most one in fifty, and never more than one a second, counted
on a thread of its own. The caller's thread decides and copies the request's lists (the texts are shared, not copied);
the worker pays for counting and arithmetic. The queue is short, calls beyond it are skipped, and a call's text is
discarded when it is counted. Calls whose body does not show all that was counted are left out: tools and documents of
the vendor's own, stored conversations, hidden reasoning.

It is a sink too, which takes nothing: so it is flushed and closed with the others, and settling is not deferred to a
time when the caller has added to the messages.
"""

from __future__ import annotations

import os
import queue
import random
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tokenmeter._support.fork import on_fork
from tokenmeter._support.guard import guard
from tokenmeter.calls.context import HANDING_ON
from tokenmeter.calls.sampler import Sampler
from tokenmeter.components import FIELDS
from tokenmeter.record import End
from tokenmeter.token_count import TokenCount
from tokenmeter.usage import Source, Usage
from tokenmeter.wire.request_body import json_copy, request_body

if TYPE_CHECKING:
    from tokenmeter.calls.opencall import OpenCall
    from tokenmeter.calls.response import Reading
    from tokenmeter.record import Record
    from tokenmeter.tokens.calibration.calibration import Calibration
    from tokenmeter.tokens.requests.count import Explained

__all__ = ["Calibrator", "input_kind", "own_tokens"]

_WAITING_MOST: Final = 4
_STORED: Final = ("previous_response_id", "conversation", "prompt_id", "cachedContent", "cached_content", "container")
_MEDIA_OUT: Final = tuple(part.usage for part in FIELDS if part.modality and part.usage.endswith("output_tokens"))
_OWN: Final = {"input_tools": ("tools",), "input_media": ("image", "document", "audio", "video")}
"""Parts of an itemized request that are learnt apart from its text."""


class _Sample(NamedTuple):
    """A settled call on its way to the worker: holds text, so it is short-lived."""

    provider: str
    model: str
    api: str | None
    request: object
    reading: Reading
    usage: Usage


class Calibrator:
    """Has settled calls counted beside what the vendor reported (`learns`), and corrects counts by what was learnt."""

    makes_calls: Final = False
    """It calls no model, so it also gets the records of calls that other sinks make."""

    def __init__(
        self,
        calibration: Calibration,
        *,
        learns: bool,
        compare: Callable[..., None] | None = None,
        monotonic: Callable[[], int] = time.perf_counter_ns,
        chance: random.Random | None = None,
    ) -> None:
        self.calibration: Final = calibration
        self.learns: Final = learns
        self._compare = compare
        self._sampler = Sampler(calibration.taught, monotonic=monotonic, chance=chance)
        self._lock = threading.Lock()
        self._queue: queue.Queue[_Sample | None] = queue.Queue(_WAITING_MOST)
        self._worker: threading.Thread | None = None
        self._pid = 0
        self._closed = False
        on_fork(self)

    def forked(self) -> None:
        """Renew worker, queue and lock in a child process: a thread of the parent may own the lock."""
        self._lock = threading.Lock()
        self._queue = queue.Queue(_WAITING_MOST)
        self._worker = None
        self._pid = 0
        self._sampler.forked()
        self.calibration.forked()

    # On the caller's thread ---------------------------------------------------------------------------------

    def seen(self, call: OpenCall, usage: Usage, end: End) -> tuple[str, ...]:
        """Look at a call that settles; what its record is to note."""
        notes = tuple(f"calibrated: {name}" for name in call.calibrated)
        provider, model = call.provider, call.request_model
        if provider is None or model is None:
            return notes
        if (
            self.learns
            and end is End.COMPLETE
            and usage.source is Source.REPORTED
            and call.reading is not None
            and call.usage_override is None
            and self._sampler.due(provider, model)
        ):
            self._take(_Sample(provider, model, call.api, json_copy(call.request), call.reading, usage))
        return notes + self.calibration.changes(provider, model)

    def _take(self, sample: _Sample) -> None:
        if self._closed:
            return
        if self._pid != os.getpid():
            self._start()
        try:
            self._queue.put_nowait(sample)
        except queue.Full:
            return

    def _start(self) -> None:
        with self._lock:
            if self._pid == os.getpid() or self._closed:
                return
            self._pid = os.getpid()
            self._queue = queue.Queue(_WAITING_MOST)
            self._worker = threading.Thread(
                target=self._work, args=(self._queue,), name="tokenmeter-calibration", daemon=True
            )
            self._worker.start()

    def corrected(
        self,
        counts: Mapping[str, TokenCount | None],
        *,
        provider: str | None,
        model: str | None,
        api: str | None = None,
        body: Mapping[str, Any] | None = None,
        reading: Reading | None = None,
    ) -> dict[str, TokenCount | None]:
        """Counts of a call with what was learnt of their kind."""
        answer = dict(counts)
        kinds = {"input_tokens": input_kind(body, api), "output_tokens": _output_kind(reading)}
        for name, kind in kinds.items():
            count = answer.get(name)
            if count is not None and kind is not None and model is not None:
                script, part = kind
                own = None
                if part in _OWN and provider is not None and self.calibration.taught(provider, model):
                    own = own_tokens(part, _explained(body, provider, model, api))
                answer[name] = self.calibration.correct(
                    count, provider=provider, model=model, script=script, part=part, own=own
                )
        return answer

    def corrected_input(
        self, count: TokenCount, *, provider: str | None, model: str | None, api: str | None, body: Mapping[str, Any]
    ) -> TokenCount:
        """The count of a request that has not been sent, with what was learnt of its kind."""
        counts = self.corrected({"input_tokens": count}, provider=provider, model=model, api=api, body=body)
        return counts["input_tokens"] or count

    # On the worker ------------------------------------------------------------------------------------------

    def _work(self, samples: queue.Queue[_Sample | None]) -> None:
        HANDING_ON.set("sink")  # calls to a model that a store of the program's own makes are learnt from no more
        while True:
            sample = samples.get()
            try:
                if sample is None:
                    return
                with guard("calibrating"):
                    self._learn(sample)
            finally:
                sample = None  # while this thread waits for the next call it holds no text of the last
                samples.task_done()

    def _learn(self, sample: _Sample) -> None:
        usage = sample.usage
        if usage.quantities:
            return
        body = request_body(sample.request)
        if body is not None:
            self._learn_input(sample, body)
        if (body is None or body.get("n") in (None, 1)) and not any(getattr(usage, name) for name in _MEDIA_OUT):
            self._learn_output(sample)

    def _learn_input(self, sample: _Sample, body: Mapping[str, Any]) -> None:
        reported = sample.usage.input_tokens
        kind = input_kind(body, sample.api)
        if not reported or kind is None or sample.usage.source_of("input_tokens") is not Source.REPORTED:
            return
        found = _explained(body, sample.provider, sample.model, sample.api)
        if found.count.tokens and not found.count.skipped:
            self._pair(sample, found.count, reported, kind, "input", own_tokens(kind[1], found))

    def _learn_output(self, sample: _Sample) -> None:
        usage = sample.usage
        reported = usage.output_tokens
        if not reported or usage.reasoning_output_tokens or usage.source_of("output_tokens") is not Source.REPORTED:
            return
        count = sample.reading.output()
        kind = _output_kind(sample.reading)
        if count is not None and count.tokens and kind is not None:
            self._pair(sample, count, reported, kind, "output")

    def _pair(
        self,
        sample: _Sample,
        count: TokenCount,
        reported: int,
        kind: tuple[str, str],
        total: str,
        own: int | None = None,
    ) -> None:
        script, part = kind
        self.calibration.learn(
            count, reported, provider=sample.provider, model=sample.model, script=script, part=part, own=own
        )
        if self._compare is not None and count.tokens is not None:
            self._compare(
                provider=sample.provider, model=sample.model, family=count.family or "none", kind=total,
                counted=count.tokens, reported=reported,
            )  # fmt: skip

    # As a sink ----------------------------------------------------------------------------------------------

    def write(self, record: Record) -> None:
        """Records hold no text to count: nothing to take."""

    def flush(self, timeout: float) -> bool:
        """Wait until the calls taken so far have been learnt from."""
        waiting = self._queue
        if self._pid != os.getpid():
            return True
        with waiting.all_tasks_done:
            return waiting.all_tasks_done.wait_for(lambda: not waiting.unfinished_tasks, timeout)

    def close(self, timeout: float) -> None:
        """Learn from what waits, and end the worker."""
        self._closed = True
        worker, self._worker = self._worker, None
        if worker is None or self._pid != os.getpid() or not self.flush(timeout):
            return
        self._queue.put(None)
        worker.join(timeout)
        self._pid = 0


def input_kind(body: Mapping[str, Any] | None, api: str | None) -> tuple[str, str] | None:
    """Script and part of a request; None where it refers to what is not in the body."""
    if body is None or any(body.get(name) for name in _STORED):
        return None
    from tokenmeter.tokens.ratio import RatioTally
    from tokenmeter.tokens.requests.bodies import guess_api, read

    prompt = read(body, api or guess_api(body))
    if prompt.builtins:
        return None
    tally = RatioTally()
    for text in prompt.inputs:
        tally.feed(text)
    for message in prompt.messages:
        for text in (*message.texts, *(result.text for result in message.results)):
            tally.feed(text)
    if any(message.media for message in prompt.messages):
        return tally.script(), "input_media"
    return tally.script(), "input_tools" if prompt.tools else "input"


def own_tokens(part: str, found: Explained) -> int | None:
    """Tokens of tools or media in an itemized request, where its part is about those."""
    named = _OWN.get(part)
    return None if named is None else sum(item.tokens for item in found.items if item.part in named)


def _explained(body: Mapping[str, Any] | None, provider: str, model: str, api: str | None) -> Explained:
    from tokenmeter.tokens.requests.count import explain_request

    return explain_request(body, provider=provider, model=model, api=api)


def _output_kind(reading: Reading | None) -> tuple[str, str] | None:
    """Script and part of an answer that has been counted; None where it is more than text and calls."""
    found = reading.text_kinds() if reading is not None else None
    if found is None or not found[1] <= {"text", "tool_calls"}:
        return None
    return found[0], "output_calls" if "tool_calls" in found[1] else "output"
