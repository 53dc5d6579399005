"""`SpanData`: a span of another instrumentation, and the facts that it states of one model call (`model_calls.py`).

`SpanData.of` reads a span of OpenTelemetry's SDK; `tokenmeter.collector.price_spans` reads one of an OTLP message.
Everything after that is the same for both.

The attribute that states a fact depends on the attribute names of the span, and programs use few different sets of
names. So `Layout` is computed once for each set.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from opentelemetry.trace import StatusCode

from tokenmeter._support.bounded import BoundedDict
from tokenmeter._support.empty import EMPTY
from tokenmeter.otel import semconv
from tokenmeter.otel.external.model_calls import PRICED, is_priced, operation_of
from tokenmeter.otel.external.names import CACHE_BESIDE, NAMES, WITHIN
from tokenmeter.usage import TOKEN_FIELDS

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanContext

__all__ = [
    "RELEVANT",
    "Layout",
    "SpanData",
    "SpanKey",
    "attributes_at_once",
    "key_of",
    "layout_of",
    "text",
    "whole",
]

_PLACES: Final = {name: (fact, rank) for fact, names in NAMES.items() for rank, name in enumerate(names)}
_FIELDS: Final = frozenset([*TOKEN_FIELDS, "cache_writes.5m", "cache_writes.1h"])

RELEVANT: Final = frozenset(
    [*_PLACES, *PRICED, *WITHIN, semconv.USAGE_SOURCE]
    + [attribute for attribute, _ in semconv.KINDS]
    + [rule.unless for rule in CACHE_BESIDE if rule.unless is not None]
)
"""Every attribute that pricing reads. A decoder may skip all others."""

SpanKey: TypeAlias = Any
"""Identity of a span: hashable, and comparable only with keys of the same driver."""


class SpanData:
    """What pricing reads of one span.

    `trace_id` and `span_id` are hex, instants are nanoseconds since the epoch, `parent` is the key of the parent span,
    `failed` that the status is an error. `home` is equal for spans of one process and differs between processes, where
    spans of several come together.
    """

    __slots__ = (
        "attributes", "ended_ns", "failed", "home", "key", "parent", "scope", "span_id", "started_ns", "tags",
        "trace_id",
    )  # fmt: skip

    def __init__(
        self,
        key: SpanKey,
        parent: SpanKey | None,
        scope: str,
        attributes: Mapping[str, Any],
        started_ns: int,
        ended_ns: int,
        failed: bool,
        trace_id: str | None,
        span_id: str | None,
        tags: Mapping[str, str],
        home: object = None,
    ) -> None:
        self.key = key
        self.parent = parent
        self.scope = scope
        self.attributes = attributes
        self.started_ns = started_ns
        self.ended_ns = ended_ns
        self.failed = failed
        self.trace_id = trace_id
        self.span_id = span_id
        self.tags = tags
        self.home = home

    @classmethod
    def of(
        cls,
        span: ReadableSpan,
        scope: str,
        attributes: Mapping[str, Any],
        ended_ns: int,
        tags: Mapping[str, str] = EMPTY,
    ) -> SpanData:
        """Read a span of the SDK, whose `attributes` the caller has copied (`attributes_at_once`)."""
        context, parent = span.get_span_context(), span.parent
        return cls(
            None if context is None else key_of(context),
            None if parent is None else key_of(parent),
            scope,
            attributes,
            span.start_time or ended_ns,
            ended_ns,
            span.status.status_code is StatusCode.ERROR,
            None if context is None else f"{context.trace_id:032x}",
            None if context is None else f"{context.span_id:016x}",
            tags,
        )


def key_of(context: SpanContext) -> SpanKey:
    """The key of a span of the SDK."""
    return context.trace_id, context.span_id


def attributes_at_once(span: ReadableSpan) -> Mapping[str, Any]:
    """A span's attributes as a dict: reading them one by one from the SDK's mapping takes a lock and 0.5 µs each."""
    attributes: Any = span.attributes
    copy = getattr(attributes, "copy", None)
    if copy is not None:
        answer = copy()
        if type(answer) is dict:
            return answer
    return dict(attributes or {})


# What does it state? --------------------------------------------------------------------------------------------


class Layout:
    """Which attributes state which facts, for one set of attribute names.

    A row of `facts` and `tokens` is the fact followed by its attributes, most trusted first (`names.NAMES`). `within`
    has the attributes that hold an object as text, with what to read in it (`names.WITHIN`).
    """

    __slots__ = ("facts", "kind", "names", "priced", "tokens", "within")

    def __init__(self, names: Iterable[str]) -> None:
        self.names = names = frozenset(names)
        by_fact: dict[str, list[tuple[int, str]]] = {}
        for name in names:
            if name in _PLACES:
                fact, rank = _PLACES[name]
                by_fact.setdefault(fact, []).append((rank, name))
        ordered = [(fact, *(name for _, name in sorted(ranked))) for fact, ranked in by_fact.items()]
        self.facts = [row for row in ordered if row[0] not in _FIELDS]
        self.tokens = [row for row in ordered if row[0] in _FIELDS]
        self.within = [(name, rows) for name, rows in WITHIN.items() if name in names]
        self.priced = is_priced(dict.fromkeys(names))
        self.kind = next((row for row in semconv.KINDS if row[0] in names), None)

    def operation(self, attributes: Mapping[str, Any]) -> str | None:
        """The operation of a span with this layout; None if it is priced already or is no model call."""
        if self.priced:
            return None
        kind = self.kind
        value = None if kind is None else attributes[kind[0]]
        if kind is None or type(value) is not str:
            return operation_of(attributes)
        return kind[1].get(value)

    @staticmethod
    def values(rows: Iterable[tuple[str, ...]], attributes: Mapping[str, Any]) -> dict[str, Any]:
        """The values of some rows by fact: of each the first attribute that is not empty."""
        found: dict[str, Any] = {}
        for row in rows:
            for name in row[1:]:
                value = attributes[name]
                if value is not None and value != "":
                    found[row[0]] = value
                    break
        return found


_layouts: Final[BoundedDict[tuple[str, ...], Layout]] = BoundedDict(1000)


def layout_of(attributes: Mapping[str, Any]) -> Layout:
    """The layout of a span's attributes."""
    names = tuple(attributes)
    layout = _layouts.get(names)
    return layout if layout is not None else _layouts.put(names, Layout(names))


def whole(value: object) -> int | None:
    """A count: an integer, an integral float (JavaScript has no integers), or digits; else None."""
    if type(value) is int:
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    return None


def text(value: object) -> str | None:
    """A string, or None."""
    return value if isinstance(value, str) else None
