"""Builds the parts of a meter from its settings: OpenTelemetry's spans and metrics, sinks, calibrator, queue."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from tokenmeter._support.arguments import check_callable, check_items, check_methods
from tokenmeter._support.guard import guard
from tokenmeter._support.value import Value
from tokenmeter.calls.deferred import DeferredCalls

if TYPE_CHECKING:
    from tokenmeter.budgets.contract import BudgetStore
    from tokenmeter.budgets.enforcer import Enforcer
    from tokenmeter.calls.calibrator import Calibrator
    from tokenmeter.ledger.writer import Ledger
    from tokenmeter.otel.metrics import Metrics
    from tokenmeter.otel.spans import CallSpans
    from tokenmeter.prices.book import Book
    from tokenmeter.record import Sink
    from tokenmeter.settings import Settings

__all__ = ["Parts", "build_budgets", "build_parts", "check_sink"]


class Parts(Value):
    """The parts of a meter, each complete: only the lifecycle, which uses them all, is still to be made."""

    spans: CallSpans
    metrics: Metrics
    sinks: tuple[Sink, ...]
    """The sinks beside `metrics`: those of the settings, then the user's own."""
    calibrator: Calibrator | None
    deferred: DeferredCalls
    ledger: Sink | None


def build_parts(
    settings: Settings,
    *,
    tracer_provider: Any,
    meter_provider: Any,
    sinks: Iterable[Sink],
    clock: Callable[[], int],
    monotonic: Callable[[], int],
    ledger: Sink | None = None,
) -> Parts:
    """The parts that these settings ask for; an open `ledger` is used on if it is the one they ask for.

    Raises ConfigurationError for a ledger's path that cannot be a file, and for parts of another kind.
    """
    sinks = check_items(sinks, "sinks", "a list of sinks")
    for sink in sinks:
        check_sink(sink, "sinks")
    for name, method, provider in (
        ("tracer_provider", "get_tracer", tracer_provider),
        ("meter_provider", "get_meter", meter_provider),
    ):
        if provider is not None:
            check_methods(provider, name, [method], f"an OpenTelemetry provider, which has {method}()")
    for name, source in (("clock", clock), ("monotonic", monotonic)):
        check_callable(source, name, "a function that returns nanoseconds, such as time.time_ns")
    from tokenmeter.otel.metrics import DEFAULT_HISTOGRAMS, Metrics
    from tokenmeter.otel.spans import CallSpans

    deferred = DeferredCalls()
    metrics = Metrics(
        meter_provider,
        tags=settings.metric_tags,
        histograms=settings.histograms or DEFAULT_HISTOGRAMS,
        before_reading=deferred.drain,
    )
    calibrator = _calibrator(settings, metrics, clock, monotonic)
    spans = CallSpans(
        tracer_provider,
        mode=settings.spans,
        export_estimates=settings.export_estimates,
        dialects=settings.dialects,
        exchange=settings.exchange,
    )
    learning = (calibrator,) if calibrator is not None and calibrator.learns else ()
    written = _ledger(settings, ledger)
    if written is not None:
        with guard("registering the metrics of the ledger"):
            from tokenmeter.otel.ledger_metrics import watch_ledger

            watch_ledger(written, meter_provider)
    kept = (written,) if written is not None else ()
    return Parts(spans, metrics, (*kept, *_log(settings), *learning, *sinks), calibrator, deferred, written)


def build_budgets(
    settings: Settings,
    book: Callable[[], Book],
    *,
    clock: Callable[[], int],
    store: BudgetStore | None = None,
    meter_provider: Any = None,
) -> Enforcer:
    """The enforcer of a meter's budgets and of those of its scopes; an open `store` is used on."""
    from tokenmeter.budgets.bounds import Bounds
    from tokenmeter.budgets.build import build_enforcer

    enforcer = build_enforcer(
        settings.budgets,
        store if store is not None else settings.budget_store,
        bound=Bounds(book, settings.models, clock).of,
        clock=clock,
        lease=settings.budget_lease,
        deadline=settings.budget_deadline,
        opens=settings.on_store_error == "open",
        exchange=settings.exchange,
        on_threshold=settings.on_threshold,
        alerts=settings.alerts,
        language=settings.alert_language,
    )
    with guard("registering the metrics of budgets"):
        from tokenmeter.otel.budget_metrics import watch_budgets

        watch_budgets(enforcer, meter_provider)
    if settings.budget_seed is not None and store is None:
        with guard("seeding budgets"):
            _seed(enforcer, settings.budget_seed)
    return enforcer


def _seed(enforcer: Enforcer, path: str) -> None:
    """Start empty counters with what a ledger says; a ledger that is not there yet has nothing to say."""
    from pathlib import Path

    from tokenmeter.budgets.seed import earliest, seed
    from tokenmeter.ledger.past_calls import past_calls

    counters, store = enforcer.lines.counters, enforcer.store
    since = earliest(counters, store.now())
    if since is not None and Path(path).exists():
        seed(counters, store, past_calls(path, max(0, since)))


def check_sink(sink: object, name: str) -> None:
    """Raise ConfigurationError for what is no `Sink`."""
    what = "an object with write(record), flush(timeout) and close(timeout)"
    check_methods(sink, name, ("write", "flush", "close"), what)


def _ledger(settings: Settings, open_one: Sink | None) -> Ledger | None:
    if settings.ledger is None:
        return None
    from tokenmeter.ledger.writer import Ledger

    made: Ledger
    if "://" in settings.ledger:
        from tokenmeter.ledger.fleet.spooled import SpooledLedger

        made = SpooledLedger(settings.ledger, settings.ledger_spool, sync=settings.ledger_sync)
    else:
        made = Ledger(settings.ledger, sync=settings.ledger_sync)
    return open_one if isinstance(open_one, Ledger) and open_one.same_as(made) else made


def _log(settings: Settings) -> Iterable[Sink]:
    if settings.log is not None:
        from tokenmeter.otel.log import Log

        yield Log()


def _calibrator(
    settings: Settings, metrics: Metrics, clock: Callable[[], int], monotonic: Callable[[], int]
) -> Calibrator | None:
    if not settings.calibrate and settings.calibration is None:
        return None
    from tokenmeter.calls.calibrator import Calibrator
    from tokenmeter.tokens.calibration.calibration import Calibration
    from tokenmeter.tokens.calibration.store import FileStore

    store = settings.calibration
    if isinstance(store, str):
        store = FileStore(store)
    return Calibrator(
        Calibration(store, now=lambda: clock() / 1e9),
        learns=settings.calibrate,
        compare=metrics.compare,
        monotonic=monotonic,
    )
