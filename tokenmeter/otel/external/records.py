"""Records of spans that others made, and the sinks that get them: what open spans and spans that are over share."""

from __future__ import annotations

import importlib
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from tokenmeter.calls import marks
from tokenmeter.errors import ConfigurationError
from tokenmeter.otel.external.cost_attributes import Description, describe
from tokenmeter.otel.external.names import USAGE_ELSEWHERE
from tokenmeter.otel.external.recognise import is_genai_scope
from tokenmeter.otel.external.usage import facts_of
from tokenmeter.providers.registry import load_providers
from tokenmeter.record import End, Record
from tokenmeter.usage import Source

if TYPE_CHECKING:
    from tokenmeter.calls.scope import Scope
    from tokenmeter.otel.external.receiver import Receiver
    from tokenmeter.otel.external.span_data import Told

__all__ = ["Recorder", "call_id", "remember"]

_REMEMBERED_MOST: Final = 10_000
_ALIKE_MOST: Final = 50
_RECENT_MOST: Final = 200
_REPORTED_AFTER: Final = 2 * 10**9  # nanoseconds after a call's end in which Logfire tells of it
_Name = TypeVar("_Name")
_Value = TypeVar("_Value")


class Recorder:
    """Makes records of spans and hands them on.

    `meter` takes the calls, None is the default one of the moment; `scopes` are further instrumentation scopes;
    `providers` says who bills behind a name where spans carry no address. Raises ConfigurationError for a provider
    that the catalog does not have.
    """

    def __init__(self, meter: Receiver | None, scopes: Iterable[str], providers: Mapping[str, str] | None) -> None:
        self._meter = meter
        if meter is None:
            importlib.import_module("tokenmeter.meter")  # which says what the default one is
        self._renamed = {name.lower(): provider for name, provider in (providers or {}).items()}
        known = load_providers() if self._renamed else None
        for provider in self._renamed.values():
            if known is not None and known.get(provider) is None:
                raise ConfigurationError(f"providers: there is no provider {provider!r}; give an id such as 'deepseek'")
        self._scopes = frozenset(scopes)
        self._answers: OrderedDict[str, tuple[str, int, int]] = OrderedDict()  # response ids, with scope and times
        self._twins: OrderedDict[tuple[Any, ...], list[_Twin]] = OrderedDict()
        self._recent: deque[_Twin] = deque(maxlen=_RECENT_MOST)

    def knows(self, scope: str) -> bool:
        """Whether spans of this instrumentation scope may be calls."""
        return is_genai_scope(scope) or scope in self._scopes

    def meter(self) -> Receiver:
        """Who takes the calls."""
        if self._meter is not None:
            return self._meter.latest()
        return cast("Receiver", marks.default_meter())

    def record(self, span: Told, id: str) -> Record | None:
        """The record of a span, or None if it is no call to a model, or ours."""
        meter = self.meter()
        facts = facts_of(span.scope, span.attributes, meter.providers, self._renamed, failed=span.failed)
        if facts is None:
            return None
        facts["id"] = id
        facts["started_ns"] = span.started_ns
        facts["ended_ns"] = span.ended_ns
        facts["end"] = End.ERROR if span.failed or facts["error_type"] is not None else End.COMPLETE
        facts["tags"] = span.tags
        facts["trace_id"] = span.trace_id
        facts["span_id"] = span.span_id
        facts["telemetry"] = "enriched"
        facts["pricer"] = meter.price_record
        return Record._make(facts)

    def seen(self, span: Told, record: Record) -> bool:
        """Whether the call of this span was counted by another instrumentation's: told by the answer's id, else alike.

        Small servers repeat their ids, so the spans must overlap in time as well.
        """
        id = record.response_id
        before = self._answers.get(id) if id is not None else None
        if before is not None:
            other, started_ns, ended_ns = before
            if other != span.scope and started_ns <= record.ended_ns and record.started_ns <= ended_ns:
                return True
        if record.usage.source is Source.NONE:
            return False
        if record.started_ns == record.ended_ns and span.scope.partition(".")[0] in USAGE_ELSEWHERE:
            return any(twin.reported_by(span, record) for twin in self._recent)
        return any(twin.claimed_by(span, record) for twin in self._twins.get(_alike(span, record), ()))

    def count(
        self, record: Record, span: Told | None = None, within: Scope | None = None, *, to_sinks: bool = True
    ) -> Description:
        """Hand a record to scope and sinks. Returns what its span should say. `span` is remembered if given."""
        # A span without usage does not stand in the way of another that tells of the same answer and has it.
        if span is not None and record.usage.source is not Source.NONE:
            if record.response_id is not None:
                answer = (span.scope, record.started_ns, record.ended_ns)
                remember(self._answers, record.response_id, answer, _REMEMBERED_MOST)
            key, twin = _alike(span, record), _Twin(span, record)
            self._recent.append(twin)
            twins = self._twins.get(key)
            if twins is None:
                remember(self._twins, key, [twin], _REMEMBERED_MOST)
            else:
                twins.append(twin)
                del twins[:-_ALIKE_MOST]
        if within is not None:
            record = record._replace(scope=within.path)
        meter = self.meter()
        if to_sinks:
            meter.take(record, scope=within)
        return describe(meter, record)


class _Twin:
    """A counted call, so that a span that another instrumentation made beside its span is known to be the same.

    Such spans have no parent in common that tells, and one of them may not say the answer's id (OpenInference's of a
    stream of Anthropic's SDK, which traces itself as well). They are one call if one lasts from before to after the
    other, they stand at the same place in one trace or at the top of one process's traces, the model and all tokens
    are the same, and no ids contradict. Each instrumentation can have one such span for each call.
    """

    __slots__ = ("ended_ns", "home", "models", "response_id", "scopes", "started_ns", "tokens")

    def __init__(self, span: Told, record: Record) -> None:
        self.scopes = {span.scope}
        self.started_ns, self.ended_ns = record.started_ns, record.ended_ns
        self.response_id = record.response_id
        self.home, self.tokens = span.home, _tokens(record)
        self.models = {record.request_model, record.response_model} - {None}

    def claimed_by(self, span: Told, record: Record) -> bool:
        """Whether a span tells of this call; if so, no further one of its instrumentation does."""
        inside = self.started_ns <= record.started_ns and record.ended_ns <= self.ended_ns
        around = record.started_ns <= self.started_ns and self.ended_ns <= record.ended_ns
        if span.scope in self.scopes or not (inside or around):
            return False
        if None not in (self.response_id, record.response_id):
            return False
        if not self.models & {record.request_model, record.response_model}:
            return False
        self.scopes.add(span.scope)
        return True

    def reported_by(self, span: Told, record: Record) -> bool:
        """Whether an instant after this call, as Logfire marks the end of a stream, tells of it."""
        if span.scope in self.scopes or span.home != self.home or self.tokens != _tokens(record):
            return False
        if not (0 <= record.started_ns - self.ended_ns < _REPORTED_AFTER):
            return False
        if not self.models & {record.request_model, record.response_model}:
            return False
        self.scopes.add(span.scope)
        return True


def _tokens(record: Record) -> tuple[int | None, ...]:
    usage = record.usage
    return usage.input_tokens, usage.output_tokens, usage.cache_read_input_tokens


def _alike(span: Told, record: Record) -> tuple[Any, ...]:
    return span.home if span.parent is None else span.parent, _tokens(record)


def call_id(span: Told) -> str:
    """The id of the call that a span stands for: the same each time the span is seen, so that it is counted once.

    A UUID of version 8 (RFC 9562): 48 bits of Unix milliseconds, as ids of version 7 begin, then bits of both ids.
    """
    trace, own = span.trace_id or "", span.span_id or ""
    milliseconds = span.started_ns // 1_000_000 & 0xFFFF_FFFF_FFFF
    return f"{milliseconds:012x}8{trace[-3:]:0>3}{'89ab'[int(own[:1] or '0', 16) & 3]}{own[1:]:0>15}"


def remember(where: OrderedDict[_Name, _Value], key: _Name, value: _Value, most: int) -> None:
    """Remember one more thing, and forget the oldest beyond so many."""
    where[key] = value
    if len(where) > most:
        where.popitem(last=False)


def forgotten(where: OrderedDict[_Name, Any], key: _Name) -> bool:
    """Whether a thing was remembered; it no longer is."""
    return where.pop(key, where) is not where
