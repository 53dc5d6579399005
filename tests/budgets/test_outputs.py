"""Quantiles of recent answers by model."""

from __future__ import annotations

from tokenmeter.budgets.outputs import Outputs


def test_too_few_answers_say_nothing() -> None:
    outputs = Outputs()
    for _ in range(19):
        outputs.add("deepseek", "m", 100)
    assert outputs.quantile("deepseek", "m", 0.99) is None
    outputs.add("deepseek", "m", 100)
    assert outputs.quantile("deepseek", "m", 0.99) == 100
    assert outputs.quantile("openai", "m", 0.99) is None


def test_the_last_thousand_count() -> None:
    outputs = Outputs()
    for length in [9_000] * 1_000 + list(range(1_000)):
        outputs.add("deepseek", "m", length)
    assert [outputs.quantile("deepseek", "m", share) for share in (0, 0.5, 0.95, 0.99)] == [0, 500, 950, 990]
