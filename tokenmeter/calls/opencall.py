"""`OpenCall`: a call between its start and its settlement, and what it asks of the objects around it.

Opening a call is on the path of every request, so what most calls never set is a default of the class, and what is
the same for all calls to an address is said once, in a `Route`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from tokenmeter._support.empty import EMPTY
from tokenmeter._support.fork import on_fork
from tokenmeter._support.ids import new_id
from tokenmeter.record import NOT_REPORTED, Attempt, End, Record
from tokenmeter.wire.request_body import request_body
from tokenmeter.wire.request_params import request_facts

if TYPE_CHECKING:
    from tokenmeter.calls.accounts import Accounts
    from tokenmeter.calls.response import BodyReading, Reading
    from tokenmeter.calls.route import Route
    from tokenmeter.token_count import TokenCount
    from tokenmeter.usage import Usage

__all__ = [
    "AsksBudgets",
    "Calibrates",
    "CallOwner",
    "OpenCall",
    "ScopeNode",
    "SpanHandle",
    "Spans",
]


class SpanHandle(Protocol):
    """The open span of a call, made by `otel.spans`."""

    @property
    def trace_id(self) -> str | None: ...
    @property
    def span_id(self) -> str | None: ...
    @property
    def telemetry(self) -> str: ...
    @property
    def quiet(self) -> bool:
        """Whether `finish` runs no code of others."""

    def attach(self) -> None: ...
    def detach(self) -> None: ...
    def finish(self, settled: Any) -> None:
        """Take the call that has settled: `calls.usual_call.Settled`."""


class Spans(Protocol):
    """Makes the spans of calls; no span where no tracer provider is set."""

    def start(self, call: OpenCall) -> SpanHandle | None: ...


class Calibrates(Protocol):
    """Learns from calls whose usage is reported, and corrects the counts of others by it."""

    def seen(self, call: OpenCall, usage: Usage, end: End) -> tuple[str, ...]:
        """Look at a call that settles; the flags of its record."""

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
        """Counts of a call, corrected by what earlier calls taught."""


class AsksBudgets(Protocol):
    """What an open call asks of the budgets: `calls.call_budget.CallBudget`."""

    @property
    def windows(self) -> Mapping[str, str]:
        """The windows that it is reserved in, by budget."""

    @property
    def flags(self) -> tuple[str, ...]:
        """What its record says of its budgets."""

    def admit(self, call: OpenCall) -> None:
        """Ask, before it is sent. Raises BudgetExceeded."""

    async def admit_async(self, call: OpenCall) -> None:
        """`admit` for a coroutine."""

    def grow(self, chunks: Iterable[bytes]) -> BaseException | None:
        """Hold more for a stream of which these pieces have come; the error where it is to end."""

    def settle(self, call: OpenCall, record: Record) -> None:
        """Charge what it cost."""


class ScopeNode(Protocol):
    """The scope that a call runs in, as far as the call uses it."""

    budgets: tuple[tuple[Any, str], ...]

    @property
    def path(self) -> tuple[str, ...]:
        """The names of the scope and of those around it, outermost first."""

    def opened(self) -> None: ...
    def settled(self, settled: Any) -> None: ...


class CallOwner(Protocol):
    """What an open call and its hooks ask of the lifecycle that opened it: `calls.lifecycle.Lifecycle`."""

    @property
    def clock(self) -> Callable[[], int]:
        """Nanoseconds since the epoch."""

    @property
    def accounts(self) -> Accounts | None:
        """What tells whose key pays."""

    @property
    def monotonic(self) -> Callable[[], int]:
        """Nanoseconds of a steady clock."""

    def start_span(self, call: OpenCall) -> None:
        """Start a span that was put off."""

    def body_opened(self, call: OpenCall) -> None:
        """The caller reads the call's body from now on."""

    def body_closed(self, call: OpenCall) -> None:
        """The caller reads no more of it."""

    def settle(self, call: OpenCall, end: End, error: BaseException | None = None) -> None:
        """The call is over."""

    def body_grew(self, call: OpenCall) -> None:
        """More of the call's body has come than is kept unread."""

    def end_later(self, call: OpenCall, end: End) -> None:
        """The call ends now, perhaps inside a finalizer: it is settled elsewhere."""

    def finish(self, call: OpenCall, end: End, *, long: bool = False) -> None:
        """Make the record of a call that is claimed and over."""

    def take(self, settled: Any, *, inner: bool | None = None) -> None:
        """Hand a settled call to the sinks: `calls.usual_call.Settled`."""


class OpenCall:
    """One call between its start and its settlement. Mutable, private to the package, touched by one owner.

    What most calls never set is a default of the class: opening a call is on the path of every request.
    """

    client: int = 0
    """id of the SDK client whose request this is."""
    sender: int = 0
    """id of that SDK client's HTTP client: its requests meanwhile belong to this call, whatever their path. The client
    itself would live as long as the call, and with it the connections of a forgotten stream."""
    span_due: bool = False
    """The SDK makes a span of its own before it sends: the call's span is decided at the first request."""
    inner: bool = False
    """It was made by a sink or span processor while that took a record: it is summed, and not handed to them."""
    by_hand: bool = False
    observed: bool = False
    """It was given a usage by hand: this call carries the usage, and not the calls inside."""
    children: int = 0
    held: list[tuple[OpenCall, Record]] | None = None
    """Records of calls inside, while this one is open; None for others, and once settled."""
    first_chunk_ns: int | None = None
    params: Mapping[str, Any] | None = None
    request: object = None
    """The body as sent, for counting; None once settled."""
    account: str | None = None
    """The hash of the credential that its requests carry."""
    offers_tools: bool | None = None
    """Whether the request offers tools; None where it may name some that are not in it."""
    tool_definition_tokens: int | None = None
    """What those take of the counted input."""
    reading: Reading | None = None
    """What came back; read at settle, and None after it."""
    usage_override: Usage | None = None
    calibrated: tuple[str, ...] = ()
    """Names of the counted totals that the calibrator has corrected."""
    status_code: int | None = None
    long: bool = False
    """Pieces of its body are being read in the background, where it settles after them."""
    awaits: bool = False
    """Its answer comes later (`later_answers.py`)."""
    method: str = "POST"
    """The method of its requests."""
    new_reading: Callable[[Callable[[bytes], bytes] | None], BodyReading] | None = None
    """Makes the reading of its body, given a decoder, where that is neither an answer nor a stream of events."""
    streaming: bool = False
    """A body is still being read by the caller: its tee settles the call."""
    budget: AsksBudgets | None = None
    """The budgets that may be for it; None where none can be."""
    span: SpanHandle | None = None
    scope: ScopeNode | None = None
    parent: OpenCall | None = None
    ended_mono: int = 0
    known_id: str | None = None
    """The id, once anything has asked for it."""
    error_type: str | None = None

    def __init__(self, lifecycle: CallOwner, route: Route, model: str | None, stream: bool) -> None:
        self.lifecycle = lifecycle
        self.route = route
        self.request_model = model
        self.stream = stream
        self.started_ns = lifecycle.clock()
        self.started_mono = lifecycle.monotonic()
        self.attempts: list[Attempt] = []
        self.tags: Mapping[str, str] = EMPTY
        self._once = [None]

    @property
    def id(self) -> str:
        made = self.known_id
        if made is None:
            made = self.known_id = new_id()
        return made

    @property
    def provider(self) -> str | None:
        return self.route.provider

    @property
    def otel_provider(self) -> str | None:
        return self.route.otel_provider

    @property
    def operation(self) -> str:
        return self.route.operation

    @property
    def api(self) -> str | None:
        return self.route.api

    @property
    def host(self) -> str | None:
        return self.route.host

    @property
    def port(self) -> int | None:
        return self.route.port

    def take_request(self, request: object) -> None:
        """Note the request as sent, for counting and for what its price depends on; not kept after settling."""
        self.request = request
        body = request if type(request) is dict else request_body(request)
        if body is not None:
            self.params, self.offers_tools = request_facts(body)

    @property
    def settled(self) -> bool:
        return not self._once

    @property
    def sent(self) -> bool:
        """Whether an answer has come: no further request belongs to this call, wherever it is still current."""
        return self.streaming or not self._once

    def hold(self, call: OpenCall, record: Record) -> bool:
        """Keep the record of a call inside this hand-made one until it settles; False where it has settled."""
        with _holding:
            if self.held is None:
                return False
            self.held.append((call, record))
            return True

    def release(self) -> list[tuple[OpenCall, Record]]:
        """The records kept so far; from now on none is kept."""
        with _holding:
            held, self.held = self.held, None
        return held or []

    def delegate(self, record: Record) -> Record:
        """The record of a call inside this hand-made one, without the usage, which this one carries."""
        reason = f"the call {self.id} around it carries the usage"
        return record._replace(end=End.DELEGATED, usage=NOT_REPORTED, usage_raw=None, reason=reason)

    def close(self, end: End, error: BaseException | None = None) -> None:
        """The SDK's method is over."""
        self.lifecycle.settle(self, end, error)

    def claim(self) -> bool:
        """True for the first to ask: list.pop is atomic, so two threads never settle one call."""
        try:
            self._once.pop()
        except IndexError:
            return False
        return True


class _Holding:
    """The lock around `held` of all hand-made calls."""

    def __init__(self) -> None:
        self.forked()
        on_fork(self)

    def forked(self) -> None:
        # A generator that is never closed settles its call in the garbage collector, wherever that runs.
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *raised: object) -> None:
        self._lock.release()


_holding = _Holding()
