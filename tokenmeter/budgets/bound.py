"""`bound`: what a request may be charged at most, before it is sent.

All input is priced as the dearest that the request allows, such as a cache write; the output is the limit of the
request, with the provider's exceptions, or else of its model, times the choices asked for. The input is counted, or
the bytes of its texts bound it, which takes microseconds. `bound.toml` has what vendors may add that a request does
not show, `max_output.toml` the limits of models.
"""

from __future__ import annotations

import decimal
import fnmatch
import functools
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tokenmeter.budgets.bound_values import Bound, BoundPart
from tokenmeter.budgets.request_size import most_input
from tokenmeter.money import EXACT, Money
from tokenmeter.tokens.requests.output_limits import limit_meaning
from tokenmeter.usage import Source, Usage
from tokenmeter.wire.request_body import limit_of
from tokenmeter.wire.request_params import request_params

if TYPE_CHECKING:
    from tokenmeter.cost import Cost

__all__ = ["QuickRates", "bound", "quick_rates"]

Price = Callable[[Usage, Mapping[str, Any]], "Cost"]
_MARGIN: Final = 8
"""Tokens added to a count, with 2% of it: with both, 99% of recorded inputs are covered."""
_ASSUMED: Final = 8_192
"""The length of answer at which output is priced where the request sets no limit."""
_WRITES: Final = ("cache_write", "cache_write_5m", "cache_write_30m", "cache_write_1h", "cache_write_12h")
_CHOICES: Final = frozenset(("n", "best_of", "num_completions", "candidateCount", "candidate_count", "N"))
_PARTS: Final = frozenset(("generationConfig", "generation_config", "parameters"))
_THINKING: Final = frozenset(("thinking_budget", "thinkingBudget", "budget_tokens", "max_tokens_for_reasoning"))


class _Rules(NamedTuple):
    writes_unasked: frozenset[str]
    cache_words: frozenset[str]
    server_tools: tuple[str, ...]
    server_tool_keys: frozenset[str]
    server_params: frozenset[str]
    server_models: tuple[str, ...]
    per_answer: Mapping[str, str]
    over_percent: Mapping[str, int]


@functools.cache
def _rules() -> _Rules:
    data = tomllib.loads(Path(__file__).with_name("bound.toml").read_text("utf-8"))
    return _Rules(
        frozenset(data["writes_unasked"]),
        frozenset(data["cache_words"]),
        tuple(data["server_tools"]),
        frozenset(data["server_tool_keys"]),
        frozenset(data["server_params"]),
        tuple(data["server_models"]),
        data["per_answer"],
        data["over_percent"],
    )


def bound(
    request: object,
    *,
    provider: str,
    model: str,
    api: str | None,
    price: Price,
    quick: Callable[[Mapping[str, Any], bool], QuickRates | None] | None = None,
    at: str | None = None,
) -> Bound:
    """What the request (a body, or a text) may be charged at most with `price(usage, params)`.

    `at` is its ISO day, now where absent.
    With `quick(params, writes)`, which gives the dearest rates of the model, its input is bounded and not counted.
    """
    rules = _rules()
    stated = isinstance(request, Mapping)
    body: Mapping[str, Any] = request if isinstance(request, Mapping) else {"prompt": request or ""}
    tokens, asks_write = most_input(body, rules.cache_words)
    hidden = _hidden(body, model, rules) if stated else None
    if quick is None or tokens is None:
        counted = _counted(request, provider, model, api, at)
        tokens = counted + counted // 50 + _MARGIN if counted else tokens
    if tokens is None:
        return Bound(None, None, (), False, "the tokens of the request cannot be bounded")
    limit = _output_limit(body, provider, api)
    params = (request_params(body) or {}) if stated else {}
    writes = asks_write or provider in rules.writes_unasked
    asked = _Asked(params, tokens, limit, _choices(body), writes, hidden, _max_output(provider, model))
    rates = quick(params, asked.writes) if quick is not None else None
    if rates is not None:
        return _by_rates(rates, asked)
    return _priced(price, asked, rules.per_answer.get(provider))


class _Asked(NamedTuple):
    """What of a request its bound depends on."""

    params: Mapping[str, Any]
    tokens: int
    limit: int | None
    choices: int
    writes: bool
    hidden: str | None
    most: int | None = None
    """The limit of the model."""

    @property
    def longest(self) -> int | None:
        """The longest that one answer can be, by the request, else by its model."""
        return self.limit if self.limit is not None else self.most

    @property
    def output(self) -> int:
        return (self.longest if self.longest is not None else _ASSUMED) * self.choices

    @property
    def reason(self) -> str | None:
        if self.limit is not None:
            return self.hidden
        return "the request sets no limit on its output" + (f"; {self.hidden}" if self.hidden else "")


def _counted(request: object, provider: str, model: str, api: str | None, at: str | None) -> int | None:
    """The high end of the count; None where nothing counts the model's text."""
    from tokenmeter.tokens import count_request, count_text

    if isinstance(request, str):
        return count_text(request, model=model, provider=provider, at=at).high
    if isinstance(request, Mapping):
        return count_request(request, provider=provider, model=model, api=api, at=at).high
    return None


@functools.cache
def _max_outputs() -> Mapping[tuple[str, str], int]:
    data = tomllib.loads(Path(__file__).with_name("max_output.toml").read_text("utf-8"))
    return {
        (provider, model): int(tokens)
        for provider, limits in data.items()
        for tokens, models in limits.items()
        for model in models
    }


def _max_output(provider: str, model: str) -> int | None:
    return _max_outputs().get((provider, model))


def _output_limit(body: Mapping[str, Any], provider: str, api: str | None) -> int | None:
    """The most tokens of one answer: the request's limit as its provider understands it, and thoughts beside it."""
    limit = limit_of(body)
    if limit is None:
        return None
    meaning = limit_meaning(provider)
    thoughts = 0
    if not meaning.thoughts:
        thoughts = max(0, _greatest(body, _THINKING, 0))
    return max(limit + limit * _rules().over_percent.get(api or "", 0) // 100 + 1, meaning.least) + thoughts


def _choices(body: Mapping[str, Any]) -> int:
    return _greatest(body, _CHOICES, 1)


def _greatest(body: Mapping[str, Any], names: frozenset[str], default: int) -> int:
    """The greatest of the whole numbers under these names, in the body and its parts."""
    places = [body]
    if not _PARTS.isdisjoint(body):
        places += [part for name in _PARTS if isinstance(part := body.get(name), Mapping)]
    found = [
        value
        for place in places
        if not names.isdisjoint(place)
        for name in names
        if type(value := place.get(name)) is int
    ]
    return max(found, default=default)


def _hidden(body: Mapping[str, Any], model: str, rules: _Rules) -> str | None:
    """Why the request's own text is not all that is billed; None where it is."""
    if _runs_tools(model):
        return f"{model} runs tools of the vendor"
    for name in () if rules.server_params.isdisjoint(body) else sorted(rules.server_params):
        if body.get(name) and not isinstance(body.get(name), str if name == "prompt" else ()):
            return f"{name} puts what is not in the request into the prompt"
    tools = body.get("tools")
    for tool in tools if isinstance(tools, list | tuple) else ():
        if not isinstance(tool, Mapping):
            continue
        kind = tool.get("type")
        if isinstance(kind, str) and any(fnmatch.fnmatchcase(kind, one) for one in rules.server_tools):
            return f"the tool {kind} is run by the vendor"
        for key in rules.server_tool_keys:
            if key in tool:
                return f"the tool {key} is run by the vendor"
    return None


@functools.lru_cache(1_000)
def _runs_tools(model: str) -> bool:
    return any(fnmatch.fnmatchcase(model, one) for one in _rules().server_models)


def _priced(price: Price, asked: _Asked, per_answer: str | None) -> Bound:
    """The bound at the prices of so many tokens, since rates may depend on the length."""
    tokens, output = asked.tokens, asked.output
    fee = {per_answer: 1} if per_answer is not None else {}
    plain = price(Usage(input_tokens=tokens, output_tokens=0, source=Source.ESTIMATED, quantities=fee), asked.params)
    if plain.total is None and fee:
        return _priced(price, asked, None)
    whole = price(
        Usage(input_tokens=tokens, output_tokens=output, source=Source.ESTIMATED, quantities=fee), asked.params
    )
    if plain.total is None or whole.total is None:
        why = plain.reason or whole.reason or "no price is known"
        return Bound(None, None, (), False, why, None, None, None, tokens, asked.limit, asked.choices, asked.most)
    currency, dearest = plain.total.currency, plain.total.amount
    for name in _WRITES if asked.writes and tokens else ():
        usage = Usage.from_dict({"input_tokens": tokens, "output_tokens": 0, f"{name}_input_tokens": tokens})
        written = price(usage, asked.params).total
        if written is not None and written.currency == currency and written.amount > dearest:
            dearest = written.amount
    answer = EXACT.subtract(whole.total.amount, plain.total.amount)
    rates = QuickRates(currency, _up(dearest, tokens), _up(answer, output), Decimal(0), plain.total)
    found = _by_rates(rates, asked)
    amount = None if asked.longest is None else Money(EXACT.add(dearest, answer), currency)
    return replace(found, amount=amount, input_amount=dearest)


class QuickRates(NamedTuple):
    """The dearest prices of a model, for one token of input and of output, and its fee for an answer."""

    currency: str
    input: Decimal
    output: Decimal
    fee: Decimal
    low: Money | None = None


def quick_rates(price: Price, params: Mapping[str, Any], provider: str, *, writes: bool) -> QuickRates | None:
    """The dearest prices over all lengths; None where the model has no price."""
    found = [
        _priced(price, _Asked(params, tokens, tokens, 1, writes, None), None) for tokens in (1_000, 100_000, 2_000_000)
    ]
    if any(one.currency is None or one.parts == () for one in found):
        return None
    fee = Decimal(0)
    per_answer = _rules().per_answer.get(provider)
    if per_answer is not None:
        charged = price(Usage(input_tokens=0, output_tokens=0, quantities={per_answer: 1}), params).total
        fee = charged.amount if charged is not None else fee
    inputs, outputs = zip(*((one.parts[0].rate, one.parts[1].rate) for one in found), strict=True)
    return QuickRates(found[0].currency or "", max(inputs), max(outputs), fee)


def _by_rates(rates: QuickRates, asked: _Asked) -> Bound:
    fixed = EXACT.add(rates.fee, EXACT.multiply(rates.input, Decimal(asked.tokens)))
    each = rates.output if asked.choices == 1 else EXACT.multiply(rates.output, Decimal(asked.choices))
    parts = [BoundPart("input", Decimal(asked.tokens), rates.input)]
    amount = None
    longest = asked.longest
    if longest is not None:
        parts.append(BoundPart("output", Decimal(asked.output), rates.output))
        amount = Money(EXACT.add(fixed, EXACT.multiply(each, Decimal(longest))), rates.currency)
    return Bound(
        amount, rates.low, tuple(parts), asked.hidden is None, asked.reason, rates.currency, fixed, each, asked.tokens,
        asked.limit, asked.choices, asked.most,
    )  # fmt: skip


def _up(amount: Decimal, tokens: int) -> Decimal:
    """The amount of one token, rounded up at the 15th decimal, so that its multiples are never below the amount."""
    if not tokens:
        return Decimal(0)
    return _CEILING.divide(amount, Decimal(tokens)).quantize(_FINEST, context=_CEILING)


_CEILING: Final = decimal.Context(prec=60, rounding=decimal.ROUND_CEILING)
_FINEST: Final = Decimal("1E-15")
