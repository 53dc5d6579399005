"""Prices one call as a call of another model, by the book: the general way of `what_if`, which takes every call."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from tokenmeter.cost import Cost
from tokenmeter.ledger.valuation.candidate import Candidate
from tokenmeter.ledger.valuation.fast_compare import KEPT, TOOLS
from tokenmeter.ledger.valuation.recorded_requests import recount
from tokenmeter.ledger.valuation.stored_calls import StoredCall
from tokenmeter.ledger.valuation.token_ratios import (
    TokenRatio,
    recounted,
    scaled,
    token_ratio,
    with_cache_rate,
    without_cache,
)
from tokenmeter.money import EXACT
from tokenmeter.prices.book import Book
from tokenmeter.tokens.families import match_model
from tokenmeter.usage import Usage

if TYPE_CHECKING:
    from tokenmeter.ledger.valuation.model_comparison import ModelComparison

__all__ = ["CallPricing", "ratio_to"]

_MEDIA: Final = (
    "audio_input_tokens", "image_input_tokens", "video_input_tokens", "audio_output_tokens", "image_output_tokens",
)  # fmt: skip


class CallPricing:
    """One call as a call of one candidate."""

    def __init__(
        self,
        candidate: Candidate,
        call: StoredCall,
        book: Book,
        answer: ModelComparison,
        line: Mapping[str, Any] | None,
    ) -> None:
        self.candidate, self.call, self.book, self.answer, self.line = candidate, call, book, answer, line
        self.at = call.at if answer.at is None else answer.at
        self.params = {name: call.params[name] for name in KEPT if name in call.params}
        self.as_input = False

    def problem(self) -> str | None:
        """Add the call to the candidate's sums; or say why its cost there is unknown."""
        candidate, call = self.candidate, self.call
        problem = _not_scalable(call, self.line is not None)
        if problem is None and self.answer.cache == "measured" and candidate.cache_rate is None:
            problem = "no call of this model in the ledger says what it read from the cache"
        if problem is not None:
            return problem
        ways = self._recounted() if self.line is not None else self._scaled()
        if isinstance(ways, str):
            return ways
        costs: dict[str, Decimal] = {}
        seen: dict[int, Decimal] = {}
        currency = None
        for name, usage in ways:
            if name == "uncached" and currency != call.currency:
                break  # what breaks even is only known in one currency
            amount = seen.get(id(usage))
            if amount is None:
                cost = self._cost(name, usage)
                if cost.amount is None:
                    return cost.reason or "unpriced"
                amount, currency = cost.amount, cost.currency
                seen[id(usage)] = amount
            costs[name] = amount
        candidate.currency = currency
        candidate.calls += 1
        candidate.recounted += self.line is not None
        candidate.cache_as_input += self.as_input
        for name, amount in costs.items():
            candidate.add(name, amount)
        if call.amount is None:
            candidate.unpriced += 1
        else:
            spent = call.currency or ""
            candidate.rests_on[spent] = EXACT.add(candidate.rests_on[spent], call.amount)
        return None

    def _cost(self, name: str, usage: Usage) -> Cost:
        cost = self._price(usage)
        if cost.amount is None and usage.cache_read_input_tokens:
            cost = self._price(without_cache(usage))
            self.as_input = self.as_input or name in ("low", "likely")
        return cost

    def _price(self, usage: Usage) -> Cost:
        candidate = self.candidate
        return self.book.price(
            usage, provider=candidate.provider, model=candidate.model, at=self.at, params=self.params
        )

    def _cached(self, usage: Usage) -> Usage:
        """The usage with what the comparison assumes of the cache."""
        if self.answer.cache == "keep":
            return usage
        rate = Fraction(0) if self.answer.cache == "none" else self.candidate.cache_rate
        assert rate is not None  # `problem` leaves such calls out
        return with_cache_rate(usage, rate)

    def _scaled(self) -> list[tuple[str, Usage]] | str:
        call, target = self.call, self.candidate.name
        source = (call.provider, call.response_model or call.model)
        ratio = ratio_to(target, self.answer.language, *source)
        if ratio is None:
            here, there = _family(target[1], target[0]), _family(source[1], source[0])
            return f"tokens of {here} for those of {there} were not measured"
        same = self._cached(call.usage)
        ends = [
            ("low", self._cached(scaled(call.usage, ratio.low, up=False))),
            ("likely", self._cached(scaled(call.usage, ratio.likely, up=None))),
            ("high", self._cached(scaled(call.usage, ratio.high, up=True))),
        ]
        if ratio.low == ratio.high == 1:
            ends = [(name, same) for name, _ in ends]
        return self._steps(ends, same, same)

    def _recounted(self) -> list[tuple[str, Usage]] | str:
        call, target, line = self.call, self.candidate.name, self.line
        assert line is not None  # the caller looked
        source = (call.provider, call.response_model or call.model)
        same = self._cached(call.usage)
        if source == target:
            return self._steps([(name, same) for name in ("low", "likely", "high")], same, same)
        found = recount(line, source, target, f"{self.at:%Y-%m-%d}")
        if isinstance(found, str):
            return found
        output = found.output or ratio_to(target, self.answer.language, *source)
        if output is None:
            return "the answers are not in the file, and tokens of such answers were not measured"
        ends = [
            (name, self._cached(recounted(call.usage, tokens, ratio, up=up)))
            for name, tokens, ratio, up in (
                ("low", found.low, output.low, False), ("likely", found.likely, output.likely, None),
                ("high", found.high, output.high, True),
            )
        ]  # fmt: skip
        tools = max(0, (call.usage.input_tokens or 0) - found.source_tools + found.tools)
        moved = self._cached(recounted(call.usage, tools, Fraction(1), up=None))
        return self._steps(ends, same, moved)

    def _steps(self, ends: list[tuple[str, Usage]], same: Usage, with_tools: Usage) -> list[tuple[str, Usage]]:
        likely = dict(ends)["likely"]
        return [
            *ends, ("as_they_were", self.call.usage), ("same_tokens", same), ("with_tools", with_tools),
            ("uncached", without_cache(likely)), ("all_cached", without_cache(likely, all_read=True)),
        ]  # fmt: skip


def _not_scalable(call: StoredCall, recorded: bool) -> str | None:
    usage = call.usage
    if call.provider is None or usage.input_tokens is None or usage.output_tokens is None:
        return "its usage is not known"
    if usage.quantities or usage.cached_media or any(getattr(usage, name) for name in _MEDIA):
        return "media and fees: each vendor counts them by a rule of its own"
    if not recorded and TOOLS & set(call.finish_reasons):
        return "tools: unknown without --requests, each vendor renders tool definitions its own way"
    return None


def ratio_to(target: tuple[str, str], language: str | None, provider: str | None, model: str) -> TokenRatio | None:
    """The range between the families of a model and of the target (provider, model); None where it was not measured."""
    return token_ratio(_family(model, provider), _family(target[1], target[0]), language)


@lru_cache(4096)
def _family(model: str, provider: str | None) -> str:
    return match_model(model, provider).family
