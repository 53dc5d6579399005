"""What a usage or a request costs when a program asks without making a call: `price`, `estimate` and `bound`.

`Tokenmeter`'s methods of these names describe the arguments and errors. A meter that only meters loads none of this.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from tokenmeter._support.arguments import check_text
from tokenmeter.calls.by_hand import check_api
from tokenmeter.errors import ConfigurationError
from tokenmeter.prices.arguments import check_usage, seller_of
from tokenmeter.prices.components import check_params
from tokenmeter.wire.request_body import model_of, request_body

if TYPE_CHECKING:
    from tokenmeter.budgets.bound_values import Bound
    from tokenmeter.calls.calibrator import Calibrator
    from tokenmeter.cost import Cost
    from tokenmeter.estimates import Estimate
    from tokenmeter.prices.book import Book
    from tokenmeter.usage import Usage

__all__ = ["AskedPrices"]


class AskedPrices(NamedTuple):
    """Answers by a book, for models as a meter's settings name them, corrected by what its calibrator has learnt."""

    book: Book
    models: Mapping[str, str]
    calibrator: Calibrator | None

    def price(
        self, usage: Usage, *, provider: str | None, model: str, at: datetime | str | None, params: Mapping[str, Any]
    ) -> Cost:
        """See `Tokenmeter.price`."""
        check_usage(usage)
        check_params(params)
        check_text(model, "model", "deepseek-chat", needed=True)
        provider, model = seller_of(self.book, provider, self.models.get(model, model), at)
        return self.book.price(usage, provider=provider, model=model, at=at, params=params)

    def estimate(
        self,
        request: object,
        *,
        provider: str | None,
        model: str | None,
        api: str | None,
        at: datetime | str | None,
        output_limit: int | None,
        params: Mapping[str, Any],
    ) -> Estimate:
        """See `Tokenmeter.estimate`."""
        from tokenmeter.estimates import estimate

        check_text(model, "model", "deepseek-chat")
        check_api(api, "estimate")
        if output_limit is not None and type(output_limit) is not int:
            raise ConfigurationError(f"output_limit={output_limit!r:.200}: give a number of tokens, such as 1000")
        provider, named = self._seller(request, "estimate", provider, model, at)
        calibrator = self.calibrator
        return estimate(
            request,
            provider=provider,
            model=named,
            api=api,
            price=lambda usage, said: self.price(
                usage, provider=provider, model=named, at=at, params={**said, **params}
            ),
            output_limit=output_limit,
            at=at,
            corrected=None
            if calibrator is None
            else lambda count, body: calibrator.corrected_input(
                count, provider=provider, model=named, api=api, body=body
            ),
        )

    def bound(self, request: object, *, provider: str | None, model: str | None, api: str | None) -> Bound:
        """See `Tokenmeter.bound`."""
        from tokenmeter.budgets.bound import bound

        check_text(provider, "provider", "deepseek")
        check_text(model, "model", "deepseek-chat")
        check_api(api, "bound")
        provider, named = self._seller(request, "bound", provider, model, None)
        return bound(
            request,
            provider=provider,
            model=named,
            api=api,
            price=lambda usage, said: self.book.price(usage, provider=provider, model=named, params=said),
        )

    def _seller(
        self, request: object, asked: str, provider: str | None, model: str | None, at: datetime | str | None
    ) -> tuple[str, str]:
        """Who bills a request, and for which model."""
        named = model if model is not None else model_of(request_body(request))
        named = self.models.get(named or "", named)
        if named is None:
            raise ConfigurationError(f"{asked} needs a model: pass model=…, or a request that names one")
        return seller_of(self.book, provider, named, at)
