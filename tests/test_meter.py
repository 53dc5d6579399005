"""`tokenmeter.price`: the book asked by hand, as one configuration sees it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import tokenmeter
from tokenmeter import ConfigurationError, Record, Tokenmeter, Usage


class _Kept(list[Record]):
    def write(self, record: Record) -> None:
        self.append(record)

    def flush(self, timeout: float) -> bool:
        return True

    def close(self, timeout: float) -> None:
        pass


@contextmanager
def capture_of(meter: Tokenmeter) -> Iterator[list[Record]]:
    kept = _Kept()
    meter.add_sink(kept)
    yield kept
    meter.flush()


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


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param(
            {"models": {"ep-1": "doubao-pro-33k"}},
            r"models: 'ep-1' stands for 'doubao-pro-33k', which no provider sells: did you mean '[Dd]oubao-pro-32k'",
            id="model",
        ),
        pytest.param({"models": {"ep-1": "qqqqzzzz"}}, "`tokenmeter prices list` has the names", id="unlike any model"),
        pytest.param(
            {"price_lists": {"deepsek": "USD"}}, r"no prices of 'deepsek' \(did you mean 'deepseek'\?\)", id="provider"
        ),
        pytest.param({"price_lists": {"deepseek": "EUR"}}, "no list in 'EUR'; it has CNY, USD", id="list"),
        pytest.param({"hosts": {"llm.lan": "deepsek"}}, "no provider 'deepsek'; did you mean 'deepseek'", id="host"),
        pytest.param(
            {"cost_from": {"openruter": "vendor"}},
            r"cost_from: there is no provider 'openruter' \(did you mean 'openrouter'\?\)",
            id="whose cost",
        ),
    ],
)
def test_settings_are_checked_against_the_catalogue(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Tokenmeter(**settings)


def test_a_model_that_is_sold_no_more_and_one_of_the_users_own_may_stand_behind_a_name() -> None:
    Tokenmeter(models={"a": "gpt-3.5-turbo-0301", "b": "Doubao-pro-32k"})
    meter = Tokenmeter(models={"c": "m1"}, rates={"local/m1": {"input": "2 CNY"}})
    assert str(meter.price(Usage(input_tokens=1_000_000), provider="local", model="c").total) == "2 CNY"


def test_settings_know_providers_by_their_other_names() -> None:
    lists = Tokenmeter(price_lists={"deep-seek": "USD"})
    assert lists.price(USAGE, provider="deepseek", model="deepseek-chat").currency == "USD"
    own = Tokenmeter(rates={"dashscope/qwen-plus": {"input": "7 CNY", "output": "7 CNY"}})
    assert str(own.price(Usage(input_tokens=1_000_000), provider="alibaba", model="qwen-plus").total) == "7 CNY"
    meter = Tokenmeter(cost_from={"x_ai": "vendor"}, spans="none")
    with capture_of(meter) as records, meter.call("xai", "grok-4") as call:
        call.observe({"model": "grok-4", "usage": {"prompt_tokens": 1, "completion_tokens": 1,
                      "total_tokens": 2, "cost_in_usd_ticks": 70_000_000}})  # fmt: skip
    (record,) = records
    assert record.cost is not None
    assert record.cost.source == "vendor"
