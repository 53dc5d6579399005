"""`Extracted`: what an answer says about its call, and the sum of several answers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from tokenmeter.money import Money
from tokenmeter.usage import INPUT_SUBSETS, TOKEN_FIELDS, Source, Usage, worst

__all__ = ["EMPTY", "RUNNING", "Extracted", "UsageText", "added_up", "raw_usage"]

EMPTY: Final[Mapping[str, Any]] = MappingProxyType({})
RUNNING: Final = frozenset(("", "null", "in_progress", "queued", "pending", "processing", "running"))
"""What stands in place of a finish reason, in lower case, while an answer is not finished."""
_INPUT: Final = frozenset(("input_tokens", *INPUT_SUBSETS))


class UsageText:
    """A vendor's usage object that was read without being parsed."""

    __slots__ = ("_text",)

    def __init__(self, text: bytes) -> None:
        self._text = text

    def value(self) -> object:
        """The object."""
        return json.loads(self._text)


def raw_usage(raw: object) -> object:
    """The vendor's usage object of an answer, parsed."""
    return raw.value() if type(raw) is UsageText else raw


class Extracted(NamedTuple):
    """What an answer says about the call. `reason` says what could not be read, `raw` is the vendor's own usage,
    perhaps as text (`raw_usage`).

    `params` holds the vendor's facts that choose a price (`cache`, `speed`, `inference_geo`, `batch` …); `error` is
    the vendor's error type or code where the answer is an error, under whatever HTTP status it came.
    """

    usage: Usage | None
    source: Source
    model: str | None = None
    service_tier: str | None = None
    vendor_cost: Money | None = None
    unknown_fields: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    reason: str | None = None
    raw: object = None
    finish_reasons: tuple[str, ...] = ()
    response_id: str | None = None
    params: Mapping[str, Any] = EMPTY
    api: str | None = None
    error: str | None = None


def added_up(answers: Sequence[Extracted], *, flag: str, same_prompt: bool = False) -> Extracted:
    """Several answers as one: usage and vendor's cost are the sums, the other facts those of the last that has them.

    Choices of one answer share a prompt: with `same_prompt` the largest input counts once. A total that one of the
    answers does not state is a lower bound of the sum and says `partial`.
    """
    last = answers[-1]
    told = [answer.usage for answer in answers if answer.usage is not None]
    usage = _sum(told, missing=len(told) < len(answers), same_prompt=same_prompt) if told else None
    flags = tuple(dict.fromkeys((flag, *(text for answer in answers for text in answer.flags))))
    return last._replace(
        usage=usage,
        source=worst(*(answer.source for answer in answers if answer.usage is not None)) if told else Source.NONE,
        model=_last(answer.model for answer in answers),
        service_tier=_last(answer.service_tier for answer in answers),
        vendor_cost=_costs([answer.vendor_cost for answer in answers]),
        unknown_fields=tuple(dict.fromkeys(name for answer in answers for name in answer.unknown_fields)),
        flags=flags,
        reason=_last(answer.reason for answer in answers),
        raw=[answer.raw for answer in answers],
        finish_reasons=_last(answer.finish_reasons for answer in answers) or (),
        response_id=_last(answer.response_id for answer in answers),
        params={name: value for answer in answers for name, value in answer.params.items()},
        error=_last(answer.error for answer in answers),
    )


def _last(values: Iterable[Any]) -> Any:
    return next((value for value in reversed(list(values)) if value), None)


def _sum(parts: Sequence[Usage], *, missing: bool, same_prompt: bool) -> Usage:
    tokens: dict[str, Any] = {}
    sources: dict[str, Source] = {}
    for name in TOKEN_FIELDS:
        known = [value for part in parts if (value := getattr(part, name)) is not None]
        if not known:
            continue
        tokens[name] = max(known) if same_prompt and name in _INPUT else sum(known)
        source = worst(*(part.source_of(name) for part in parts if getattr(part, name) is not None))
        if name in ("input_tokens", "output_tokens") and (missing or len(known) < len(parts)):
            source = worst(source, Source.PARTIAL)
        if source is not Source.REPORTED:
            sources[name] = source
    return Usage(
        **tokens,
        cache_writes=_added([part.cache_writes for part in parts]),
        cached_media=_added([part.cached_media for part in parts]),
        quantities=_added([part.quantities for part in parts]),
        sources=sources,
    )


def _added(tables: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    total: dict[str, Any] = {}
    for table in tables:
        for name, value in table.items():
            total[name] = total.get(name, 0) + value
    return total


def _costs(costs: Sequence[Money | None]) -> Money | None:
    """The sum of the vendor's costs; None where one is missing or in another currency, since that is no total."""
    known = [cost for cost in costs if cost is not None]
    if len(known) < len(costs) or len({cost.currency for cost in known}) != 1:
        return None
    total = known[0]
    for cost in known[1:]:
        total = total + cost
    return total
