"""The usage that a span states, with totals that include their parts.

Instrumentations differ in names and in meaning: one number is `gen_ai.usage.input_tokens`, `llm.token_count.prompt` or
`ai.usage.promptTokens`, and cached tokens are inside it or beside it. Both are tables in `names.py`, so another
instrumentation is rows and no code.

Cached tokens are beside the input where `CACHE_BESIDE` lists the instrumentation; else where the stated total says so;
else they are inside, unless they exceed the input. A stated total that its parts do not reach is flagged, and its rest
is counted as output.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tokenmeter._support.empty import EMPTY
from tokenmeter.otel import semconv
from tokenmeter.otel.external.names import CACHE_BESIDE, USAGE_ELSEWHERE
from tokenmeter.otel.external.span_data import Layout, whole
from tokenmeter.usage import Source, Usage, checked_usage
from tokenmeter.wire.extract import extract

if TYPE_CHECKING:
    from tokenmeter.money import Money
    from tokenmeter.otel.external.billing_provider import BillingProvider
    from tokenmeter.otel.external.span_data import SpanData
    from tokenmeter.providers.registry import Provider

__all__ = ["StatedUsage", "is_cache_beside", "is_stated_elsewhere", "usage_of"]

_TEXT_MOST: Final = 20_000
_LIFETIMES: Final = {"cache_writes.5m": "5m", "cache_writes.1h": "1h"}


class StatedUsage(NamedTuple):
    """What a span states of a call's usage; `Source.NONE` where that is nothing."""

    usage: Usage
    flags: tuple[str, ...] = ()
    vendor_cost: Money | None = None


_UNKNOWN: Final = StatedUsage(Usage(source=Source.NONE))


def usage_of(
    span: SpanData, layout: Layout, facts: Mapping[str, Any], billing: BillingProvider, operation: str
) -> StatedUsage:
    """The usage that a span states, with inclusive totals."""
    raw = facts.get("raw")
    if isinstance(raw, str):
        answer = _vendor_usage(raw, facts, billing.provider or billing.named)
        if answer is not None:
            return answer
    tokens = _tokens(span, layout)
    writes = EMPTY if _LIFETIMES.keys().isdisjoint(tokens) else _take_lifetimes(tokens)
    total = whole(facts["total_tokens"]) if "total_tokens" in facts else None
    only_input = operation in (semconv.EMBEDDINGS, "rerank")
    if not tokens and (total is None or not only_input):
        return _UNKNOWN
    if only_input:
        tokens.setdefault("output_tokens", 0)
    flags: tuple[str, ...] = ()
    if (
        "cache_read_input_tokens" in tokens
        or "cache_write_input_tokens" in tokens
        or "reasoning_output_tokens" in tokens
    ):
        before = (tokens.get("input_tokens") or 0) + (tokens.get("output_tokens") or 0)
        flags = _make_inclusive(tokens, span, billing.named, total)
        if total == before:  # this total leaves out what the instrumentation counts beside
            total = None
    if total is not None:
        flags += _reach(tokens, total)
    return StatedUsage(checked_usage(tokens, cache_writes=writes), flags)


def is_stated_elsewhere(scope: str) -> bool:
    """Whether this instrumentation puts the usage of some calls on a second span."""
    return _root(scope) in USAGE_ELSEWHERE


def _tokens(span: SpanData, layout: Layout) -> dict[str, int]:
    """Token counts by field, as the span states them."""
    tokens: dict[str, int] = {}
    for field, value in layout.values(layout.tokens, span.attributes).items():
        number = value if type(value) is int else whole(value)
        if number is not None:
            tokens[field] = number
    for attribute, rows in layout.within:
        written = span.attributes[attribute]
        if isinstance(written, str) and written:
            _add_within(_object(written), rows, tokens)
    return tokens


def _take_lifetimes(tokens: dict[str, int]) -> Mapping[str, int]:
    """Take cache writes by lifetime out of the tokens; LangChain states 0 as their sum."""
    writes = {lifetime: number for name, lifetime in _LIFETIMES.items() if (number := tokens.pop(name, 0))}
    if writes and not tokens.get("cache_write_input_tokens"):
        tokens["cache_write_input_tokens"] = sum(writes.values())
    return writes


def _add_within(stated: Mapping[str, Any], rows: Sequence[tuple[tuple[str, ...], str]], tokens: dict[str, int]) -> None:
    """Add the counts inside an object that no attribute has stated."""
    for path, field in rows:
        value: Any = stated
        for step in path:
            value = value.get(step) if isinstance(value, dict) else None
        number = whole(value)
        if number is not None:
            tokens.setdefault(field, number)


def _vendor_usage(raw: str, facts: Mapping[str, Any], provider: Provider | None) -> StatedUsage | None:
    """The usage object of the vendor's answer, which Logfire keeps, read as in an answer."""
    body = _object(raw)
    if not body:
        return None
    model = facts.get("response_model") or facts.get("request_model")
    extracted = extract({"model": model, "usage": body}, provider=provider.id if provider is not None else None)
    return None if extracted.usage is None else StatedUsage(extracted.usage, extracted.flags, extracted.vendor_cost)


def _object(written: str) -> Mapping[str, Any]:
    """An object written as JSON, or as Python's `repr` (LangSmith); empty for anything else."""
    if len(written) > _TEXT_MOST:
        return {}
    for read in (json.loads, ast.literal_eval):
        try:
            answer = read(written)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        if isinstance(answer, dict):
            return answer
    return {}


def _make_inclusive(
    tokens: dict[str, int], span: SpanData, named: Provider | None, total: int | None
) -> tuple[str, ...]:
    """Add to the totals the parts that an instrumentation counts beside them. Returns a flag for each inference."""
    have_in, have_out = tokens.get("input_tokens"), tokens.get("output_tokens")
    cached = tokens.get("cache_read_input_tokens", 0) + tokens.get("cache_write_input_tokens", 0)
    reasoning = tokens.get("reasoning_output_tokens", 0)
    flags: list[str] = []
    by_table = is_cache_beside(span, named)
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


def is_cache_beside(span: SpanData, named: Provider | None) -> bool:
    """Whether this instrumentation states cached tokens beside the input."""
    return any(
        rule.scope == _root(span.scope)
        and named is not None
        and named.id in rule.providers
        and (rule.unless is None or rule.unless not in span.attributes)
        for rule in CACHE_BESIDE
    )


def _reach(tokens: dict[str, int], total: int) -> tuple[str, ...]:
    """Complete the tokens by the stated total: a missing part, or a rest that the parts leave. Returns flags."""
    have_in, have_out = tokens.get("input_tokens"), tokens.get("output_tokens")
    if have_in is None or have_out is None:
        missing, stated = ("input_tokens", have_out) if have_in is None else ("output_tokens", have_in)
        if stated is None:
            return ()
        if total < stated:
            return (f"total_mismatch: total is {total}, below the one part that is stated",)
        tokens[missing] = total - stated
        return ()
    rest = total - have_in - have_out
    if rest == 0:
        return ()
    flag = f"total_mismatch: total is {total}, input and output are {have_in} and {have_out}"
    if rest < 0:
        return (flag,)
    name = "input_tokens" if have_in == 0 else "output_tokens"  # hidden reasoning is the usual rest
    tokens[name] += rest
    return (f"{flag}; the rest of {rest} is counted in {name}",)


def _root(scope: str) -> str:
    return scope.partition(".")[0]
