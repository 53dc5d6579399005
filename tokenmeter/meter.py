"""The public API as an object: everything that `tokenmeter.*` does, for one configuration.

The functions of the package are the same methods of a default `Tokenmeter`, made from the environment on first use and
replaced by `configure`. Libraries and tests make one of their own and touch nothing global.
"""

from __future__ import annotations

import atexit
import functools
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

from tokenmeter._context import HAND, SCOPE, TAGS
from tokenmeter._filling import fill
from tokenmeter._guard import guard
from tokenmeter.calls import CallBlock
from tokenmeter.catalog.apis import load_apis
from tokenmeter.catalog.request import request_params
from tokenmeter.clients import _hooks
from tokenmeter.errors import ConfigurationError
from tokenmeter.lifecycle import Lifecycle, OpenCall, Route
from tokenmeter.record import End, Record, Sink
from tokenmeter.scopes import Scope, ScopeBlock, TagsBlock
from tokenmeter.settings import Settings
from tokenmeter.usage import TokenCount, Usage

if TYPE_CHECKING:
    from tokenmeter._calibrating import Calibrator
    from tokenmeter.catalog.book import Book
    from tokenmeter.catalog.providers import Providers
    from tokenmeter.clients import Adapter
    from tokenmeter.estimating import Estimate
    from tokenmeter.pricing import Cost

__all__ = ["Tokenmeter", "configure", "default"]

_Client = TypeVar("_Client")
_UNKNOWN_MODELS_MOST: Final = 1000
_ROUTES_MOST: Final = 1000
_ASKABLE: Final = ("openai.chat", "openai.completions")
"""Wire formats whose streams carry usage only if asked for it."""
_FREE_OPERATIONS: Final = ("count_tokens",)
"""What no model answers and nobody bills."""


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
        **settings: Any,
    ) -> None:
        self.settings: Final = Settings.read(settings)
        self._catalog_lock = threading.RLock()
        self._providers: Providers | None = None
        self._book: Book | None = None
        self._routes: dict[tuple[Any, ...], Route | None] = {}
        self._with_ports = self._hosts_with_ports()
        self._warned: set[tuple[str | None, str | None]] = set()
        if self.settings.prices is not None or self.settings.price_lists:
            _ = self.book
        self._scope_spans: Any = None
        self._lifecycle: Final = Lifecycle(
            price=self._price_record,
            fill=fill if self.settings.estimate else None,
            clock=clock,
            monotonic=monotonic,
        )
        self._calibrator: Final = self._calibrating(clock, monotonic)
        self._connect(tracer_provider, meter_provider, tuple(sinks))

    def _calibrating(self, clock: Callable[[], int], monotonic: Callable[[], int]) -> Calibrator | None:
        settings = self.settings
        if not settings.calibrate and settings.calibration is None:
            return None
        from tokenmeter._calibrating import Calibrator
        from tokenmeter.tokens.calibration import Calibration
        from tokenmeter.tokens.calibration_store import FileStore

        store = settings.calibration
        if isinstance(store, str):
            store = FileStore(store)
        made = Calibrator(
            Calibration(store, now=lambda: clock() / 1e9), learns=settings.calibrate, monotonic=monotonic
        )
        self._lifecycle.calibrator = made
        if settings.estimate:
            self._lifecycle.fill = functools.partial(fill, calibrator=made)
        return made

    def _connect(self, tracer_provider: Any, meter_provider: Any, sinks: tuple[Sink, ...]) -> None:
        from tokenmeter.sinks.metrics import Metrics
        from tokenmeter.sinks.otel import Spans

        metrics = Metrics(meter_provider)
        metrics.before_reading = self._lifecycle.drain
        self._lifecycle.quiet = lambda: len(self._lifecycle.sinks) == 1 and not metrics.listened_to
        settings = self.settings
        spans = Spans(
            tracer_provider,
            mode=settings.spans,
            export_estimates=settings.export_estimates,
            dialects=settings.dialects or None,
        )
        self._scope_spans = spans
        self._lifecycle.spans = spans if settings.spans != "none" else None
        self._lifecycle.add_sink(metrics)
        if settings.ledger is not None:
            from tokenmeter.sinks.ledger import Ledger

            self._lifecycle.add_sink(Ledger(settings.ledger))
        if self._calibrator is not None and self._calibrator.learns:
            self._lifecycle.add_sink(self._calibrator)
        for sink in sinks:
            self._lifecycle.add_sink(sink)

    # The catalog --------------------------------------------------------------------------------------------

    @property
    def providers(self) -> Providers:
        """Who serves and bills, and at which endpoints: the catalog's and the user's `hosts`."""
        if self._providers is None:
            with self._catalog_lock:
                if self._providers is None:
                    from tokenmeter.catalog.providers import load_providers

                    providers = load_providers()
                    if self.settings.hosts:
                        providers = providers.with_hosts(self.settings.hosts)
                    self._providers = providers
        return self._providers

    def _hosts_with_ports(self) -> frozenset[str]:
        # Only where the user names hosts is the catalog read now: a bad name is said here, not at the first call.
        hosts = set(self.settings.hosts) | {"localhost:11434"}
        if self.settings.hosts:
            _ = self.providers
        return frozenset(host.rpartition(":")[0].lower() for host in hosts if host.rpartition(":")[2].isdigit())

    @property
    def book(self) -> Book:
        """The price book: the catalog's and the user's `prices`."""
        if self._book is None:
            with self._catalog_lock:
                if self._book is None:
                    from tokenmeter.catalog.book import load_book

                    book = load_book()
                    if self.settings.prices is not None:
                        book = book.with_overlay(self.settings.prices)
                    if self.settings.price_lists:
                        book = book.with_lists(self.settings.price_lists)
                    self._book = book
        return self._book

    def watches(self, host: str) -> bool:
        """Whether requests to this host may be calls. For hooks; cheap."""
        return self.providers.for_host(host, "") is not None or host in self._with_ports

    # Routes -------------------------------------------------------------------------------------------------

    def route(
        self,
        host: str,
        port: int | None,
        base: str,
        path: str,
        mark: _hooks.Mark | None,
        *,
        query: str = "",
        any_host: bool,
    ) -> Route | None:
        """Where calls to an address go; None: nothing that is a call to a model. For hooks; remembered.

        `path` ends the request's path, `base` precedes it, and `query` (`?api-version=...`) may follow. A mark's
        provider wins over the address. With `any_host` an unknown host is told by its path alone.
        """
        key = (host, port, base, path, query, mark, any_host)
        try:
            return self._routes[key]
        except KeyError:
            route = self._new_route(*key)
            if len(self._routes) >= _ROUTES_MOST:
                self._routes.clear()
            self._routes[key] = route
            return route

    def _new_route(
        self,
        host: str,
        port: int | None,
        base: str,
        path: str,
        query: str,
        mark: _hooks.Mark | None,
        any_host: bool,
    ) -> Route | None:
        providers = self.providers
        whole = base + path + query
        endpoint = providers.for_host(f"{host}:{port}", whole) if host in self._with_ports else None
        endpoint = endpoint or providers.for_host(host, whole)
        named = mark.provider if mark is not None else None
        region = mark.region if mark is not None else None
        if endpoint is not None:
            api, asks, region = endpoint.api, endpoint.stream_usage == "ask", region or endpoint.region
            known = providers.get(endpoint.provider_id)
        else:
            api = load_apis().for_path(whole) if any_host or named is not None else None
            asks, known = False, None
        if named is not None:
            known = providers.resolve(named, region)
            asks = known is not None and known.stream_usage_of(whole) == "ask"
        operation = self._operation(api)
        if api is None or operation in _FREE_OPERATIONS:
            return None
        return Route(
            provider=known.id if known is not None else None,
            otel_provider=known.otel_name if known is not None else None,
            api=api,
            operation=operation,
            host=host,
            port=port,
            path=path,
            region=region,
            asks=asks and self.settings.ask_usage and api in _ASKABLE,
            asks_null=known is not None and known.null_usage_if_asked,
        )

    @staticmethod
    def _operation(api: str | None) -> str:
        known = load_apis().get(api)
        return known.operation if known is not None else "chat"

    def open_call(
        self, route: Route, model: str | None, *, stream: bool, body: object, span_later: bool = False
    ) -> OpenCall:
        """Begin a call in the current scope; for hooks."""
        call = self._lifecycle.open(
            route,
            model,
            stream=stream,
            scope=SCOPE.get(),
            tags=TAGS.get(),
            parent=HAND.get(),
            span_later=span_later,
        )
        if type(body) is dict:
            call.request = body
            call.params = request_params(body)
        return call

    # The five verbs -----------------------------------------------------------------------------------------

    def instrument(self) -> None:
        """Meter every supported SDK and HTTP library in this process, loaded now or later. Idempotent."""
        self._install()
        _hooks.set_instrumented(self)

    def uninstrument(self) -> None:
        """Stop what `instrument` began. Clients given to `wrap` stay metered."""
        if _hooks.instrumented() is self:
            _hooks.set_instrumented(None)

    @staticmethod
    def _install() -> None:
        from tokenmeter.clients import install_all

        install_all()

    def wrap(self, client: _Client, *, provider: str | None = None, region: str | None = None) -> _Client:
        """Meter one client and return the same object.

        `provider` says who bills where the address does not tell (a gateway, a local server). The mark survives
        `with_options()`, `copy()` and `copy.copy`. Raises ConfigurationError for an unknown provider or an object
        that is not a client we know.
        """
        if provider is not None and self.providers.get(provider) is None:
            raise ConfigurationError(
                f"there is no provider {provider!r}; the catalog has {', '.join(sorted(self.providers.by_id))}"
            )
        if not hasattr(client, "__dict__") or isinstance(client, type):
            raise ConfigurationError(f"wrap takes a client object, not {client!r}")
        adapter = self._adapter_of(client)
        self._install()
        adapter.mark(client, _hooks.Mark(self._mark_meter(), provider, region))
        return client

    def _mark_meter(self) -> Tokenmeter | None:
        return None if self is _default else self

    @staticmethod
    def _adapter_of(client: object) -> Adapter:
        from tokenmeter.clients import adapter_of, known_roots

        adapter = adapter_of(client)
        if adapter is None:
            raise ConfigurationError(
                f"wrap does not know {type(client).__module__}.{type(client).__qualname__}; it knows clients of "
                f"{', '.join(known_roots())}. For anything else: tokenmeter.call(provider=..., model=...)"
            )
        return adapter

    def scope(self, name: str, **tags: Any) -> ScopeBlock:
        """A named unit of work that sums the calls inside it: a context manager and a decorator."""
        if not isinstance(name, str) or not name:
            raise ConfigurationError(f'scope({name!r}): a scope has a name, such as scope("answer")')
        return ScopeBlock(name, tags, lambda: self._lifecycle, self._start_scope_span)

    def _start_scope_span(self, scope: Scope) -> Any:
        if self.settings.spans == "none":
            return None
        return self._scope_spans.start_scope(scope.name, scope.tags, path=scope.path, started_ns=scope.started_ns)

    def call(
        self,
        *,
        provider: str,
        model: str | None = None,
        request: object = None,
        api: str | None = None,
        operation: str | None = None,
        region: str | None = None,
        stream: bool = False,
    ) -> CallBlock:
        """One call by hand: a context manager and a decorator. `request` is counted where usage is not reported."""

        def route() -> Route:
            known = self.providers.resolve(provider, region)
            return Route(
                provider=known.id if known is not None else provider,
                otel_provider=known.otel_name if known is not None else None,
                api=api,
                operation=operation or self._operation(api),
                region=region,
            )

        named = model if model is not None else _model_of(request)
        return CallBlock(lambda: self._lifecycle, route, named, stream, request)

    def tags(self, **tags: Any) -> TagsBlock:
        """Who the spend inside belongs to: a context manager and a decorator."""
        return TagsBlock(tags)

    @staticmethod
    def current() -> Scope | None:
        """The scope that is open here, or None."""
        return SCOPE.get()

    # Numbers without a call ---------------------------------------------------------------------------------

    def count(self, text: str, *, model: str, provider: str | None = None) -> TokenCount:
        """Count the tokens of a text, offline."""
        from tokenmeter.tokens import count_text

        return count_text(text, model=model, provider=provider)

    def estimate(
        self, request: object, *, provider: str, model: str | None = None, api: str | None = None, **params: Any
    ) -> Estimate:
        """The range in which a request's cost will lie. Raises ConfigurationError where no model is named."""
        from tokenmeter.estimating import estimate

        named = model if model is not None else _model_of(request)
        if named is None:
            raise ConfigurationError("estimate needs a model: pass model=…, or a request that names one")
        return estimate(
            request,
            provider=provider,
            model=named,
            api=api,
            price=lambda usage: self.price(usage, provider=provider, model=named, **params),
        )

    def price(
        self,
        usage: Usage,
        *,
        provider: str,
        model: str,
        at: datetime | str | None = None,
        **params: Any,
    ) -> Cost:
        """What a usage costs at an instant (default: now). Unknown models are an answer: `cost.total` is None."""
        return self.book.price(usage, provider=provider, model=model, at=at, params=params)

    def _price_record(self, record: Record) -> Cost:
        if record.end is End.DELEGATED:
            return _unpriced(record, record.reason or "delegated")
        if record.provider is None:
            return _unpriced(
                record,
                f"no provider is known for the host {record.host}: "
                "name it in configure(hosts={...}) or wrap(client, provider=...)",
            )
        usage = record.usage
        if usage.input_tokens is None and usage.output_tokens is None and not usage.quantities:
            return _unpriced(record, f"no usage: {record.reason or 'none was reported'}")
        models = self.settings.models
        asked, answered = record.request_model or "", record.response_model
        cost = self.book.price(
            usage,
            provider=record.provider,
            model=models.get(asked, asked),
            response_model=models.get(answered, answered) if answered is not None else None,
            at=record.started_at if record.provider in self._clock_is_start else record.ended_at,
            params=_price_params(record),
        )
        if cost.amount is not None and not usage.quantities:
            for name in ("input_tokens", "output_tokens"):
                if getattr(usage, name) is None:  # what is not known is not free
                    cost = _without_total(cost, f"{name} is not known: {record.reason or 'it was not reported'}")
        if cost.amount is None:
            self._warn_unpriced(record, cost)
        return cost

    @functools.cached_property
    def _clock_is_start(self) -> frozenset[str]:
        """The providers whose prices are those of a call's start; all others bill by its completion."""
        return frozenset(one.id for one in self.providers.by_id.values() if one.at == "start")

    def _warn_unpriced(self, record: Record, cost: Cost) -> None:
        key = (record.provider, record.response_model or record.request_model)
        if key in self._warned or len(self._warned) >= _UNKNOWN_MODELS_MOST:
            return
        self._warned.add(key)
        from tokenmeter._guard import logger

        logger.warning("calls of %s %s are not priced: %s", key[0], key[1], cost.reason)

    # Sinks, and the end -------------------------------------------------------------------------------------

    def add_sink(self, sink: Sink) -> None:
        """Hand every later record to this object too."""
        self._lifecycle.add_sink(sink)

    def remove_sink(self, sink: Sink) -> None:
        """Stop handing records to this object."""
        self._lifecycle.remove_sink(sink)

    def flush(self, timeout: float = 5.0) -> bool:
        """Settle dropped streams and deliver all records taken so far; whether all were delivered in time."""
        self._lifecycle.drain()
        return self._each_sink(timeout, lambda sink, left: sink.flush(left))

    def shutdown(self, timeout: float = 5.0) -> bool:
        """Flush, then close files and threads. Calls still open settle to nowhere."""
        done = self.flush(timeout)
        self._each_sink(timeout, lambda sink, left: sink.close(left))
        return done

    def _each_sink(self, timeout: float, act: Callable[[Sink, float], bool | None]) -> bool:
        until = time.monotonic() + timeout
        done = True
        for sink in self._lifecycle.sinks:
            delivered: bool | None = False
            with guard(f"flushing {type(sink).__name__}"):
                delivered = act(sink, max(0.0, until - time.monotonic()))
            done = done and delivered is not False
        return done


def _unpriced(record: Record, reason: str) -> Cost:
    from tokenmeter.pricing import Cost, Offer

    offer = Offer(provider=record.provider or "", model=record.response_model or record.request_model)
    return Cost(offer, "unpriced", None, (), record.ended_at, reason=reason)


def _without_total(cost: Cost, reason: str) -> Cost:
    """The charges that are known, and no sum: a part of the call is not known."""
    from tokenmeter.pricing import Cost

    return Cost(cost.offer, "unpriced", None, cost._lines, cost.at, cost.flags, reason)


def _price_params(record: Record) -> Mapping[str, Any]:
    if record.service_tier is None:
        return record.params
    return {**record.params, "service_tier": record.service_tier}


def _model_of(request: object) -> str | None:
    model = request.get("model") if isinstance(request, Mapping) else None
    return model if isinstance(model, str) else None


# The default ----------------------------------------------------------------------------------------------------

_default: Tokenmeter | None = None
_default_lock = threading.RLock()


def default() -> Tokenmeter:
    """The `Tokenmeter` that the functions of the package use; made from the environment on first use."""
    meter = _default
    if meter is not None:
        return meter
    with _default_lock:
        return _default if _default is not None else _make_default({})


_hooks.default_meter = default


def is_configured() -> bool:
    """Whether there is a default meter yet."""
    return _default is not None


def configure(**settings: Any) -> Tokenmeter:
    """Replace the default `Tokenmeter`; arguments are those of `Tokenmeter`. The one before is flushed first.

    Calls still open settle into the new one.
    """
    return _make_default(settings)


def _make_default(settings: dict[str, Any]) -> Tokenmeter:
    global _default
    with _default_lock:
        before = _default
        made = Tokenmeter(**settings)
        _default = made
        if before is None:
            atexit.register(_at_exit)
            return made
    before.shutdown()
    before._lifecycle.successor = made._lifecycle
    if _hooks.instrumented() is before:
        _hooks.set_instrumented(made)
    return made


def _at_exit() -> None:
    meter = _default
    if meter is not None:
        meter.shutdown(5.0)
