"""What a span that somebody else made says about its call, in our words.

Instrumentations differ in names and in meaning: the same number is `gen_ai.usage.input_tokens`,
`llm.token_count.prompt` or `ai.usage.promptTokens`, and cached tokens are inside it or beside it. Both are tables, in
`foreign_names`, so that another instrumentation is rows and no code.

Whether cached tokens are inside the input is told by `CACHE_BESIDE` where an instrumentation was seen to leave them
out; else by the total, if the span has one; else they are inside, unless they are more than the input.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from tokenmeter._guard import guard
from tokenmeter.catalog.extract import extract
from tokenmeter.sinks import semconv
from tokenmeter.sinks.foreign import operation_of
from tokenmeter.sinks.foreign_names import CACHE_BESIDE, NAMES, PROVIDERS, SPOKEN_BY_OTHERS, USAGE_ELSEWHERE, WITHIN
from tokenmeter.usage import TOKEN_FIELDS, Source, Usage, checked_usage

if TYPE_CHECKING:
    from tokenmeter.catalog.providers import Provider, Providers

__all__ = ["facts_of", "is_ours"]

_PLACES: Final = {name: (fact, rank) for fact, names in NAMES.items() for rank, name in enumerate(names)}
_FIELDS: Final = frozenset(TOKEN_FIELDS)
_OURS: Final = (semconv.COST_STATUS, semconv.CALL_ID, semconv.END)
_TEXT_MOST: Final = 20_000
_WHERES_MOST: Final = 1000
_PLAIN: Final = frozenset({str, int, type(None)})
_wheres: dict[tuple[Any, ...], tuple[Any, ...]] = {}
"""Who bills, by what spans say of it: the same for every call to one endpoint."""
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


def is_ours(attributes: Mapping[str, Any]) -> bool:
    """Whether a span is carried by a call of our own already, or was priced before."""
    return any(name in attributes for name in _OURS)


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
    operation = operation_of(attributes)
    if operation is None or is_ours(attributes):
        return None
    found = _found(attributes)
    get = found.get
    key = (id(providers), get("provider"), get("address"), get("port"), get("region"), get("site"))
    where = _wheres.get(key) if all(type(part) in _PLAIN for part in key) else None
    if where is None or where[0] is not providers:
        where = (providers, *_where(found, providers))
        if all(type(part) in _PLAIN for part in key):
            if len(_wheres) >= _WHERES_MOST:
                _wheres.clear()
            _wheres[key] = where
    _, named, host, port, provider, region = where
    if host is None and renamed and "site" not in found:
        said = renamed.get(str(found.get("provider")).lower())
        provider = provider if said is None else providers.resolve(said, region)
    usage, flags = _usage(scope, attributes, found, named, provider, operation)
    if usage.source is Source.NONE and _top(scope) in USAGE_ELSEWHERE and not (failed or "error_type" in found):
        return None
    return {
        "provider": provider.id if provider is not None else None,
        "otel_provider": provider.otel_name if provider is not None else None,
        "api": None,
        "operation": operation,
        "host": host,
        "port": port,
        "region": region,
        "request_model": _text(found.get("request_model")),
        "response_model": _text(found.get("response_model")),
        "response_id": _text(found.get("response_id")),
        "finish_reasons": _texts(found.get("finish_reasons")),
        "service_tier": _text(found.get("service_tier")),
        "stream": found.get("stream") is True,
        "time_to_first_chunk": _seconds(found.get("time_to_first_chunk")),
        "error_type": _text(found.get("error_type")),
        "usage": usage,
        "flags": flags,
        "reason": None if usage.source is not Source.NONE else f"the span of {scope} carries no usage",
        "params": {"region": region} if region is not None else {},
        "tags": {},
    }


def _found(attributes: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    ranks: dict[str, int] = {}
    for name, value in attributes.items():
        place = _PLACES.get(name)
        if place is not None and value not in (None, ""):
            fact, rank = place
            if rank < ranks.get(fact, 1000):
                found[fact], ranks[fact] = value, rank
    return found


# Who bills ------------------------------------------------------------------------------------------------------


def _where(
    found: Mapping[str, Any], providers: Providers
) -> tuple[Provider | None, str | None, int | None, Provider | None, str | None]:
    """The provider that is named, the host and port, and the provider and region that bill."""
    named = _provider(found.get("provider"), providers)
    host, port, path = _address(found)
    return named, host, port, *_biller(named, host, port, path, found, providers)


def _provider(named: object, providers: Providers) -> Provider | None:
    """The provider of a name such as `anthropic`, `az.ai.openai` or Vercel's `google.generative-ai`."""
    if not isinstance(named, str):
        return None
    name = named.strip().lower()
    while name:
        known = providers.get(PROVIDERS.get(name, name))
        if known is not None:
            return known
        name = name.rpartition(".")[0]
    return None


def _address(found: Mapping[str, Any]) -> tuple[str | None, int | None, str]:
    """Host, port and path, from a host or from a URL."""
    address = found.get("address")
    if not isinstance(address, str):
        return None, None, ""
    port = _whole(found.get("port"))
    if ":" not in address and "/" not in address and "[" not in address:
        return address, port, ""
    try:
        parts = urlsplit(address if "://" in address else f"//{address}")
        return parts.hostname, parts.port or port, parts.path
    except ValueError:
        return None, None, ""


def _biller(
    named: Provider | None, host: str | None, port: int | None, path: str, found: Mapping[str, Any], known: Providers
) -> tuple[Provider | None, str | None]:
    """Who bills, and in which region: what the user put on the span, else whose address it is, else the name."""
    region = _text(found.get("region"))
    site = _text(found.get("site"))
    if site is not None:
        return known.resolve(site, region), region
    if host is not None:
        endpoint = known.for_host(f"{host}:{port}", path) if port is not None else None
        endpoint = endpoint or known.for_host(host, path)
        if endpoint is not None:
            return known.by_id[endpoint.provider_id], region or endpoint.region
        if named is not None and named.id in SPOKEN_BY_OTHERS:
            return None, region
    if named is not None and region is not None:
        return known.resolve(named.id, region), region
    return named, region


# How much -------------------------------------------------------------------------------------------------------


def _usage(
    scope: str,
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
    tokens = {
        name: number for name, value in found.items() if name in _FIELDS and (number := _whole(value)) is not None
    }
    for attribute, rows in WITHIN.items():
        text = attributes.get(attribute)
        if isinstance(text, str) and text:
            _look_within(_object(text), rows, tokens)
    if not tokens:
        return Usage(source=Source.NONE), ()
    if operation in (semconv.EMBEDDINGS, "rerank"):
        tokens.setdefault("output_tokens", 0)
    flags = _make_inclusive(tokens, scope, attributes, named, _whole(found.get("total_tokens")))
    writes = {
        name.partition(".")[2]: number
        for name in ("cache_writes.5m", "cache_writes.1h")
        if (number := _whole(found.get(name)))
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
        number = _whole(value)
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


def _whole(value: object) -> int | None:
    """A count: an integer, a float that is one (JavaScript has no other), or text of one; else None."""
    if type(value) is int:
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    return None


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
