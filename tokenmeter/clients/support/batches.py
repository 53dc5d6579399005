"""Reads what batches cost where a program asks for it: one record for each result line, or one for the whole batch.

A request for a batch's object or for its results is no call; its answer is read as it passes by (`download_of`).

-   Results: each line is an answer, and becomes a record at the batch price.
-   The object of a finished batch that states its usage: its record waits for the lines, since programs download them
    next, and is written at the end of the program if they do not come.

Each batch counts once in a process, however often it is asked for; a download that is cut and begun again goes on
where it stopped. What another process has read is not known here.
"""

from __future__ import annotations

import functools
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from tokenmeter._support.bounded import BoundedDict
from tokenmeter._support.fork import on_fork
from tokenmeter._support.guard import guard
from tokenmeter._support.worker import worker
from tokenmeter.calls.opencall import OpenCall
from tokenmeter.calls.response import BodyReading, ObjectReading
from tokenmeter.calls.route import Route
from tokenmeter.record import End
from tokenmeter.wire.batch_lines import unwrap
from tokenmeter.wire.later import batch_forms, first
from tokenmeter.wire.request_body import model_of

if TYPE_CHECKING:
    from tokenmeter.calls.accounts import Accounts
    from tokenmeter.calls.protocols import Meter
    from tokenmeter.clients.support import hooks
    from tokenmeter.record import Record

__all__ = ["download_of"]

_MOST: Final = 1000
_IDS_MOST: Final = 10_000
_LINE_MOST: Final = 8 * 1024 * 1024


class _Seen:
    """What this process has read of batches."""

    def __init__(self) -> None:
        self.forked()
        on_fork(self)

    def forked(self) -> None:
        """In a child process: what the parent keeps open is the parent's; what it has counted stays counted."""
        self.lock = threading.RLock()
        self.open: OrderedDict[str, OpenCall] = OrderedDict()
        """Finished batches whose lines may come, by the id of what holds them."""
        if not hasattr(self, "lines"):
            self.lines: BoundedDict[str, int] = BoundedDict(_IDS_MOST)
            """How many lines have been counted, by the id of what holds them."""
            self.objects: BoundedDict[str, bool] = BoundedDict(_IDS_MOST)


_seen: Final = _Seen()


def download_of(meter: Meter, mark: hooks.Mark | None, host: str, port: int | None, target: str) -> OpenCall | None:
    """What reads the answer to a GET for a batch or its results; None for any other target.

    It has the form of a call, so that every HTTP library's hook can read it.
    """
    found = batch_forms().watches("GET", target)
    if found is None:
        return None
    name, results = found
    owner = _Download(meter, _route(meter, mark, host, port), name, target)
    call = OpenCall(owner, owner.route, None, False)
    call.method = "GET"
    owner.download = call
    if results:
        call.new_reading = owner.reading
    return call


def _route(meter: Meter, mark: hooks.Mark | None, host: str, port: int | None) -> Route:
    providers = meter.providers
    endpoint = providers.for_host(f"{host}:{port}", "") or providers.for_host(host, "")
    region = endpoint.region if endpoint is not None else None
    known = providers.get(endpoint.provider_id) if endpoint is not None else None
    if mark is not None and mark.provider is not None:
        region = mark.region or region
        known = providers.resolve(mark.provider, region)
    return Route(
        provider=known.id if known is not None else None,
        otel_provider=known.otel_name if known is not None else None,
        api=None,
        operation="chat",
        host=host,
        port=port,
        region=region,
        batch=True,
    )


class _Download:
    """The owner of one request for a batch: what a lifecycle is to a call."""

    def __init__(self, meter: Meter, route: Route, name: str, target: str) -> None:
        self._meter = meter
        self.route = route
        self._name = name
        self._target = target
        self._number = 0
        self.accounts: Accounts = meter.accounts
        self.download: OpenCall | None = None
        """The request, whose account is that of the batch."""
        self.clock: Callable[[], int] = time.time_ns
        self.monotonic: Callable[[], int] = time.perf_counter_ns

    def start_span(self, call: OpenCall) -> None:
        """A download has no span."""

    def body_opened(self, call: OpenCall) -> None:
        """The caller reads the body from now on."""
        call.streaming = True
        worker.start()

    def body_closed(self, call: OpenCall) -> None:
        """The caller reads no more of it."""
        call.streaming = False

    def body_grew(self, call: OpenCall) -> None:
        """Read what has come of a long body."""
        if isinstance(call.reading, BodyReading):
            call.reading.fold()

    def end_later(self, call: OpenCall, end: End) -> None:
        """The download ends inside a finalizer: what came is read in the background."""
        worker.put(functools.partial(self.settle, call, end))

    def finish(self, call: OpenCall, end: End, *, long: bool = False) -> None:
        """A download makes no record of its own."""

    def take(self, record: Record, *, inner: bool | None = None) -> None:
        """A download makes no record of its own."""

    def settle(self, call: OpenCall, end: End, error: BaseException | None = None) -> None:
        """The download is over."""
        if not call.claim():
            return
        with guard("reading a batch"):
            reading = call.reading
            if isinstance(reading, LinesReading):
                reading.close()
            elif reading is not None:
                self._object(reading.answer())

    def reading(self, decoder: Callable[[bytes], bytes] | None) -> LinesReading:
        """What reads the results."""
        return LinesReading(self._line, decoder)

    # Lines ------------------------------------------------------------------------------------------------------

    def _line(self, line: Mapping[str, Any]) -> bool:
        """Record one line, or a page of them; False where this is no result of a batch."""
        if unwrap(line) is not None and not isinstance(first(batch_forms().inside, line), list):
            self._answer(self._name, line)
            return True
        inside = first(batch_forms().inside, line)
        if not isinstance(inside, list):
            return False
        for item in inside:
            if isinstance(item, dict):
                self._answer(self._target, item)  # one page of several
        return False

    def _answer(self, name: str, line: Mapping[str, Any]) -> None:
        self._number += 1
        with _seen.lock:
            if self._number <= _seen.lines.get(name, 0):
                return
            _seen.lines.push(name, self._number)
            whole = _seen.open.pop(name, None)
        # The first line takes the place of the batch's own record.
        call = whole if whole is not None else self._open(None)
        call.lifecycle.body_closed(call)
        call.reading = ObjectReading(line, call.provider, None, None)
        call.request_model = None
        call.lifecycle.settle(call, End.COMPLETE)

    # Objects ----------------------------------------------------------------------------------------------------

    def _object(self, body: object) -> None:
        forms = batch_forms()
        if not isinstance(body, dict) or not forms.finished(body):
            return
        name = first(forms.id, body)
        inside = first(forms.inside, body)
        if isinstance(inside, list):
            for item in inside:
                if isinstance(item, dict):
                    self._answer(str(name), item)
            return
        held = first(forms.file, body)
        if not isinstance(name, str) or unwrap(body) is None or not _states_usage(body):
            return
        key = held if isinstance(held, str) else name
        with _seen.lock:
            if name in _seen.objects or key in _seen.lines:
                return
            _seen.objects.push(name, True)
        self._keep(key, body)

    def _keep(self, key: str, body: dict[str, Any]) -> None:
        """Keep the record of a whole batch back until its lines come."""
        call = self._open(model_of(body))
        call.reading = _WholeBatch(body, call.provider, None, None)
        call.lifecycle.body_opened(call)  # as a stream, it is settled at the end of the program
        with _seen.lock:
            _seen.open[key] = call
            oldest = _seen.open.popitem(last=False)[1] if len(_seen.open) > _MOST else None
        if oldest is not None:
            oldest.lifecycle.body_closed(oldest)
            oldest.lifecycle.settle(oldest, End.COMPLETE)

    def _open(self, model: str | None) -> OpenCall:
        call = self._meter.open_call(self.route, model, stream=False, body=None)
        call.account = None if self.download is None else self.download.account
        return call


def _states_usage(body: Mapping[str, Any]) -> bool:
    usage = body.get("usage")
    return isinstance(usage, dict) and any(isinstance(value, int) and value > 0 for value in usage.values())


class _WholeBatch(ObjectReading):
    """The object of a finished batch."""

    def end(self, end: End) -> End:
        """It is over, however the program ends."""
        return End.COMPLETE


class LinesReading(BodyReading):
    """A body of lines of JSON, each handed on as soon as it is there; a body that is one JSON value is one line.

    `on_line` says False when no further line is of use.
    """

    def __init__(
        self, on_line: Callable[[Mapping[str, Any]], bool], decoder: Callable[[bytes], bytes] | None = None
    ) -> None:
        super().__init__(None, None, None, decoder=decoder)
        self._on_line = on_line
        self._rest = b""
        self._over = False

    @property
    def small(self) -> bool:
        return False

    def fold(self) -> None:
        """Hand on the lines that are whole."""
        data = b"".join(self.chunks)
        self.chunks.clear()
        if self._over:
            return
        self._rest += self._decode(data) if self._decode is not None and data else data
        *whole, self._rest = self._rest.split(b"\n")
        self._over = len(self._rest) > _LINE_MOST
        self._read(whole)

    def close(self) -> None:
        """Hand on what is left: the last line need not end in a line feed."""
        self.fold()
        rest, self._rest = self._rest, b""
        self._read([rest])

    def _read(self, lines: Iterable[bytes]) -> None:
        for text in lines:
            if self._over or not text.strip():
                continue
            try:
                line = json.loads(text)
            except (ValueError, RecursionError):
                self._over = True  # a file of another kind, or a line that was cut
                return
            self._over = not isinstance(line, dict) or not self._on_line(line)
