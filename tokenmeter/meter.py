"""`Tokenmeter`: the public API as an object, for one configuration.

The functions of the package are methods of a default `Tokenmeter` (`default_meter.py`). Libraries and tests make one of
their own and change nothing global. The constructor builds the parts first (`Routing`, `Billing`, and those of
`wiring.py`), then the `Lifecycle` that uses them.
"""

from __future__ import annotations

import functools
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from tokenmeter._support import at_exit
from tokenmeter._support.arguments import check_seconds, check_text
from tokenmeter._support.guard import guard
from tokenmeter._support.worker import worker
from tokenmeter.calls import marks
from tokenmeter.calls.accounts import Accounts
from tokenmeter.calls.billing import Billing
from tokenmeter.calls.budget_gate import BudgetGate
from tokenmeter.calls.context import HAND, SCOPE, TAGS, handing_on
from tokenmeter.calls.lifecycle import Lifecycle, OpenCall
from tokenmeter.calls.route import Route
from tokenmeter.calls.routing import Routing
from tokenmeter.calls.usual_call import UsualCalls, UsualForm
from tokenmeter.errors import ConfigurationError
from tokenmeter.record import Record, Sink
from tokenmeter.settings import Settings
from tokenmeter.wire.request_body import model_of, request_body
from tokenmeter.wire.request_params import request_line
from tokenmeter.wiring import Parts, build_budgets, build_parts, check_sink

if TYPE_CHECKING:
    from tokenmeter.asked_prices import AskedPrices
    from tokenmeter.budgets.bound_values import Bound
    from tokenmeter.budgets.budget import Budget
    from tokenmeter.budgets.contract import BudgetStore
    from tokenmeter.calls.by_hand import CallBlock
    from tokenmeter.calls.opencall import ScopeNode
    from tokenmeter.calls.scope import Scope, ScopeBlock, TagsBlock
    from tokenmeter.calls.usual_call import Settled
    from tokenmeter.cost import Cost
    from tokenmeter.estimates import Estimate
    from tokenmeter.money import Money
    from tokenmeter.prices.book import Book
    from tokenmeter.providers.registry import Providers
    from tokenmeter.token_count import TokenCount
    from tokenmeter.usage import Usage

__all__ = ["Tokenmeter"]

_Client = TypeVar("_Client")


class Tokenmeter:
    """One configuration of tokenmeter.

    Arguments are those of `Settings`, and: `tracer_provider` and `meter_provider` (default: OpenTelemetry's global
    ones), `sinks` (objects with `write`, `flush` and `close` that get every record beside the built-in ones), `clock`
    and `monotonic` (nanoseconds; for tests).

    Raises ConfigurationError for a bad argument or TOKENMETER_* variable, CatalogError for a broken price file.
    """

    def __init__(
        self,
        *,
        tracer_provider: Any = None,
        meter_provider: Any = None,
        sinks: Iterable[Sink] = (),
        clock: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], int] = time.perf_counter_ns,
        _ledger: Sink | None = None,
        _store: BudgetStore | None = None,
        **settings: Any,
    ) -> None:
        self.given: Mapping[str, Any] = settings
        """The arguments that this meter was made with."""
        self.settings: Final = Settings.read(settings)
        self._routing: Final = Routing(
            self.settings.hosts,
            own=self.settings.rates.providers if self.settings.rates is not None else (),
            ask_usage=self.settings.ask_usage,
        )
        self._billing: Final = Billing(
            self._routing,
            models=self.settings.models,
            prices=self.settings.prices,
            price_lists=self.settings.price_lists,
            cost_from=self.settings.cost_from,
            rates=self.settings.rates,
        )
        self.accounts: Final = Accounts(self.settings.account, self.settings.account_key)
        """Whose keys pay; for hooks."""
        # For hooks, on the path of every request
        self.watches: Final = self._routing.watches
        self.route: Final = self._routing.route
        if self.settings.prices is not None or self.settings.price_lists or self.settings.models:
            _ = self.book  # what is wrong with them is raised here, and not at the first call
        self._successor: Tokenmeter | None = None
        parts = build_parts(
            self.settings,
            tracer_provider=tracer_provider,
            meter_provider=meter_provider,
            sinks=sinks,
            clock=clock,
            monotonic=monotonic,
            ledger=_ledger,
        )
        self.spans: Final = parts.spans
        self._ledger: Final = parts.ledger
        self._calibrator: Final = parts.calibrator
        self._lifecycle: Final = Lifecycle(
            price=self._billing.price,
            sums=parts.metrics,
            sinks=parts.sinks,
            spans=parts.spans if self.settings.spans != "none" else None,
            estimate=self.settings.estimate,
            calibrator=parts.calibrator,
            deferred=parts.deferred,
            usual=UsualCalls(self._billing),
            accounts=self.accounts,
            clock=clock,
            monotonic=monotonic,
        )
        self._gate: Final = BudgetGate(
            lambda store: build_budgets(
                self.settings, lambda: self.book, clock=clock, store=store, meter_provider=meter_provider
            ),
            always=bool(self.settings.budgets),
            store=_store,
        )
        self.is_default = False
        at_exit.register(self)
        if worker.waiting:
            worker.start()
        self._forgotten: Final = weakref.finalize(self, worker.put, functools.partial(_retire, parts))
        self._forgotten.atexit = False  # the end of the program flushes each meter

    @classmethod
    def in_place_of(
        cls, before: Tokenmeter | None, arguments: Mapping[str, Any], *, afresh: bool = False
    ) -> Tokenmeter:
        """A meter with these arguments that goes on with the open ledger of the one before, where both name it.

        It goes on with what budgets have spent, too, unless it starts `afresh`.
        """
        given = {name: value for name, value in arguments.items() if value is not None}
        ledger = before._ledger if before is not None else None
        same = not afresh and before is not None and given.get("budget_store") == before.given.get("budget_store")
        made = cls(**given, _ledger=ledger, _store=before._gate.store if before is not None and same else None)
        made.given = given
        return made

    # The catalog --------------------------------------------------------------------------------------------

    @property
    def providers(self) -> Providers:
        """Who serves and bills, and at which endpoints: the catalog's and the user's `hosts`."""
        return self._routing.providers

    @property
    def book(self) -> Book:
        """The price book: the catalog's and the user's `prices`."""
        return self._billing.book

    @property
    def ledger(self) -> Sink | None:
        """The sink that writes the ledger; None where the settings name none."""
        return self._ledger

    def open_call(
        self, route: Route, model: str | None, *, stream: bool, body: object, span_later: bool = False
    ) -> OpenCall:
        """Begin a call in the current scope; for marks."""
        call = self._lifecycle.open(
            route,
            model,
            stream=stream,
            scope=SCOPE.get(),
            tags=TAGS.get() if not self.settings.baggage_tags else self._tags(),
            parent=HAND.get(),
            span_later=span_later,
        )
        if type(body) is dict:
            call.take_request(body)
        if route.batch:
            call.params = {**(call.params or {}), "batch": True}
        if call.scope is not None or self._gate.enforcer is not None:
            self._gate.ask(call, body)
        return call

    def _tags(self) -> Mapping[str, str]:
        """The current tags, with those of the trace's baggage that the user allows."""
        tags = TAGS.get()
        if self.settings.baggage_tags:
            with guard("reading baggage"):
                from tokenmeter.otel.baggage import baggage_tags

                return baggage_tags(self.settings.baggage_tags, tags)
        return tags

    # Budgets ------------------------------------------------------------------------------------------------

    def _ask_of_latest(self, call: OpenCall, body: object) -> None:
        latest = self.latest()
        call.tags = latest._tags()
        latest._gate.ask(call, body)

    def bound(
        self,
        request: object,
        *,
        provider: str | None = None,
        model: str | None = None,
        api: str | None = None,
    ) -> Bound:
        """What a request may be charged at most.

        Raises ConfigurationError where no model is named, or no provider and not exactly one sells it.
        """
        return self._asked().bound(request, provider=provider, model=model, api=api)

    # Verbs -----------------------------------------------------------------------------------------

    def instrument(self) -> None:
        """Meter every supported SDK and HTTP library in this process, loaded now or later. Idempotent."""
        from tokenmeter.clients import install_all

        _ = self.providers  # what is wrong with the catalog is said here, and never in the middle of a request
        install_all()
        marks.set_instrumented(self)

    def uninstrument(self) -> None:
        """Stop what `instrument` began. Clients given to `wrap` stay metered."""
        if marks.instrumented() is self:
            marks.set_instrumented(None)

    def wrap(self, client: _Client, *, provider: str | None = None, region: str | None = None) -> _Client:
        """Meter one client and return the same object.

        `provider` says who bills where the address does not tell (a gateway, a local server). The mark survives
        `with_options()`, `copy()` and `copy.copy`. Raises ConfigurationError for an unknown provider or an object
        that is not a client we know.
        """
        check_text(provider, "provider", "deepseek")
        check_text(region, "region", "cn-beijing")
        if provider is not None and self.providers.get(provider) is None:
            known = sorted(self.providers.by_id)
            import difflib

            near = difflib.get_close_matches(provider, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"the catalog has {', '.join(known)}."
            raise ConfigurationError(
                f"there is no provider {provider!r}; {hint} "
                f'A server of your own has a price too: configure(rates={{"{provider}/*": "free"}})'
            )
        if not hasattr(client, "__dict__") or isinstance(client, type):
            raise ConfigurationError(f"wrap takes a client object, not {client!r}")
        from tokenmeter.clients import adapter_for

        _ = self.providers
        adapter_for(client).mark(client, marks.Mark(None if self.is_default else self, provider, region))
        return client

    def scope(self, name: str, *, budget: str | Money | Budget | None = None, **tags: Any) -> ScopeBlock:
        """A named unit of work that sums the calls inside it: a context manager and a decorator.

        `budget` limits each run of it. Raises ConfigurationError for a limit that is none.
        """
        from tokenmeter.calls.scope import ScopeBlock

        if not isinstance(name, str) or not name:
            raise ConfigurationError(f'scope({name!r}): a scope has a name, such as scope("answer")')
        limit = None
        if budget is not None:
            from tokenmeter.budgets.budget import Budget

            limit = budget if isinstance(budget, Budget) else Budget(budget, name=f"scope {name}"[:64], per="scope")
        return ScopeBlock(
            name, tags, lambda: self.latest()._lifecycle, lambda scope: self.latest()._start_scope_span(scope), limit
        )

    def latest(self) -> Tokenmeter:
        """This meter, or the one in its place: functions are decorated before a program calls `configure`."""
        meter = self
        while meter._successor is not None:
            meter = meter._successor
        return meter

    def price_record(self, record: Record) -> Cost:
        """What a record costs, by this meter's price book. Never raises on data."""
        return self._billing.price(record)

    def form_of(self, record: Record) -> UsualForm:
        """What usual calls such as this one have in common."""
        return UsualForm(record, self._billing)

    def take(self, record: Settled, *, scope: ScopeNode | None = None) -> None:
        """Hand on a record that was made elsewhere; see `Lifecycle.take`."""
        self._lifecycle.take(record, scope=scope)

    def _start_scope_span(self, scope: Scope) -> Any:
        if self.settings.spans == "none":
            return None
        return self.spans.start_scope(scope.name, scope.tags, path=scope.path, started_ns=scope.started_ns)

    def call(
        self,
        provider: str,
        model: str | None = None,
        *,
        request: object = None,
        api: str | None = None,
        operation: str | None = None,
        region: str | None = None,
        stream: bool = False,
    ) -> CallBlock:
        """One call by hand: a context manager and a decorator.

        `request` is the body as sent: what its price depends on is read from it, and it is counted where usage is not
        reported. Raises ConfigurationError for a provider that is no name and for an unknown `api`.
        """
        from tokenmeter.calls.by_hand import CallBlock, check_call

        check_call(provider, model, api, region, operation)

        def route() -> Route:
            return self.latest()._route_by_hand(provider, region, api, operation)

        body = request_body(request)
        named = model if model is not None else model_of((request_line(body) if body is not None else None) or body)
        return CallBlock(lambda: self.latest()._lifecycle, route, named, stream, request, self._ask_of_latest)

    def observe_batch(
        self,
        results: object,
        *,
        provider: str,
        model: str | None = None,
        api: str | None = None,
        region: str | None = None,
    ) -> int:
        """Record the results of a batch job at the batch price, and return how many calls they were.

        `results` is a result file (its text, bytes or lines, or an open file) or the vendor's object that holds the
        answers; each answer is a record of its own, priced at the model it names. `model` is for answers that name
        none. The calls have no spans: their scope has. Observing the same results twice counts them twice.
        """
        from tokenmeter.calls.batch_results import observe_batch
        from tokenmeter.calls.by_hand import check_call

        check_call(provider, model, api, region)
        route = self._route_by_hand(provider, region, api, None)

        def open_call() -> OpenCall:
            call = self.open_call(route, model, stream=False, body=None, span_later=True)
            call.span_due = False
            return call

        return observe_batch(results, open_call)

    def _route_by_hand(self, provider: str, region: str | None, api: str | None, operation: str | None) -> Route:
        known = self.providers.resolve(provider, region)
        return Route(
            provider=known.id if known is not None else provider,
            otel_provider=known.otel_name if known is not None else None,
            api=api,
            operation=operation or self._routing.operation(api),
            region=region,
        )

    def tags(self, **tags: Any) -> TagsBlock:
        """Who the spend inside belongs to: a context manager and a decorator."""
        from tokenmeter.calls.scope import TagsBlock

        return TagsBlock(tags)

    @staticmethod
    def current() -> Scope | None:
        """The scope that is open here, or None."""
        return cast("Scope | None", SCOPE.get())

    # Numbers without a call ---------------------------------------------------------------------------------

    def count(
        self, text: str, *, model: str, provider: str | None = None, at: datetime | str | None = None
    ) -> TokenCount:
        """Count the tokens of a text, offline; `at` is when the call was or will be made (now)."""
        from tokenmeter.tokens import count_text

        return count_text(text, model=model, provider=provider, at=at)

    def estimate(
        self,
        request: object,
        *,
        provider: str | None = None,
        model: str | None = None,
        api: str | None = None,
        at: datetime | str | None = None,
        output_limit: int | None = None,
        **params: Any,
    ) -> Estimate:
        """The range in which a request's cost will lie.

        Raises ConfigurationError where no model is named, or no provider and not exactly one sells it.
        """
        return self._asked().estimate(
            request, provider=provider, model=model, api=api, at=at, output_limit=output_limit, params=params
        )

    def price(
        self,
        usage: Usage,
        *,
        provider: str | None = None,
        model: str,
        at: datetime | str | None = None,
        **params: Any,
    ) -> Cost:
        """What a usage costs at an instant (default: now). Unknown models are an answer: `cost.total` is None.

        Raises ConfigurationError for a parameter that no price depends on, and where no provider is named and not
        exactly one sells the model; UsageError for what is no `Usage`.
        """
        return self._asked().price(usage, provider=provider, model=model, at=at, params=params)

    def _asked(self) -> AskedPrices:
        from tokenmeter.asked_prices import AskedPrices

        return AskedPrices(self.book, self.settings.models, self._calibrator)

    # Sinks, and the end -------------------------------------------------------------------------------------

    def add_sink(self, sink: Sink) -> None:
        """Hand every later record to this object too."""
        check_sink(sink, "sink")
        self.latest()._lifecycle.add_sink(sink)

    def remove_sink(self, sink: Sink) -> None:
        """Stop handing records to this object."""
        self._lifecycle.remove_sink(sink)

    def flush(self, timeout: float = 5.0) -> bool:
        """Settle dropped streams and deliver all records taken so far; whether all were delivered in time."""
        check_seconds(timeout, "timeout")
        self._lifecycle.drain()
        charged = self._gate.flush(timeout)
        return self._each_sink(timeout, lambda sink, left: sink.flush(left)) and charged

    def shutdown(self, timeout: float = 5.0) -> bool:
        """Flush, then close files and threads. Calls still open settle to nowhere."""
        done = self.flush(timeout)
        self._each_sink(timeout, lambda sink, left: sink.close(left))
        return done

    def hand_over(self, successor: Tokenmeter) -> None:
        """Flush; calls still open here and sinks added here go to the successor. For `configure`.

        Sinks that the successor does not have are closed.
        """
        self.flush()
        self._forgotten.detach()
        self._successor = successor
        self._lifecycle.hand_over(successor._lifecycle)
        if marks.instrumented() is self:
            marks.set_instrumented(successor)
        kept = successor._lifecycle.sinks
        self._each_sink(5.0, lambda sink, left: sink.close(left) if sink not in kept else None)

    def abandon(self) -> None:
        """Settle the streams that are still open, since nobody will read on. For the end of the program."""
        self._lifecycle.abandon()

    def _each_sink(self, timeout: float, act: Callable[[Sink, float], bool | None]) -> bool:
        until = time.monotonic() + timeout
        done = True
        for sink in self._lifecycle.sinks:
            delivered: bool | None = False
            with guard(f"flushing {type(sink).__name__}"), handing_on("sink"):
                delivered = act(sink, max(0.0, until - time.monotonic()))
            done = done and delivered is not False
        return done


def _retire(parts: Parts) -> None:
    """Settle what a forgotten meter has put off, keep its sums, and close what it opened. On the background thread."""
    parts.deferred.drain()
    for sink in (parts.metrics, parts.calibrator, parts.ledger):
        if sink is not None:
            with guard(f"closing {type(sink).__name__}"):
                sink.close(5.0)
