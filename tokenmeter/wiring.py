"""What one configuration is connected to: OpenTelemetry's spans and metrics, files it asked for, its calibration."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from tokenmeter.calls.count_rest import fill

if TYPE_CHECKING:
    from tokenmeter.calls.lifecycle import Lifecycle
    from tokenmeter.otel.spans import CallSpans
    from tokenmeter.record import Sink
    from tokenmeter.settings import Settings
    from tokenmeter.tokens.calibration.sampler import Calibrator

__all__ = ["Connected", "connect"]


class Connected(NamedTuple):
    """What a meter goes on using of it."""

    spans: CallSpans
    calibrator: Calibrator | None


def connect(
    lifecycle: Lifecycle,
    settings: Settings,
    *,
    tracer_provider: Any,
    meter_provider: Any,
    sinks: Iterable[Sink],
    clock: Callable[[], int],
    monotonic: Callable[[], int],
) -> Connected:
    """Give a lifecycle its spans and sinks, the user's own last. Raises what opening the ledger raises."""
    from tokenmeter.otel.metrics import DEFAULT_HISTOGRAMS, Metrics
    from tokenmeter.otel.spans import CallSpans

    calibrator = _calibrator(settings, clock, monotonic)
    if calibrator is not None:
        lifecycle.calibrator = calibrator
        if settings.estimate:
            lifecycle.fill = functools.partial(fill, calibrator=calibrator)
    metrics = Metrics(meter_provider, tags=settings.metric_tags, histograms=settings.histograms or DEFAULT_HISTOGRAMS)
    if calibrator is not None and calibrator.learns:
        calibrator.compare = metrics.compare
    metrics.before_reading = lifecycle.drain
    lifecycle.quiet = lambda: len(lifecycle.sinks) == 1 and not metrics.listened_to
    spans = CallSpans(
        tracer_provider,
        mode=settings.spans,
        export_estimates=settings.export_estimates,
        dialects=settings.dialects or None,
        exchange=settings.exchange,
    )
    lifecycle.spans = spans if settings.spans != "none" else None
    lifecycle.add_sink(metrics)
    for sink in (
        *_asked_for(settings),
        *((calibrator,) if calibrator is not None and calibrator.learns else ()),
        *sinks,
    ):
        lifecycle.add_sink(sink)
    return Connected(spans, calibrator)


def _asked_for(settings: Settings) -> Iterable[Sink]:
    if settings.ledger is not None:
        from tokenmeter.ledger.writer import Ledger

        yield Ledger(settings.ledger)
    if settings.log is not None:
        from tokenmeter.otel.log import Log

        yield Log()


def _calibrator(settings: Settings, clock: Callable[[], int], monotonic: Callable[[], int]) -> Calibrator | None:
    if not settings.calibrate and settings.calibration is None:
        return None
    from tokenmeter.tokens.calibration.calibration import Calibration
    from tokenmeter.tokens.calibration.sampler import Calibrator
    from tokenmeter.tokens.calibration.store import FileStore

    store = settings.calibration
    if isinstance(store, str):
        store = FileStore(store)
    return Calibrator(Calibration(store, now=lambda: clock() / 1e9), learns=settings.calibrate, monotonic=monotonic)
