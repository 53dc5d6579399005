"""`Record`: everything known of one settled call, and all that sinks receive.

A record is immutable and carries numbers, names and tags, never prompt text. Its cost is computed when it is first
read: a program without sinks pays for no pricing. The instant of the call and the book that
was in force when it settled are fixed in the record, so the answer does not depend on when it is asked.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from tokenmeter._support.empty import EMPTY
from tokenmeter._support.late_dataclass import late_dataclass
from tokenmeter.cost import instant_of
from tokenmeter.usage import Source, Usage, checked_usage

if TYPE_CHECKING:
    from tokenmeter.cost import Cost
    from tokenmeter.money import Money

__all__ = ["Attempt", "End", "Record", "Sink", "end_of"]


VENDOR_GAP: Final = "vendor_cost_gap="
"""How the flag of a cost begins whose vendor reported another, more than 1% off: the vendor's less the book's."""
FROM_SPAN: Final = "from_span"
"""The flag of a record that was made of a span: the program that metered the call may have written a fuller one."""
FROM_SPAN_TEXT: Final = f'"{FROM_SPAN}"'
"""The flag as the JSON of a ledger has it."""
NOT_REPORTED: Final = checked_usage({}, source=Source.NONE)
"""The usage of a call of which no usage is known."""


class End(enum.StrEnum):
    """How a call ended."""

    COMPLETE = "complete"
    """The vendor said that the answer was whole."""
    CLOSED_EARLY = "closed_early"
    """The caller closed or left a stream before its end."""
    CANCELLED = "cancelled"
    """The task or thread was cancelled or interrupted."""
    ERROR = "error"
    """An exception, an error status or an error event."""
    DROPPED = "dropped"
    """The caller never closed the stream, and it was garbage collected."""
    DELEGATED = "delegated"
    """Other metered calls carry what happened inside; nothing is counted here."""
    REFUSED = "refused"
    """A budget refused the call, and nothing was sent."""


def end_of(error: BaseException | None) -> End:
    """The end of a call whose block or method was left with this exception."""
    if error is None:
        return End.COMPLETE
    if isinstance(error, GeneratorExit):
        return End.CLOSED_EARLY
    kind = type(error)
    if isinstance(error, KeyboardInterrupt | SystemExit) or kind.__name__ in ("CancelledError", "Cancelled"):
        return End.CANCELLED
    return End.ERROR


class Attempt(NamedTuple):
    """One HTTP request. `status` is None where no response came; `error` names the exception's type.

    `started_ns` counts from the epoch; `duration_ns` runs up to the whole body, or to the response's head for
    streams. `usage` says whether this attempt carried the vendor's usage; one that did not is not priced and
    `reason` says why.
    """

    status: int | None
    error: str | None
    started_ns: int
    duration_ns: int
    request_id: str | None = None
    usage: bool = False
    reason: str | None = None

    @property
    def started_at(self) -> datetime:
        """When the request was sent (UTC)."""
        return instant_of(self.started_ns)

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.duration_ns / 1e9


@late_dataclass(frozen=True, kw_only=True, eq=False)
class Record:
    """One settled call. Instants carry a zone (UTC); durations are seconds; unknown is None.

    `model` is the name under which the call was priced or looked up, `request_model` and `response_model` are what
    was asked for and what answered. `scope` is the path of scope names, outermost first. `usage_raw` is the
    vendor's usage object as it came.
    """

    id: str
    provider: str | None
    otel_provider: str | None
    api: str | None
    operation: str
    request_model: str | None
    response_model: str | None
    started_ns: int
    ended_ns: int
    end: End
    host: str | None = None
    port: int | None = None
    region: str | None = None
    account: str | None = None
    """Whose key paid: the name that was set, else a keyed hash of the credential, such as `key-3f9a…`."""
    time_to_first_chunk: float | None = None
    stream: bool = False
    usage: Usage
    usage_raw: Any = None
    unknown_fields: tuple[str, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    tags: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    scope: tuple[str, ...] = ()
    error_type: str | None = None
    status_code: int | None = None
    service_tier: str | None = None
    vendor_cost: Money | None = None
    finish_reasons: tuple[str, ...] = ()
    response_id: str | None = None
    flags: tuple[str, ...] = ()
    reason: str | None = None
    trace_id: str | None = None
    span_id: str | None = None
    params: Mapping[str, Any] = field(default_factory=lambda: EMPTY)
    parent_id: str | None = None
    tool_definition_tokens: int | None = None
    """Input tokens that describe the offered tools: 0 where none was offered."""
    budget_window: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    """The window in which the call was reserved, by the name of the budget, such as {"search": "2026-11-30"}."""
    telemetry: str = "own"
    """Whose span the call has: own, enriched (another instrumentation's) or suppressed. Metrics follow it."""
    pricer: Callable[[Record], Cost] = field(repr=False)
    _cost: Cost | None = field(default=None, init=False, repr=False)
    _form: Form | None = field(default=None, init=False, repr=False)
    """What the record has in common with others, where it was made by what they have in common."""

    @classmethod
    def _make(cls, facts: dict[str, Any]) -> Record:
        """A record with these fields: made for every call, and a frozen dataclass would set each field apart."""
        record = cls.__new__(cls)
        record.__dict__.update(facts)
        return record

    def _replace(self, **changes: Any) -> Record:
        """The same record with other values in some fields, priced anew."""
        return Record._make({**self.__dict__, **changes, "_cost": None, "_form": None})

    @property
    def model(self) -> str | None:
        """The model as priced: the response's where known, else the request's."""
        if self._cost is not None and self._cost.model:
            return self._cost.model
        return self.response_model or self.request_model

    @property
    def cost(self) -> Cost:
        """What the call costs; computed on first access, then kept. `cost.total` is None where unpriced."""
        cost = self._cost
        if cost is None:
            cost = self.pricer(self)
            object.__setattr__(self, "_cost", cost)
        return cost

    @property
    def scope_run(self) -> str | None:
        """The id of the run of the outermost scope that the call ran in."""
        return getattr(self.scope, "run", None)

    @property
    def duration(self) -> float:
        """Seconds from the call's start to its end."""
        return (self.ended_ns - self.started_ns) / 1e9

    @property
    def started_at(self) -> datetime:
        """When the call began (UTC)."""
        return instant_of(self.started_ns)

    @property
    def ended_at(self) -> datetime:
        """When the call ended (UTC)."""
        return instant_of(self.ended_ns)

    @property
    def usage_source(self) -> Source:
        """The least trustworthy source among the call's input and output."""
        usage = self.usage
        if self.end is End.DELEGATED:
            return Source.NONE
        if usage.sources or usage.input_tokens is None or usage.output_tokens is None:
            return usage.worst_source
        return usage.source  # of nearly every call, and `worst_source` costs ten times as much


class Form(Protocol):
    """What usual calls of one kind have in common; `notes` holds what each reader of records made of it."""

    notes: dict[Any, Any]


class Sink(Protocol):
    """Where records go. A sink that fails is logged and never starves the next one.

    Calls to a model that a sink makes while it writes are summed and go to the ledger, but to no sink that may make
    calls itself: every sink may, unless its `makes_calls` is False. The same holds on a thread that begins in one of
    its methods; give a thread that begins elsewhere the context, by `tokenmeter.carry(function)` inside `write`.
    """

    def write(self, record: Record) -> None:
        """Take one record, on the caller's thread or the background one: hand long work to another."""

    def flush(self, timeout: float) -> bool:
        """Deliver what was taken within `timeout` seconds; whether all of it was."""

    def close(self, timeout: float) -> None:
        """Flush, then close files and threads."""
