"""`tokenmeter.price`: the book asked by hand, as one configuration sees it."""

from __future__ import annotations

import pytest

import tokenmeter
from tokenmeter import ConfigurationError, Tokenmeter, Usage

USAGE = Usage(input_tokens=1000, output_tokens=100)


@pytest.mark.parametrize("price", [tokenmeter.price, Tokenmeter().price], ids=["function", "method"])
def test_a_misspelt_parameter_is_said_and_not_passed_over(price: object) -> None:
    assert callable(price)
    with pytest.raises(ConfigurationError, match=r"no price depends on 'thinkng': did you mean thinking\?"):
        price(USAGE, provider="deepseek", model="deepseek-chat", thinkng=True)
    with pytest.raises(ConfigurationError, match=r"no price depends on 'zzzzzz': there are batch, cache, "):
        price(USAGE, provider="deepseek", model="deepseek-chat", zzzzzz=True)


def test_a_price_goes_by_the_users_own_names() -> None:
    meter = Tokenmeter(models={"ep-20240515-x": "doubao-pro-32k"})
    cost = meter.price(USAGE, provider="volcengine", model="ep-20240515-x", at="2024-05-16")
    assert (cost.status, cost.model) == ("priced", "Doubao-pro-32k")


def test_the_environment_names_models_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENMETER_MODELS", "ep-20240515-x=doubao-pro-32k")
    tokenmeter.configure(replace=True)
    try:
        cost = tokenmeter.price(USAGE, provider="volcengine", model="ep-20240515-x", at="2024-05-16")
    finally:
        monkeypatch.undo()
        tokenmeter.configure(replace=True)
    assert cost.model == "Doubao-pro-32k"
