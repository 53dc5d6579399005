"""`scope(...)` and `tags(...)`: a named unit of work that sums the calls inside it, and tags for them.

`scope("answer", feature="rerank")` is a context manager and a decorator, sync and async alike, for functions,
generators and async generators (`block.Block` does that part). Each entry makes a `Scope` of its own; calls of nested
scopes are summed in the outer ones too.

A call belongs to the scope in which it started, also when its stream outlives the block. The sums are exact and are
folded when read: inside a block, adding a call costs an append.
"""

from __future__ import annotations

import operator
import threading
import weakref
from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from tokenmeter._support.guard import guard
from tokenmeter._support.ids import new_id
from tokenmeter._support.worker import worker
from tokenmeter.calls import context, marks
from tokenmeter.calls.block import Block
from tokenmeter.calls.context import OPEN_SCOPES, TAGS, clean_tags, leave
from tokenmeter.calls.hints import empty_scope
from tokenmeter.calls.usual_call import Settled, UsualCall, record_of
from tokenmeter.money import EXACT, Money
from tokenmeter.record import End
from tokenmeter.usage import TOKEN_FIELDS, Source

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import ContextVar

    from tokenmeter.budgets.budget import Budget
    from tokenmeter.calls.lifecycle import Lifecycle

__all__ = ["SCOPE", "Scope", "ScopeBlock", "TagsBlock"]

_FOLD_AT: Final = 256
LINGER_SECONDS: Final = 60.0
"""How long a scope's span waits for calls that outlive its block."""


_ZERO: Final = Decimal(0)
_tokens_of: Final = operator.attrgetter(*TOKEN_FIELDS)


class ScopeSpan(Protocol):
    """The open span of a scope, made by `otel.spans`."""

    def attach(self) -> None: ...
    def detach(self) -> None: ...
    def finish(self, scope: Scope, ended_ns: int) -> None: ...


class ScopePath(tuple[str, ...]):
    """The names of a scope and of those around it, outermost first, and the id of the outermost one's run."""

    run: str

    @classmethod
    def of(cls, names: tuple[str, ...], run: str) -> ScopePath:
        """A path within a run."""
        path = cls(names)
        path.run = run
        return path


class Scope:
    """Sums of the calls of one unit of work. Read it at any time; it is thread-safe.

    `pending` calls have started and not yet settled. `complete` says that nothing is missing: no call pending,
    none unpriced, every token count known.
    """

    def __init__(self, name: str, tags: Mapping[str, str], parent: Scope | None, lifecycle: Lifecycle) -> None:
        self.name = name
        self.tags = tags
        self.parent = parent
        self.path: ScopePath = (
            ScopePath.of((name,), new_id()) if parent is None else ScopePath.of((*parent.path, name), parent.path.run)
        )
        self.budgets: tuple[tuple[Budget, str], ...] = parent.budgets if parent is not None else ()
        """The budgets of this run and of those around it, each with the id of its run."""
        self.started_ns = lifecycle.clock()
        self.ended_ns: int | None = None
        self._lifecycle = lifecycle
        self._lock = (
            threading.RLock()
        )  # a generator that is never closed ends its block in the garbage collector, wherever that runs
        self._open = 0
        self._started = False
        self._waiting: list[Settled] = []
        self._calls = self._attempts = self._unpriced = self._unknown = 0
        self._costs: dict[str, Decimal] = {}
        self._tokens: dict[str, int] = {}
        self._sources: dict[Source, int] = {}
        self._span: ScopeSpan | None = None

    def __del__(self) -> None:
        OPEN_SCOPES.discard(id(self))  # its block was never left

    # Called by the calls inside ------------------------------------------------------------------------------

    def opened(self) -> None:
        with self._lock:
            self._open += 1
            self._started = True
        if self.parent is not None:
            self.parent.opened()

    def settled(self, settled: Settled) -> None:
        with self._lock:
            self._open -= 1
            last = self._open == 0 and self.ended_ns is not None
            self._waiting.append(settled)
            full = len(self._waiting) >= _FOLD_AT
        if full:
            self._fold()
        if last:
            self._finish_span()
        if self.parent is not None:
            self.parent.settled(settled)

    @property
    def run(self) -> str:
        """The id of this run of the outermost scope: 32 hex digits, on the ledger's rows as `scope_run`."""
        return self.path.run

    # Read by the user ----------------------------------------------------------------------------------------

    @property
    def cost(self) -> dict[str, Money]:
        """Exact cost by currency of the calls that could be priced; see `unpriced` for the others."""
        self._fold()
        return {currency: Money(amount, currency) for currency, amount in sorted(self._costs.items())}

    @property
    def usage(self) -> dict[str, int]:
        """Tokens by component over the calls in which the component is known."""
        self._fold()
        return dict(self._tokens)

    @property
    def calls(self) -> int:
        """Settled calls, each counted once, whoever made it."""
        self._fold()
        return self._calls

    @property
    def attempts(self) -> int:
        """HTTP requests seen, retries included."""
        self._fold()
        return self._attempts

    @property
    def unpriced(self) -> int:
        """Settled calls whose cost is not known. Never counted as zero cost."""
        self._fold()
        return self._unpriced

    @property
    def sources(self) -> dict[str, int]:
        """Settled calls by the least trustworthy source of their input and output."""
        self._fold()
        return {source.value: count for source, count in self._sources.items()}

    @property
    def pending(self) -> int:
        """Calls that have started and not settled, such as streams still being read."""
        self._lifecycle.drain()
        return self._open

    @property
    def complete(self) -> bool:
        """Whether the sums are whole: nothing pending, nothing unpriced, every token count known."""
        self._fold()
        return not (self._open or self._unpriced or self._unknown)

    def _fold(self) -> None:
        self._lifecycle.drain()
        with self._lock:
            waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        # Prices are looked up outside the lock: a first look-up reads a file.
        costs = [_cost(settled) for settled in waiting]
        with self._lock:
            for settled, cost in zip(waiting, costs, strict=True):
                self._add(settled, cost)

    def _add(self, settled: Settled, cost: tuple[str, Decimal] | None) -> None:
        if isinstance(settled, UsualCall):
            self._attempts += settled.tries
            source = settled.usage.source
        else:
            self._attempts += len(settled.attempts)
            if settled.end is End.DELEGATED:
                return
            source = settled.usage_source
        self._calls += 1
        self._sources[source] = self._sources.get(source, 0) + 1
        self._unknown += source is Source.NONE
        for name, tokens in zip(TOKEN_FIELDS, _tokens_of(settled.usage), strict=True):
            if tokens is not None:
                self._tokens[name] = self._tokens.get(name, 0) + tokens
        if cost is None:
            self._unpriced += 1
        else:
            currency, amount = cost
            self._costs[currency] = EXACT.add(self._costs.get(currency, _ZERO), amount)

    # The block's end ----------------------------------------------------------------------------------------

    def _end(self, error: BaseException | None) -> None:
        with self._lock:
            self.ended_ns = self._lifecycle.clock()
            pending = self._open
        if self._span is None:
            return
        if isinstance(error, GeneratorExit) and worker.running:  # it may be the garbage collector that closes
            worker.put(self._finish_span if pending == 0 else self._linger)
        elif pending == 0:
            self._finish_span()
        else:
            self._linger()

    def _linger(self) -> None:
        """End the span when the last call settles, or at a deadline; a scope that is gone by then has ended it."""
        finish = weakref.WeakMethod(self._finish_span)
        worker.after(LINGER_SECONDS, lambda: (found := finish()) and found())

    def _finish_span(self) -> None:
        with self._lock:
            span, self._span = self._span, None
        if span is not None and self.ended_ns is not None:
            with guard("ending a scope's span"):
                span.finish(self, self.ended_ns)

    # Shown to people ----------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        from tokenmeter.calls.scope_text import text_of

        return text_of(self)

    def _repr_html_(self) -> str:
        from tokenmeter.calls.scope_text import html_of

        return html_of(self)


SCOPE: Final = cast("ContextVar[Scope | None]", context.SCOPE)
"""The scope that is open here."""


def _cost(settled: Settled) -> tuple[str, Decimal] | None:
    """Currency and amount of a call; None where it is not priced, or others carry its cost."""
    if isinstance(settled, UsualCall) and (bill := settled.bill) is not None:
        return bill.quote.offer.list or "", bill.prices.exact(bill.amount)
    record = record_of(settled)
    total = record.cost.total if record.end is not End.DELEGATED else None
    return None if total is None else (total.currency, total.amount)


class ScopeBlock(Block[Scope]):
    """What `scope(...)` returns: enter it, or decorate a function with it."""

    def __init__(
        self,
        name: str,
        tags: Mapping[str, Any],
        lifecycle: Callable[[], Lifecycle],
        start_span: Callable[[Scope], ScopeSpan | None],
        budget: Budget | None = None,
    ) -> None:
        super().__init__()
        self._name = name
        self._budget = budget
        self._tags = clean_tags(tags)
        self._lifecycle = lifecycle
        self._start_span = start_span

    def _open(self) -> Scope:
        parent = SCOPE.get()
        scope = Scope(self._name, MappingProxyType({**TAGS.get(), **self._tags}), parent, self._lifecycle())
        if self._budget is not None:
            from tokenmeter.budgets.lines import ScopeRun

            scope.budgets = (*scope.budgets, (self._budget, ScopeRun(new_id())))
        with guard("starting a scope's span"):
            OPEN_SCOPES.add(id(scope))
            scope._span = self._start_span(scope)
            if scope._span is not None:
                worker.start()
        return scope

    def _enter(self, item: Scope) -> tuple[object, ...]:
        previous = (SCOPE.get(), TAGS.get())
        SCOPE.set(item)
        TAGS.set(item.tags)
        if item._span is not None:
            with guard("attaching a scope's span"):
                item._span.attach()
        return previous

    def _leave(self, item: Scope, previous: tuple[Any, ...]) -> None:
        leave(SCOPE, item, previous[0])
        leave(TAGS, item.tags, previous[1])
        if item._span is not None:
            with guard("detaching a scope's span"):
                item._span.detach()

    def _is_current(self, item: Scope) -> bool:
        return SCOPE.get() is item

    def _close(self, item: Scope, error: BaseException | None) -> None:
        OPEN_SCOPES.discard(id(item))
        with guard("ending a scope"):
            if error is None and not item._started and not marks.in_use():
                empty_scope(item.name)
            item._end(error)


class TagsBlock(Block[Mapping[str, str]]):
    """What `tags(...)` returns: enter it, or decorate a function with it."""

    def __init__(self, tags: Mapping[str, Any]) -> None:
        super().__init__()
        self._tags = clean_tags(tags)

    def _open(self) -> Mapping[str, str]:
        return MappingProxyType({**TAGS.get(), **self._tags})  # records of every call inside share it

    def _enter(self, item: Mapping[str, str]) -> tuple[object, ...]:
        previous = (TAGS.get(),)
        TAGS.set(item)
        return previous

    def _leave(self, item: Mapping[str, str], previous: tuple[Any, ...]) -> None:
        leave(TAGS, item, previous[0])

    def _is_current(self, item: Mapping[str, str]) -> bool:
        return TAGS.get() is item

    def _close(self, item: Mapping[str, str], error: BaseException | None) -> None:
        return None
