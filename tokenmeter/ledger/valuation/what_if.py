"""What the calls of a ledger would cost as calls of other models: low, likely and high, never one number.

Each call is priced at its own instant with the tiers, peak hours and batch of the other model. Tokens are scaled by the
measured range between the families of the two models; the length of outputs is kept. A call whose tokens nobody can
scale (tools, media, a family that was not measured) is left out, and the answer says what share of the spend it rests
on.
"""

from __future__ import annotations

import decimal
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from tokenmeter.cost import Cost
from tokenmeter.ledger.schema import open_for_reading
from tokenmeter.ledger.valuation.stored_calls import StoredCall, stored_calls
from tokenmeter.ledger.valuation.token_ratios import TokenRatio, scaled, token_ratio, without_cache
from tokenmeter.money import EXACT, plain
from tokenmeter.prices.book import Book
from tokenmeter.tokens.families import match_model
from tokenmeter.usage import Usage

__all__ = ["Candidate", "ModelComparison", "compare_models"]

_RATIO: Final = decimal.Context(prec=40, rounding=decimal.ROUND_HALF_EVEN)
_PLACES: Final = Decimal("0.0001")
_KEPT: Final = ("batch", "thinking")
"""Parameters that another vendor's request can have too."""
_TOOLS: Final = frozenset({"tool_calls", "tool_use", "function_call", "TOOL_USE"})
_MEDIA: Final = (
    "audio_input_tokens", "image_input_tokens", "video_input_tokens", "audio_output_tokens", "image_output_tokens",
)  # fmt: skip
Sums = dict[str, Decimal]


@dataclass(slots=True)
class Candidate:
    """One model and what the calls would cost as its calls. Money is exact, in `currency`.

    `same_tokens` is the cost without scaling: what lies between it and `likely` comes of the tokenizer, and what lies
    between it and the ledger's spend comes of prices. `rests_on` is the ledger's spend on the calls that are in it.
    """

    provider: str
    model: str
    currency: str | None = None
    sums: Sums = field(default_factory=lambda: defaultdict(Decimal))
    rests_on: Sums = field(default_factory=lambda: defaultdict(Decimal))
    calls: int = 0
    unknown: Counter[str] = field(default_factory=Counter)
    cache_as_input: int = 0
    """Calls whose cached tokens are priced as plain input, because the model has no price for them."""

    @property
    def name(self) -> tuple[str, str]:
        """Model and provider."""
        return self.model, self.provider

    def add(self, name: str, amount: Decimal) -> None:
        """Add to a sum: low, likely, high, same_tokens, uncached, all_cached."""
        self.sums[name] = EXACT.add(self.sums[name], amount)

    def break_even_cache_rate(self) -> Decimal | None:
        """The share of input read from the cache at which `likely` equals the ledger's spend on the same calls.

        None in another currency, and where no share between 0 and 1 does.
        """
        spend = self.rests_on.get(self.currency or "")
        if spend is None or len(self.rests_on) != 1 or not self.sums["uncached"]:
            return None
        none, whole = self.sums["uncached"], self.sums["all_cached"]
        if none <= whole or not whole <= spend <= none:
            return None
        rate = _RATIO.divide(EXACT.subtract(none, spend), EXACT.subtract(none, whole))
        return rate.quantize(_PLACES, context=_RATIO)

    def to_dict(self, spend: Mapping[str, Decimal]) -> dict[str, Any]:
        """The JSON form: exact numbers as plain strings; null where no call could be priced."""
        rate = self.break_even_cache_rate()
        return {
            "provider": self.provider,
            "model": self.model,
            "currency": self.currency,
            **{
                name: plain(self.sums[name]) if self.calls else None
                for name in ("low", "likely", "high", "same_tokens")
            },
            "calls": self.calls,
            "rests_on": [
                {"currency": currency, "amount": plain(self.rests_on.get(currency, Decimal(0))), "share": plain(share)}
                for currency, share in _shares(self.rests_on, spend)
            ],
            "break_even_cache_rate": None if rate is None else plain(rate),
            "cache_as_input": self.cache_as_input,
            "unknown": dict(self.unknown.most_common()),
        }


@dataclass(slots=True)
class ModelComparison:
    """The calls compared, what they cost, and the candidates."""

    candidates: list[Candidate]
    cache: str
    language: str | None
    at: datetime | None
    calls: int = 0
    spend: Sums = field(default_factory=lambda: defaultdict(Decimal))

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "calls": self.calls,
            "spend": [{"currency": currency, "amount": plain(sum_)} for currency, sum_ in sorted(self.spend.items())],
            "at": None if self.at is None else self.at.isoformat(),
            "cache": self.cache,
            "language": self.language,
            "kept": ["the length of outputs", "the inputs that follow from them"],
            "models": [one.to_dict(self.spend) for one in self.candidates],
        }


def _shares(part: Mapping[str, Decimal], whole: Mapping[str, Decimal]) -> Iterable[tuple[str, Decimal]]:
    for currency, sum_ in sorted(whole.items()):
        if sum_:
            share = _RATIO.divide(part.get(currency, Decimal(0)), sum_)
            yield currency, share.quantize(_PLACES, rounding=decimal.ROUND_DOWN, context=_RATIO)


def compare_models(
    path: str,
    book: Book,
    models: Sequence[tuple[str, str]],
    *,
    at: datetime | None = None,
    since_us: int | None = None,
    until_us: int | None = None,
    cache: str = "keep",
    language: str | None = None,
) -> ModelComparison:
    """Price the calls of a ledger as calls of `models` (provider and model). `at` None is each call's own instant.

    `cache` is `keep` (as much is read from the cache as was) or `none`. Raises LedgerError.
    """
    answer = ModelComparison([Candidate(*one) for one in models], cache, language, at)
    with closing(open_for_reading(path)) as connection:
        for page in stored_calls(connection, since_us, until_us):
            for call in page:
                answer.calls += 1
                if call.amount is not None:
                    currency = call.currency or ""
                    answer.spend[currency] = EXACT.add(answer.spend[currency], call.amount)
                for candidate in answer.candidates:
                    problem = _price(candidate, call, book, answer)
                    if problem is not None:
                        candidate.unknown[problem] += 1
    return answer


def _price(candidate: Candidate, call: StoredCall, book: Book, answer: ModelComparison) -> str | None:
    """Add a call to a candidate's sums; or say why its cost there is unknown."""
    problem = _not_scalable(call)
    if problem is not None:
        return problem
    source, target = _family(call.response_model or call.model, call.provider), _family(*candidate.name)
    ratio = token_ratio(source, target, answer.language)
    if ratio is None:
        return f"tokens of {target} for those of {source} were not measured"
    usage = without_cache(call.usage) if answer.cache == "none" else call.usage
    params = {name: call.params[name] for name in _KEPT if name in call.params}
    costs: dict[str, Cost] = {}
    as_input = False
    for name, scaled_usage in _usages(usage, ratio):
        if name == "uncached" and costs["likely"].currency != call.currency:
            break  # what breaks even is only known in one currency
        if name != "low" and scaled_usage is usage and "low" in costs and ratio.low == 1:
            costs[name] = costs["low"]
            continue
        cost = _cost(candidate, scaled_usage, call, book, answer.at, params)
        if cost.amount is None and scaled_usage.cache_read_input_tokens:
            cost = _cost(candidate, without_cache(scaled_usage), call, book, answer.at, params)
            as_input = as_input or name in ("low", "likely")
        if cost.amount is None:
            return cost.reason or "unpriced"
        costs[name] = cost
    candidate.currency = costs["likely"].currency
    candidate.calls += 1
    candidate.cache_as_input += as_input
    for name, cost in costs.items():
        candidate.add(name, cost.amount or Decimal(0))
    if call.amount is not None:
        currency = call.currency or ""
        candidate.rests_on[currency] = EXACT.add(candidate.rests_on[currency], call.amount)
    return None


def _not_scalable(call: StoredCall) -> str | None:
    usage = call.usage
    if call.provider is None or usage.input_tokens is None or usage.output_tokens is None:
        return "its usage is not known"
    if usage.quantities or usage.cached_media or any(getattr(usage, name) for name in _MEDIA):
        return "media and fees: each vendor counts them by a rule of its own"
    if _TOOLS & set(call.finish_reasons):
        return "tools: unknown without the requests, each vendor renders tool definitions its own way"
    return None


@lru_cache(4096)
def _family(model: str, provider: str | None) -> str:
    return match_model(model, provider).family


def _usages(usage: Usage, ratio: TokenRatio) -> Iterator[tuple[str, Usage]]:
    yield "low", scaled(usage, ratio.low, up=False)
    likely = scaled(usage, ratio.likely, up=None)
    yield "likely", likely
    yield "high", scaled(usage, ratio.high, up=True)
    yield "same_tokens", usage
    yield "uncached", without_cache(likely)
    yield "all_cached", without_cache(likely, all_read=True)


def _cost(
    candidate: Candidate, usage: Usage, call: StoredCall, book: Book, at: datetime | None, params: Mapping[str, Any]
) -> Cost:
    return book.price(
        usage, provider=candidate.provider, model=candidate.model, at=call.at if at is None else at, params=params
    )
