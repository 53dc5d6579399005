"""Metrics of budgets, as a real reader of the SDK collects them."""

from __future__ import annotations

from typing import Any

import pytest

from tokenmeter import Budget, BudgetExceeded, Tokenmeter, Usage

sdk = pytest.importorskip("opentelemetry.sdk.metrics")


def test_limit_spent_held_and_refused_are_reported() -> None:
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    meter = Tokenmeter(
        budgets=[Budget("50 tokens", name="users", per="total", each="user"), Budget("9 calls", name="calls")],
        meter_provider=sdk.MeterProvider([reader]),
        spans="none",
    )
    with meter.tags(user="u1"):
        with meter.call("deepseek", "deepseek-chat") as call:
            call.observe_usage(Usage(input_tokens=40, output_tokens=10))
        with pytest.raises(BudgetExceeded), meter.call("deepseek", "deepseek-chat"):
            pass
        with meter.tags(user="u2"), meter.call("deepseek", "deepseek-chat"):
            found = collected(reader)
    assert found["tokenmeter.budget.limit"] == {("users", "u1"): 50, ("users", "u2"): 50, ("calls", None): 9}
    assert found["tokenmeter.budget.spent"] == {("users", "u1"): 50, ("users", "u2"): 0, ("calls", None): 1}
    assert found["tokenmeter.budget.held"] == {("users", "u1"): 0, ("users", "u2"): 0, ("calls", None): 1}
    assert found["tokenmeter.budget.refused"] == {("users", None): 1}


def collected(reader: Any) -> dict[str, dict[tuple[str, str | None], float]]:
    data = reader.get_metrics_data()
    return {
        metric.name: {
            (point.attributes["tokenmeter.budget.name"], point.attributes.get("tokenmeter.budget.value")): point.value
            for point in metric.data.data_points
        }
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name.startswith("tokenmeter.budget.")
    }
