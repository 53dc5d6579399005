"""`bound`: what a request may be charged at most, before it is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from tokenmeter.budgets.bound_values import Bound
from tokenmeter.estimates import estimate
from tokenmeter.money import EXACT, Money
from tokenmeter.usage import Source, Usage

if TYPE_CHECKING:
    from tokenmeter.cost import Cost

__all__ = ["bound"]

_MANY: Final = 1_000_000


def bound(
    request: object,
    *,
    provider: str,
    model: str,
    api: str | None,
    price: Callable[[Usage, Mapping[str, Any]], Cost],
    output_limit: int | None = None,
) -> Bound:
    """What the request may be charged at most with `price(usage, params)`."""
    made = estimate(request, provider=provider, model=model, api=api, price=price, output_limit=output_limit)
    tokens, limit = made.input.high, made.output_limit
    said: Mapping[str, Any] = {}
    if isinstance(request, Mapping):
        from tokenmeter.wire.request_params import request_params

        said = request_params(request) or {}
    fixed = price(Usage(input_tokens=tokens or 0, output_tokens=0, source=Source.ESTIMATED), said).total
    both = price(Usage(input_tokens=tokens or 0, output_tokens=_MANY, source=Source.ESTIMATED), said).total
    if fixed is None or both is None:
        reason = made.low.reason or "no price is known"
        return Bound(None, None, (), False, reason, input_tokens=tokens, output_tokens=limit)
    each = EXACT.divide(EXACT.subtract(both.amount, fixed.amount), Decimal(_MANY))
    amount = (
        None if limit is None else Money(EXACT.add(fixed.amount, EXACT.multiply(each, Decimal(limit))), fixed.currency)
    )
    why = None if limit is not None else "the request sets no limit on its output"
    return Bound(amount, made.low.total, (), True, why, fixed.currency, fixed.amount, each, tokens, limit)
