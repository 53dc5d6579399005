"""Metrics of ledgers: what each wrote, lost and has waiting; read when the SDK collects.

The figures of all ledgers of one provider of metrics are added up. Where a database is behind a ledger, what was
shipped to it and what still waits in the spool is told by the one process that ships.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from tokenmeter._support.guard import guard
from tokenmeter.otel import semconv

__all__ = ["watch_ledger"]


class _Ledger(Protocol):
    def health(self) -> dict[str, Any]:
        """What the process did with its file."""


_Ledgers = weakref.WeakSet[_Ledger]
_Read = Callable[[CallbackOptions], Iterable[Observation]]
_GREATEST: Final = frozenset({"commit_seconds"})
"""Figures of which the greatest counts, and not the sum."""
_lock = threading.Lock()
_watched: weakref.WeakKeyDictionary[Any, _Ledgers] = weakref.WeakKeyDictionary()


def watch_ledger(ledger: _Ledger, provider: MeterProvider | None) -> None:
    """Report a ledger's health to a provider (default: the global one) for as long as the ledger lives."""
    if semconv.sdk_disabled():
        return
    target = provider if provider is not None else metrics.get_meter_provider()
    with _lock:
        ledgers = _watched.get(target)
        if ledgers is None:
            ledgers = _watched[target] = weakref.WeakSet()
            _register(target, ledgers)
        ledgers.add(ledger)


def _register(provider: MeterProvider, ledgers: _Ledgers) -> None:
    meter = provider.get_meter(semconv.SCOPE_NAME, semconv.scope_version(), semconv.SCHEMA_URL)
    for key, (name, unit, meaning) in semconv.LEDGER_COUNTERS.items():
        meter.create_observable_counter(name, [_reader(ledgers, key)], unit=unit, description=meaning)
    for key, (name, unit, meaning) in semconv.LEDGER_GAUGES.items():
        meter.create_observable_gauge(name, [_reader(ledgers, key)], unit=unit, description=meaning)


def _reader(ledgers: _Ledgers, key: str) -> _Read:
    """What reads one figure of `health()`; nothing where no ledger has it."""

    def observe(options: CallbackOptions) -> Iterable[Observation]:
        found = []
        for ledger in list(ledgers):
            with guard("reading a ledger for metrics"):
                if (value := ledger.health().get(key)) is not None:
                    found.append(value)
        return [Observation(max(found) if key in _GREATEST else sum(found))] if found else []

    return observe
