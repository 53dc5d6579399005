"""The cost of a request before it is sent, as a range."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tokenmeter.usage import Source, TokenCount, Usage

if TYPE_CHECKING:
    from tokenmeter.money import Money
    from tokenmeter.pricing import Cost

__all__ = ["Estimate", "estimate"]

_LIMITS = ("max_completion_tokens", "max_output_tokens", "max_tokens", "maxOutputTokens", "max_tokens_to_sample")


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a request may cost. `low` is its input alone, at the low end of its count; `high` adds `output_limit`
    tokens of output to the high end. `high` is None where the request sets no limit on its output.
    """

    input: TokenCount
    output_limit: int | None
    low: Cost
    high: Cost | None

    @property
    def range(self) -> tuple[Money | None, Money | None]:
        """The least and the most, each None where it is not known."""
        return self.low.total, self.high.total if self.high is not None else None


def estimate(
    request: object,
    *,
    provider: str,
    model: str,
    api: str | None,
    price: Any,
    output_limit: int | None = None,
) -> Estimate:
    """Count the request and price both ends of the range with `price(usage)`."""
    from tokenmeter.tokens import count_request, count_text

    if isinstance(request, str):
        counted = count_text(request, model=model, provider=provider)
    else:
        body = request if isinstance(request, Mapping) else {}
        counted = count_request(body, provider=provider, model=model, api=api)
        output_limit = output_limit if output_limit is not None else _limit(body)
    low = price(_usage(counted.low, 0))
    high = price(_usage(counted.high, output_limit)) if output_limit is not None else None
    return Estimate(counted, output_limit, low, high)


def _usage(input_tokens: int | None, output_tokens: int | None) -> Usage:
    return Usage(input_tokens=input_tokens, output_tokens=output_tokens, source=Source.ESTIMATED)


def _limit(body: Mapping[str, Any]) -> int | None:
    places = [
        body,
        *(part for part in (body.get("parameters"), body.get("generationConfig")) if isinstance(part, Mapping)),
    ]
    for place in places:
        for name in _LIMITS:
            value = place.get(name)
            if type(value) is int and value >= 0:
                return value
    return None
