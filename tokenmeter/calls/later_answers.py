"""Calls whose answer comes later: kept open until the finished answer passes by, under its id.

`keep` is asked when a call settles: an answer that only announces another (`wire/later.py` says how) leaves the call
open. `poll_of` is asked for every request while calls wait: what returns an awaited answer is read like an answer, and
settles the waiting call instead of one of its own, whichever client object polls, and also where a stream is resumed.

A finished answer may be asked for any number of times, so what this process did not begin is not counted. An answer
that is never seen leaves its call unknown: it settles as dropped at the end of the program, or when too many wait.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from tokenmeter._support.guard import guard
from tokenmeter.calls.opencall import OpenCall
from tokenmeter.calls.response import BodyReading, ObjectReading
from tokenmeter.calls.route import Route
from tokenmeter.calls.stream_response import StreamReading
from tokenmeter.calls.waiting_calls import WAITING
from tokenmeter.record import End
from tokenmeter.wire.later import LaterForm, later_forms
from tokenmeter.wire.request_body import request_body

if TYPE_CHECKING:
    from tokenmeter.calls.accounts import Accounts
    from tokenmeter.record import Record

__all__ = ["forget_announcement", "keep", "poll_of"]

_INTERRUPTED: Final = (End.CLOSED_EARLY, End.DROPPED, End.CANCELLED, End.ERROR, End.COMPLETE)


def forget_announcement(call: OpenCall) -> None:
    """Take no answer given by hand for the answer that says, in words no finished one has, that another will come."""
    reading = call.reading
    if isinstance(reading, ObjectReading):
        with guard("looking for an answer that comes later"):
            answer = reading.answer()
            if any(form.waiting and form.announced(answer) is not None for form in later_forms()):
                call.awaits = True
                call.reading = None


# Keeping --------------------------------------------------------------------------------------------------------


def keep(call: OpenCall, end: End, catch_up: Callable[[], None] | None = None) -> bool:
    """Keep the call open if its answer comes later; False where this is the answer, or the call has waited already.

    `catch_up` reads the pieces of a long stream that are still to be read.
    """
    if call.awaits or call.settled or end not in _INTERRUPTED:
        return False
    with guard("looking for an answer that comes later"):
        found = _announced(call, end, catch_up)
        if found is None:
            return False
        call.awaits = True
        call.reading = None  # what has come so far is no answer
        call.lifecycle.body_opened(call)  # as a stream, it is settled at the end of the program
        oldest = WAITING.put(*found, call)
        if oldest is not None and oldest is not call:
            _settle(oldest, End.DROPPED)
        return True
    return False


def _announced(call: OpenCall, end: End, catch_up: Callable[[], None] | None) -> tuple[LaterForm, str] | None:
    """The form and the id under which the answer of a call will come."""
    reading = call.reading
    for form in call.route.later:
        if isinstance(reading, StreamReading):
            if not form.asked or not _asks(call, form.asked):
                continue
            if call.long and catch_up is not None:
                catch_up()
            found = reading.begun(end)
        elif end is not End.COMPLETE or reading is None:
            return None
        elif form.asked and not form.waiting and not _asks(call, form.asked):
            continue
        else:
            found = form.announced(reading.answer(form.words))
        if found is not None:
            return form, found
    return None


def _asks(call: OpenCall, field: str) -> bool:
    """Whether the request has this field set to true."""
    content = getattr(call.request, "_content", None)
    if isinstance(content, bytes) and f'"{field}"'.encode() not in content:
        return False
    body = request_body(call.request)
    return body is not None and body.get(field) is True


def _settle(call: OpenCall, end: End) -> None:
    call.lifecycle.body_closed(call)
    call.lifecycle.settle(call, end)


# Polls ----------------------------------------------------------------------------------------------------------


def poll_of(method: str, target: str, request: object) -> OpenCall | None:
    """What reads the answer to a request that asks for an awaited answer; None for any other request.

    It has the form of a call, so that every HTTP library's hook can read it; it makes no record.
    """

    def body() -> Any:
        return request_body(request)

    for form in later_forms():
        found = form.polled_id(method, target, body)
        if found is not None and (form.name, found) in WAITING.calls:
            call = WAITING.calls[form.name, found]
            return OpenCall(_Poll(form, found, call), _read_as(call.route), call.request_model, False)
    return None


def _read_as(route: Route) -> Route:
    """The route of a poll: the same vendor and format, and nothing comes later."""
    return Route(provider=route.provider, otel_provider=route.otel_provider, api=route.api, operation=route.operation)


class _Poll:
    """The owner of one poll: what a lifecycle is to a call."""

    def __init__(self, form: LaterForm, found: str, call: OpenCall) -> None:
        self._form = form
        self._id = found
        self._call = call
        self.accounts: Accounts | None = None  # the call that waits has its account
        self.clock: Callable[[], int] = call.lifecycle.clock
        self.monotonic: Callable[[], int] = call.lifecycle.monotonic

    def start_span(self, call: OpenCall) -> None:
        """A poll has no span."""

    def body_opened(self, call: OpenCall) -> None:
        """The caller reads the body from now on."""
        call.streaming = True

    def body_closed(self, call: OpenCall) -> None:
        """The caller reads no more of it."""
        call.streaming = False

    def body_grew(self, call: OpenCall) -> None:
        """Read what has come of a long body."""
        reading = call.reading
        if isinstance(reading, StreamReading):
            reading.fold(reading.take())
        elif isinstance(reading, BodyReading):
            reading.fold()

    def end_later(self, call: OpenCall, end: End) -> None:
        """The poll ends inside a finalizer: the waiting call's lifecycle finishes it elsewhere."""
        self._call.lifecycle.end_later(call, end)

    def take(self, record: Record, *, inner: bool | None = None) -> None:
        """A poll makes no record."""

    def settle(self, call: OpenCall, end: End, error: BaseException | None = None) -> None:
        """The poll is over."""
        if call.claim():
            self.finish(call, end)

    def finish(self, call: OpenCall, end: End, *, long: bool = False) -> None:
        """Settle the waiting call if its answer is there."""
        with guard("reading an answer that was awaited"):
            reading = call.reading
            if isinstance(reading, StreamReading):
                if reading.ended(end):
                    self._finish(End.COMPLETE, lambda waiting: setattr(waiting, "reading", reading))
            elif isinstance(reading, BodyReading | ObjectReading):
                self._read(reading.answer())

    def _read(self, answer: object) -> None:
        form = self._form
        over = form.over(answer)
        if over is None:
            return

        def answered(waiting: OpenCall) -> None:
            said = form.answer(answer)
            body = said if isinstance(said, dict) else answer
            waiting.reading = ObjectReading(body, waiting.provider, waiting.api, waiting.request_model)
            if not over:
                waiting.error_type = str(form.error(answer) or form.status(answer))

        self._finish(End.COMPLETE if over else End.ERROR, answered)

    def _finish(self, end: End, answered: Callable[[OpenCall], None]) -> None:
        waiting = WAITING.take(self._form, self._id)
        if waiting is not None:
            answered(waiting)
            _settle(waiting, end)
