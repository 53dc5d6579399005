"""`estimate`: the cost of a request before it is sent, as a range.

The least is the input alone, at the low end of its count; the most adds the greatest output the request allows to the
high end. Both are at list price without a cache hit, since hits are unknown beforehand. What changes a rate and stands
in the request (thinking, batch, tier) is read from it, as it is at settle.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from tokenmeter.token_count import TokenCount
from tokenmeter.usage import Source, Usage
from tokenmeter.wire.request_body import limit_of
from tokenmeter.wire.request_params import request_params

if TYPE_CHECKING:
    from tokenmeter.cost import Cost
    from tokenmeter.money import Money

__all__ = ["Estimate", "estimate"]


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
    price: Callable[[Usage, Mapping[str, Any]], Cost],
    output_limit: int | None = None,
    at: datetime | date | str | None = None,
    corrected: Callable[[TokenCount, Mapping[str, Any]], TokenCount] | None = None,
) -> Estimate:
    """Count the request (a body, or a text) and price both ends of the range with `price(usage, params)`.

    `params` are the facts of the request that prices depend on; `corrected` applies the calibration.
    """
    from tokenmeter.tokens import count_request, count_text

    params: Mapping[str, Any] = {}
    if isinstance(request, str):
        counted = count_text(request, model=model, provider=provider, at=at)
    elif isinstance(request, Mapping):
        counted = count_request(request, provider=provider, model=model, api=api, at=at)
        if corrected is not None:
            counted = corrected(counted, request)
        output_limit = output_limit if output_limit is not None else limit_of(request)
        params = request_params(request) or {}
    else:
        reason = f"a request is a body or a text, not a {type(request).__name__}"
        counted = TokenCount(None, None, None, None, reason=reason)
    low = _cost(counted, counted.low, 0, price, params)
    high = _cost(counted, counted.high, output_limit, price, params) if output_limit is not None else None
    return Estimate(counted, output_limit, low, high)


def _cost(
    counted: TokenCount,
    tokens: int | None,
    output: int,
    price: Callable[[Usage, Mapping[str, Any]], Cost],
    params: Mapping[str, Any],
) -> Cost:
    cost = price(Usage(input_tokens=tokens, output_tokens=output, source=Source.ESTIMATED), params)
    if tokens is not None or cost.amount is None:
        return cost
    from tokenmeter.cost import Cost

    return Cost(cost.offer, "unpriced", None, (), cost.at, reason=f"input_tokens is not known: {counted.reason}")
