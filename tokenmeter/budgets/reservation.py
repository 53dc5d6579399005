"""`BudgetReservation`: what one open call holds of its budgets; grown while its stream runs, settled by its record."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final, Protocol

from tokenmeter.budgets.contract import BudgetAsk, BudgetCharge, BudgetRefusal, BudgetStore
from tokenmeter.budgets.limits import CALLS, TOKENS, BudgetLimit
from tokenmeter.budgets.lines import BudgetLine, Convert
from tokenmeter.budgets.outputs import Outputs
from tokenmeter.errors import BudgetExceeded
from tokenmeter.money import EXACT
from tokenmeter.record import End, Record

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BudgetReservation", "Watcher"]

_STEP: Final = 256
_MILLION: Final = Decimal(1_000_000)
_NOT_BILLED: Final = 400


class Watcher(Protocol):
    """What is to know of spend that settles: thresholds, metrics, the list of open calls."""

    refused: dict[str, int]

    def spent(self, line: BudgetLine) -> int: ...
    def opened(self, reservation: BudgetReservation) -> None: ...
    def settled(self, reservation: BudgetReservation, line: BudgetLine, spent: int, added: int) -> None: ...
    def ended(self, reservation: BudgetReservation) -> None: ...
    def was_refused(self, error: BudgetExceeded, window: str) -> None: ...


class BudgetReservation:
    """The holds of one call, in the process's own store (budgets of scopes) and in the shared one."""

    __slots__ = (
        "_convert",
        "_grows",
        "_outputs",
        "_watcher",
        "call",
        "cut",
        "flags",
        "growing",
        "held_output",
        "parts",
    )

    def __init__(
        self,
        call: str,
        parts: tuple[tuple[BudgetStore, tuple[BudgetLine, ...]], ...],
        *,
        convert: Convert,
        outputs: Outputs,
        watcher: Watcher,
        flags: tuple[str, ...] = (),
    ) -> None:
        self.call = call
        self.parts = parts
        self.flags = flags
        self._convert = convert
        self._outputs = outputs
        self._watcher = watcher
        self._grows = True
        self.growing = False
        self.cut: BudgetExceeded | None = None
        """What ends the stream, once that is known."""
        outputs_held = [line.output for _, lines in parts for line in lines if line.per_output]
        self.held_output = min(outputs_held, default=1 << 62)
        """The length of answer, in tokens, that is held in every budget."""

    @property
    def windows(self) -> Mapping[str, str]:
        """The window in which the call was reserved, by budget."""
        return {line.counter.budget.name: line.window.label for _, lines in self.parts for line in lines}

    # A stream ---------------------------------------------------------------------------------------------------

    def grow(self, tokens: int) -> tuple[BudgetLine, BudgetRefusal] | None:
        """Hold more, since the answer is `tokens` long by now and goes on; the refusal of a budget that cuts streams.

        What cannot be held is overrun: the call goes on, and is charged in full when it settles.
        """
        if not self.due(tokens):
            return None
        target = tokens + max(_STEP, tokens // 4)
        for store, lines in self.parts:
            more = [(line, ask) for line in lines if (ask := _more(line, self.held_output, target)) is not None]
            refused = store.extend(self.call, [ask for _, ask in more]) if more else None
            if refused is not None:
                self._grows = False
                line = more[refused.place][0]
                cuts = line.counter.budget.cut_streams
                self.flags = (*self.flags, "budget_cut" if cuts else "budget_overrun")
                return (line, refused) if cuts else None
        self.held_output = target
        return None

    def due(self, tokens: int) -> bool:
        """Whether an answer of this length needs more to be held."""
        return self._grows and tokens >= self.held_output

    # The end ----------------------------------------------------------------------------------------------------

    def settle(self, record: Record) -> None:
        """Charge what the call cost, once, whatever became of its hold."""
        usage = record.usage
        if record.end is End.COMPLETE and usage.output_tokens is not None:
            self._outputs.add(record.provider, record.request_model, usage.output_tokens)
        for store, lines in self.parts:
            amounts = [self._actual(line, record) for line in lines]
            charges = [_charge(line, amount) for line, amount in zip(lines, amounts, strict=True)]
            spent = store.settle(self.call, charges)
            if spent is not None:
                for line, now, amount in zip(lines, spent, amounts, strict=True):
                    self._watcher.settled(self, line, now, amount)
        self._watcher.ended(self)

    def release(self) -> None:
        """End the holds and charge nothing."""
        for store, _ in self.parts:
            store.release(self.call)
        self._watcher.ended(self)

    def _actual(self, line: BudgetLine, record: Record) -> int:
        """What the call is charged in one budget, in units of its limit."""
        if record.end in (End.DELEGATED, End.REFUSED) or not _sent(record):
            return 0
        limit = line.counter.limit
        if limit.unit == CALLS:
            return 1
        usage = record.usage
        known = usage.input_tokens is not None or usage.output_tokens is not None
        if limit.unit == TOKENS:
            if known:
                return (usage.input_tokens or 0) + (usage.output_tokens or 0)
            return 0 if _not_billed(record) else line.input
        cost = record.cost.total
        if cost is not None:
            amount = (
                cost.amount if cost.currency == limit.unit else self._convert(cost.amount, cost.currency, limit.unit)
            )
            return 0 if amount is None else limit.of(amount)
        rate = line.counter.budget.unpriced
        if known and isinstance(rate, BudgetLimit):
            tokens = Decimal((usage.input_tokens or 0) + (usage.output_tokens or 0))
            return limit.of(EXACT.divide(EXACT.multiply(rate.amount(rate.units), tokens), _MILLION))
        # A request that was sent and has no usage is charged its input, as vendors do.
        return 0 if known or _not_billed(record) else line.input


def _sent(record: Record) -> bool:
    return bool(record.attempts) or record.end is not End.ERROR or record.status_code is not None


def _not_billed(record: Record) -> bool:
    return record.end is End.ERROR and record.status_code is not None and record.status_code >= _NOT_BILLED


def _more(line: BudgetLine, held: int, target: int) -> BudgetAsk | None:
    """What is missing between two lengths of answer in one budget; None where nothing is."""
    if line.counter.limit.unit == CALLS or not line.per_output:
        return None
    limit = line.counter.limit
    if line.output_limit is not None:
        target = min(target, line.output_limit)
    more = line._replace(output=target).amount - line._replace(output=max(held, line.output)).amount
    return line.ask()._replace(amount=more, lost=0) if more > 0 and limit.units else None


def _charge(line: BudgetLine, amount: int) -> BudgetCharge:
    window = line.window
    return BudgetCharge(line.series, window.bucket, window.span, window.until, amount)
