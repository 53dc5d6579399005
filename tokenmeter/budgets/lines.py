"""Which budgets a call falls under, and what it asks of each: an amount in the budget's own unit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, NamedTuple

from tokenmeter._support.bounded import BoundedDict
from tokenmeter.budgets.bound_values import Bound
from tokenmeter.budgets.budget import Budget
from tokenmeter.budgets.contract import BudgetAsk
from tokenmeter.budgets.limits import CALLS, TOKENS, BudgetLimit
from tokenmeter.budgets.outputs import Outputs
from tokenmeter.budgets.windows import BudgetWindow
from tokenmeter.errors import BudgetExceeded
from tokenmeter.money import EXACT

__all__ = ["SEPARATOR", "BudgetCounter", "BudgetLine", "BudgetLines", "CallFacts", "Convert", "ScopeRun", "unheld"]

SEPARATOR: Final = "\x1f"
_VALUES_MOST: Final = 10_000
_OTHER: Final = "*other*"
_LEAST_UNLIMITED: Final = 1_000
_STREAM_LEAST: Final = 64
_MILLION: Final = Decimal(1_000_000)

Convert = Callable[[Decimal, str, str], Decimal | None]
"""An amount of one currency in another by the user's rates; None where they have none."""


class ScopeRun(str):
    """The id of one run of a scope. Its series is forgotten when the scope and its calls are gone."""

    followed = False


@dataclass(slots=True)
class CallFacts:
    """What a budget needs to know of a call that is about to be sent."""

    call: str
    provider: str | None
    model: str | None
    api: str | None
    tags: Mapping[str, str]
    body: object
    stream: bool
    scopes: tuple[tuple[Budget, str], ...] = ()
    """Budgets of the scopes around the call, each with the id of the scope's run."""
    params: Mapping[str, Any] | None = None
    region: str | None = None


class BudgetLine(NamedTuple):
    """What one call asks of one budget. Amounts are units of the budget's limit.

    `input` does not depend on the answer, `per_output` is what a token of the answer adds at most, `output` is the
    length of answer that is held.
    """

    counter: BudgetCounter
    series: str
    window: BudgetWindow
    input: int
    per_output: Decimal
    output: int
    output_limit: int | None

    @property
    def amount(self) -> int:
        return self.input + self.counter.limit.of(EXACT.multiply(self.per_output, Decimal(self.output)), up=True)

    def ask(self, *, limit: int | None = None) -> BudgetAsk:
        window, budget = self.window, self.counter.budget
        lost = {"input": self.input, "bound": self.amount, "nothing": 0}[budget.on_lost]
        return BudgetAsk(
            self.series,
            window.bucket,
            window.span,
            window.start,
            window.end,
            window.until,
            self.counter.limit.units if limit is None else limit,
            self.amount,
            lost,
        )


class BudgetCounter:
    """A budget with its windows and the values of its `each` that have a series of their own."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.limit: BudgetLimit = budget.limit
        self.windows = budget.windows()
        self._where = tuple(budget.where.items())
        self._values: BoundedDict[str, None] = BoundedDict(_VALUES_MOST)

    def series(self, facts: CallFacts) -> str | None:
        """The series that a call is counted in; None where the budget is not for it."""
        for key, wanted in self._where:
            if _fact(facts, key) != wanted:
                return None
        each = self.budget.each
        if each is None:
            return self.budget.name
        value = _fact(facts, each)
        if value is None:
            return None
        if value not in self._values and not self._values.keep(value, None):
            value = _OTHER  # values without end share one counter: the limit holds for all of them together
        return f"{self.budget.name}{SEPARATOR}{value}"


def _fact(facts: CallFacts, key: str) -> str | None:
    found = facts.tags.get(key)
    if found is None and key in ("provider", "model"):
        return facts.provider if key == "provider" else facts.model
    return found


class BudgetLines:
    """Makes the lines of a call. `bound(facts, exact)` computes what the call may cost, exactly or in microseconds."""

    def __init__(
        self,
        budgets: Iterable[Budget],
        *,
        bound: Callable[[CallFacts, bool], Bound],
        outputs: Outputs,
        convert: Convert,
    ) -> None:
        self.counters = tuple(BudgetCounter(budget) for budget in budgets)
        self._scoped: BoundedDict[Budget, BudgetCounter] = BoundedDict(1_000)
        self._bound = bound
        self._outputs = outputs
        self._convert = convert

    def matching(self, facts: CallFacts) -> list[tuple[BudgetCounter, str]]:
        """The counters of the budgets that a call falls under, each with its series."""
        found = [(counter, series) for counter in self.counters if (series := counter.series(facts)) is not None]
        for budget, run in facts.scopes:
            counter = self._scoped.get(budget) or self._scoped.put(budget, BudgetCounter(budget))
            found.append((counter, f"{budget.name}{SEPARATOR}{run}"))
        return found

    def lines(
        self, matching: list[tuple[BudgetCounter, str]], facts: CallFacts, now: int, *, exact: bool
    ) -> list[BudgetLine]:
        """What the call asks of each. Raises BudgetExceeded where a budget blocks calls that it cannot bound."""
        bound: Bound | None = None
        lines = []
        for counter, series in matching:
            window = counter.windows.at(now)
            if counter.limit.unit == CALLS:
                lines.append(BudgetLine(counter, series, window, 1, Decimal(0), 0, None))
                continue
            if facts.body is None:  # a call by hand that states no request: it is let through while anything is left
                lines.append(unheld(counter, series, now))
                continue
            if bound is None:
                bound = self._bound(facts, exact)
            lines.append(self._line(counter, series, window, facts, bound))
        return lines

    def _line(
        self, counter: BudgetCounter, series: str, window: BudgetWindow, facts: CallFacts, bound: Bound
    ) -> BudgetLine:
        if counter.limit.unit == TOKENS:
            fixed, each = bound.input_tokens or 0, Decimal(bound.choices)
        else:
            fixed, each = self._money(counter, series, facts, bound)
        return BudgetLine(
            counter, series, window, fixed, each, self._output(counter, series, facts, bound), bound.output_tokens
        )

    def _output(self, counter: BudgetCounter, series: str, facts: CallFacts, bound: Bound) -> int:
        """How long an answer is held: what its limit allows; of a stream, what is usual, since its hold grows."""
        limit = bound.output_tokens
        if limit is None:
            policy = counter.budget.unlimited
            if policy == "block":
                raise refusal(counter, series, "unlimited", "the request sets no limit on its output")
            limit = self._unlimited(policy, facts, bound.max_output)
        if facts.stream:
            usual = self._outputs.quantile(facts.provider, facts.model, 0.95)
            return min(limit, max(usual, _STREAM_LEAST) if usual is not None else _LEAST_UNLIMITED)
        return limit

    def _unlimited(self, policy: str | int, facts: CallFacts, most: int | None) -> int:
        """How long an answer is held whose request sets no limit; never longer than its model can answer."""
        if policy == "model" and most is not None:
            return most
        if isinstance(policy, int):
            limit = policy
        else:
            limit = max(self._outputs.quantile(facts.provider, facts.model, 0.99) or 0, _LEAST_UNLIMITED)
        return limit if most is None else min(limit, most)

    def _money(self, counter: BudgetCounter, series: str, facts: CallFacts, bound: Bound) -> tuple[int, Decimal]:
        """The fixed part in units of the limit, and the amount of one token of the answer in the limit's currency."""
        limit, budget = counter.limit, counter.budget
        if bound.input_amount is None or bound.per_output_token is None or bound.currency is None:
            if budget.unpriced == "block":
                raise refusal(counter, series, "unpriced", bound.reason or "no price is known")
            if isinstance(budget.unpriced, BudgetLimit):
                rate = EXACT.divide(budget.unpriced.amount(budget.unpriced.units), _MILLION)
                return limit.of(EXACT.multiply(rate, Decimal(bound.input_tokens or 0)), up=True), EXACT.multiply(
                    rate, Decimal(bound.choices)
                )
            return 0, Decimal(0)
        fixed, each = bound.input_amount, bound.per_output_token
        if bound.currency != limit.unit:
            converted = [self._convert(one, bound.currency, limit.unit) for one in (fixed, each)]
            if converted[0] is None or converted[1] is None:
                if budget.unconvertible == "ignore":
                    return 0, Decimal(0)
                reason = f"it is billed in {bound.currency}, and there is no exchange rate to {limit.unit}"
                raise refusal(counter, series, "unconvertible", reason)
            fixed, each = converted[0], converted[1]
        return limit.of(fixed, up=True), each


def unheld(counter: BudgetCounter, series: str, now: int) -> BudgetLine:
    """The line of a call that is charged without having been held."""
    return BudgetLine(counter, series, counter.windows.at(now), 0, Decimal(0), 0, None)


def refusal(counter: BudgetCounter, series: str, kind: str, reason: str) -> BudgetExceeded:
    """The error of a call that a budget blocks because it cannot be bounded."""
    remedy = {
        "unlimited": 'set one (max_tokens), or unlimited="p99" or a number of tokens on the budget',
        "unpriced": 'give the model a price (configure(rates=…)), or unpriced="allow" on the budget',
        "unconvertible": 'give a rate (configure(exchange="USD=7.10CNY@2026-11-01")), or unconvertible="ignore"',
    }[kind]
    budget = counter.budget
    message = f"budget {budget.name!r} blocks this call: {reason}; {remedy}"
    return BudgetExceeded(
        message,
        budget=budget.name,
        series=series.replace(SEPARATOR, " "),
        unit=counter.limit.unit,
        limit=counter.limit.amount(counter.limit.units),
        kind=kind,
    )
