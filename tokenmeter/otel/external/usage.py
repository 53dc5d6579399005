"""What a span that somebody else made says about its call, in our words.

Instrumentations differ in names and in meaning: the same number is `gen_ai.usage.input_tokens`,
`llm.token_count.prompt` or `ai.usage.promptTokens`, and cached tokens are inside it or beside it. Both are tables, in
`foreign_names`, so that another instrumentation is rows and no code.

Which attribute of a span carries which fact depends on the names that are there, and programs make few different sets
of names: that is worked out once for each set (`_Shape`).

Whether cached tokens are inside the input is told by `CACHE_BESIDE` where an instrumentation was seen to leave them
out; else by the total, if the span has one; else they are inside, unless they are more than the input.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from tokenmeter._support.guard import guard
from tokenmeter.otel import semconv
from tokenmeter.otel.external.billing_provider import biller, whole
from tokenmeter.otel.external.names import CACHE_BESIDE, NAMES, USAGE_ELSEWHERE, WITHIN
from tokenmeter.otel.external.recognise import operation_of
from tokenmeter.usage import TOKEN_FIELDS, Source, Usage, checked_usage
from tokenmeter.wire.extract import extract

if TYPE_CHECKING:
    from tokenmeter.providers.registry import Provider, Providers

__all__ = ["RELEVANT", "facts_of", "is_ours"]

_PLACES: Final = {name: (fact, rank) for fact, names in NAMES.items() for rank, name in enumerate(names)}
_FIELDS: Final = frozenset(TOKEN_FIELDS)
_OURS: Final = frozenset({semconv.COST_STATUS, semconv.CALL_ID, semconv.END})
_TEXT_MOST: Final = 20_000
_SHAPES_MOST: Final = 1000
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
_NO_PARAMS: Final[Mapping[str, Any]] = MappingProxyType({})
_NO_WRITES: Final[Mapping[str, int]] = MappingProxyType({})
_UNUSED: Final = Usage(source=Source.NONE)

RELEVANT: Final = frozenset(
    [*_PLACES, *_OURS, *WITHIN, semconv.USAGE_SOURCE]
    + [attribute for attribute, _ in semconv.KINDS]
    + [rule.unless for rule in CACHE_BESIDE if rule.unless is not None]
)
"""All attributes that decide anything here: who reads spans off the wire can leave the others unread."""


def is_ours(attributes: Mapping[str, Any]) -> bool:
    """Whether a span is carried by a call of our own already, or was priced before."""
    return not _OURS.isdisjoint(attributes)


class _Shape:
    """What a set of attribute names can tell: `facts` and `tokens` by the attributes that carry them, best first."""

    __slots__ = ("facts", "kind", "ours", "tokens", "within")

    def __init__(self, names: Iterable[str]) -> None:
        names = frozenset(names)
        by_fact: dict[str, list[tuple[int, str]]] = {}
        for name in names:
            if name in _PLACES:
                fact, rank = _PLACES[name]
                by_fact.setdefault(fact, []).append((rank, name))
        ordered = [(fact, *(name for _, name in sorted(ranked))) for fact, ranked in by_fact.items()]
        self.facts = [row for row in ordered if row[0] not in _FIELDS]
        self.tokens = [row for row in ordered if row[0] in _FIELDS]
        self.within = [(name, rows) for name, rows in WITHIN.items() if name in names]
        self.ours = is_ours(dict.fromkeys(names))
        self.kind = next((row for row in semconv.KINDS if row[0] in names), None)

    def operation(self, attributes: Mapping[str, Any]) -> str | None:
        """`operation_of`, where it is known which attribute decides."""
        kind = self.kind
        value = None if kind is None else attributes[kind[0]]
        if kind is None or type(value) is not str:
            return operation_of(attributes)
        return kind[1].get(value)


_shapes: dict[tuple[str, ...], _Shape] = {}


def _shape_of(attributes: Mapping[str, Any]) -> _Shape:
    names = tuple(attributes)
    shape = _shapes.get(names)
    if shape is None:
        shape = _Shape(names)
        if len(_shapes) >= _SHAPES_MOST:
            _shapes.clear()
        _shapes[names] = shape
    return shape


def facts_of(
    scope: str,
    attributes: Mapping[str, Any],
    providers: Providers,
    renamed: Mapping[str, str] = _NOTHING,
    *,
    failed: bool = False,
) -> dict[str, Any] | None:
    """The fields of a record that a span tells; None where it is no call to a model, is ours, or says nothing yet.

    `scope` is the name of the span's instrumentation scope; it is the caller's to know it as one of GenAI. `renamed`
    says who bills behind a name that a span gives for the provider; `failed`, that the span's status is an error.
    """
    shape = _shape_of(attributes)
    operation = None if shape.ours else shape.operation(attributes)
    if operation is None:
        return None
    found = _found(shape.facts, attributes)
    get = found.get
    who = biller(found, providers, renamed)
    provider, region = who.provider, who.region
    usage, flags = _usage(scope, shape, attributes, found, who.named, provider, operation)
    if usage.source is Source.NONE and _top(scope) in USAGE_ELSEWHERE and not (failed or "error_type" in found):
        return None
    return {
        "provider": provider.id if provider is not None else None,
        "otel_provider": provider.otel_name if provider is not None else None,
        "api": None,
        "operation": operation,
        "host": who.host,
        "port": who.port,
        "region": region,
        "request_model": _text(get("request_model")),
        "response_model": _text(get("response_model")),
        "response_id": _text(get("response_id")),
        "finish_reasons": _texts(get("finish_reasons")),
        "service_tier": _text(get("service_tier")),
        "stream": get("stream") is True,
        "time_to_first_chunk": _seconds(get("time_to_first_chunk")),
        "error_type": _text(get("error_type")),
        "usage": usage,
        "flags": flags,
        "reason": None if usage.source is not Source.NONE else f"the span of {scope} carries no usage",
        "params": {"region": region} if region is not None else _NO_PARAMS,
        "tags": _NOTHING,
    }


def _found(rows: Iterable[tuple[str, ...]], attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of some rows; an attribute that is empty leaves its fact to the next one."""
    found: dict[str, Any] = {}
    for row in rows:
        for name in row[1:]:
            value = attributes[name]
            if value is not None and value != "":
                found[row[0]] = value
                break
    return found


# How much -------------------------------------------------------------------------------------------------------


def _usage(
    scope: str,
    shape: _Shape,
    attributes: Mapping[str, Any],
    found: Mapping[str, Any],
    named: Provider | None,
    provider: Provider | None,
    operation: str,
) -> tuple[Usage, tuple[str, ...]]:
    raw = found.get("raw")
    if isinstance(raw, str):
        answer = _of_vendor(raw, found, provider or named)
        if answer is not None:
            return answer
    tokens: dict[str, int] = {}
    for field, value in _found(shape.tokens, attributes).items():
        number = value if type(value) is int else whole(value)
        if number is not None:
            tokens[field] = number
    for attribute, rows in shape.within:
        text = attributes[attribute]
        if isinstance(text, str) and text:
            _look_within(_object(text), rows, tokens)
    if not tokens:
        return _UNUSED, ()
    if operation in (semconv.EMBEDDINGS, "rerank"):
        tokens.setdefault("output_tokens", 0)
    flags: tuple[str, ...] = ()
    if (
        "cache_read_input_tokens" in tokens
        or "cache_write_input_tokens" in tokens
        or "reasoning_output_tokens" in tokens
    ):
        flags = _make_inclusive(tokens, scope, attributes, named, whole(found.get("total_tokens")))
    writes = _NO_WRITES
    if "cache_writes.5m" in found or "cache_writes.1h" in found:
        writes = {
            name.partition(".")[2]: number
            for name in ("cache_writes.5m", "cache_writes.1h")
            if (number := whole(found.get(name)))
        }
    return checked_usage(tokens, cache_writes=writes), flags


def _of_vendor(raw: str, found: Mapping[str, Any], provider: Provider | None) -> tuple[Usage, tuple[str, ...]] | None:
    """The vendor's own usage object, which Logfire keeps: read as in an answer."""
    body = _object(raw)
    if not body:
        return None
    model = found.get("response_model") or found.get("request_model")
    extracted = extract({"model": model, "usage": body}, provider=provider.id if provider is not None else None)
    return None if extracted.usage is None else (extracted.usage, extracted.flags)


def _object(text: str) -> Mapping[str, Any]:
    """An object written as JSON, or as Python writes one (LangSmith)."""
    if len(text) > _TEXT_MOST:
        return {}
    for read in (json.loads, ast.literal_eval):
        try:
            answer = read(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        if isinstance(answer, dict):
            return answer
    return {}


def _look_within(
    answer: Mapping[str, Any], rows: Sequence[tuple[tuple[str, ...], str]], tokens: dict[str, int]
) -> None:
    for path, field in rows:
        value: Any = answer
        for step in path:
            value = value.get(step) if isinstance(value, dict) else None
        number = whole(value)
        if number is not None:
            tokens.setdefault(field, number)


def _make_inclusive(
    tokens: dict[str, int], scope: str, attributes: Mapping[str, Any], named: Provider | None, total: int | None
) -> tuple[str, ...]:
    """Add to the totals what an instrumentation counts beside them. Returns flags where that was inferred."""
    have_in, have_out = tokens.get("input_tokens"), tokens.get("output_tokens")
    cached = tokens.get("cache_read_input_tokens", 0) + tokens.get("cache_write_input_tokens", 0)
    reasoning = tokens.get("reasoning_output_tokens", 0)
    flags: list[str] = []
    by_table = any(
        rule.scope == _top(scope)
        and named is not None
        and named.id in rule.providers
        and (rule.unless is None or rule.unless not in attributes)
        for rule in CACHE_BESIDE
    )
    gap = None if total is None or have_in is None or have_out is None else total - have_in - have_out
    if have_in is not None and cached:
        by_total = bool(gap) and gap in (cached, cached + reasoning)
        if by_table or by_total or cached > have_in:
            tokens["input_tokens"] = have_in + cached
            if not by_table:
                flags.append(f"cache_beside_input: {have_in} + {cached}")
                gap = None if gap is None else gap - cached
    if have_out is not None and reasoning and ((gap and gap == reasoning) or reasoning > have_out):
        tokens["output_tokens"] = have_out + reasoning
        flags.append(f"reasoning_beside_output: {have_out} + {reasoning}")
    return tuple(flags)


# Values ---------------------------------------------------------------------------------------------------------


def _top(scope: str) -> str:
    return scope.partition(".")[0]


def _seconds(value: object) -> float | None:
    return float(value) if isinstance(value, float | int) and not isinstance(value, bool) and value >= 0 else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _texts(value: object) -> tuple[str, ...]:
    """Several texts: as a sequence, as one text, or (Logfire) as a JSON array."""
    if isinstance(value, str) and value.startswith("["):
        with guard("reading finish reasons"):
            try:
                value = json.loads(value)
            except ValueError:
                return ()
    if isinstance(value, str):
        return (value,)
    if isinstance(value, Sequence):
        return tuple(part for part in value if isinstance(part, str))
    return ()
