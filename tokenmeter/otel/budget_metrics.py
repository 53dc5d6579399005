"""Metrics of budgets: limit, spent and held of each window, and refused calls; read when the SDK collects.

Each series is one budget, or one value of its `each`; at most 1,000 are reported, the command line
shows all.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable
from typing import Any, Final

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from tokenmeter._support.guard import guard
from tokenmeter.budgets.enforcer import Enforcer
from tokenmeter.budgets.status import BudgetStatus, statuses
from tokenmeter.otel import semconv

__all__ = ["watch_budgets"]

_MOST: Final = 1_000
_lock = threading.Lock()
_watched: weakref.WeakKeyDictionary[Any, weakref.WeakSet[Enforcer]] = weakref.WeakKeyDictionary()


def watch_budgets(enforcer: Enforcer, provider: MeterProvider | None) -> None:
    """Report an enforcer's budgets to a provider (default: the global one) for as long as the enforcer lives."""
    if semconv.sdk_disabled():
        return
    target = provider if provider is not None else metrics.get_meter_provider()
    with _lock:
        enforcers = _watched.get(target)
        if enforcers is None:
            enforcers = _watched[target] = weakref.WeakSet()
            _register(target, enforcers)
        enforcers.add(enforcer)


def _register(provider: MeterProvider, enforcers: weakref.WeakSet[Enforcer]) -> None:
    meter = provider.get_meter(semconv.SCOPE_NAME, semconv.scope_version(), semconv.SCHEMA_URL)
    for name, meaning, of in (
        (semconv.BUDGET_LIMIT, "Limit of the budget's window.", lambda one: one.limit),
        (semconv.BUDGET_SPENT, "Spent in the budget's window.", lambda one: one.spent),
        (semconv.BUDGET_HELD, "Held by open calls in the budget's window.", lambda one: one.held),
    ):
        meter.create_observable_gauge(name, [_gauge(enforcers, of)], unit="", description=meaning)
    meter.create_observable_counter(
        semconv.BUDGET_REFUSED, [_refused(enforcers)], unit="{call}", description="Calls that a budget refused."
    )


def _gauge(
    enforcers: weakref.WeakSet[Enforcer], of: Callable[[BudgetStatus], Any]
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def observe(options: CallbackOptions) -> Iterable[Observation]:
        found: list[Observation] = []
        for enforcer in list(enforcers):
            with guard("reading budgets for metrics"):
                for one in statuses(enforcer.lines.counters, enforcer.store)[: _MOST - len(found)]:
                    found.append(Observation(float(of(one)), _attributes(one)))  # noqa: PERF401
        return found

    return observe


def _attributes(one: BudgetStatus) -> dict[str, str]:
    attributes = {semconv.BUDGET_NAME: one.budget, semconv.BUDGET_UNIT: one.unit}
    return attributes if one.value is None else {**attributes, semconv.BUDGET_VALUE: one.value}


def _refused(enforcers: weakref.WeakSet[Enforcer]) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def observe(options: CallbackOptions) -> Iterable[Observation]:
        sums: dict[str, int] = {}
        for enforcer in list(enforcers):
            for name, count in list(enforcer.refused.items()):
                sums[name] = sums.get(name, 0) + count
        return [Observation(count, {semconv.BUDGET_NAME: name}) for name, count in sums.items()]

    return observe
