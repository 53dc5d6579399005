"""The kinds of value that settings have: each is read from text, checked, and refused with what it may be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tokenmeter import ConfigurationError
from tokenmeter.settings import Settings


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        pytest.param("ledger", "x.db", "x.db", id="path"),
        pytest.param("log", "json", "json", id="log"),
        pytest.param("spans", "own", "own", id="spans"),
        pytest.param("ask_usage", "Off", False, id="switch"),
        pytest.param("estimate", "0", False, id="switch as a number"),
        pytest.param("export_estimates", "yes", True, id="switch on"),
        pytest.param("calibrate", "true", True, id="calibrate"),
        pytest.param("calibration", "learnt.db", "learnt.db", id="path or store"),
        pytest.param("hosts", "a=b, c:1=d", {"a": "b", "c:1": "d"}, id="pairs"),
        pytest.param("price_lists", "deepseek=USD", {"deepseek": "USD"}, id="price lists"),
        pytest.param("models", "ep-1=m", {"ep-1": "m"}, id="models"),
        pytest.param("cost_from", "xai=vendor", {"xai": "vendor"}, id="whose cost, by provider"),
        pytest.param("dialects", "langfuse, mlflow", ("langfuse", "mlflow"), id="dialects"),
        pytest.param("metric_tags", "team,,feature", ("team", "feature"), id="tags"),
        pytest.param("histograms", "token.usage", ("token.usage",), id="histograms"),
    ],
)
def test_a_variable_is_read_as_its_kind_and_an_argument_wins(name: str, text: str, value: Any) -> None:
    variable = f"TOKENMETER_{name.upper()}"
    assert getattr(Settings.read({}, {variable: f" {text} "}), name) == value
    assert getattr(Settings.read({name: value}, {variable: "?"}), name) == value
    assert getattr(Settings.read({name: None}, {variable: ""}), name) == getattr(Settings(), name)


@pytest.mark.parametrize(
    ("given", "variables", "message"),
    [
        pytest.param({"ledger": 1}, {}, "ledger=1: give a path", id="path"),
        pytest.param(
            {"ledger": "."}, {}, "ledger='.': is a folder; name a file in it, such as ./spend.db", id="folder"
        ),
        pytest.param({"calibration": 1}, {}, "calibration=1: give a path, or a store with load, add", id="store"),
        pytest.param({"log": "text"}, {}, "log='text': the format of log lines is json", id="log"),
        pytest.param({}, {"TOKENMETER_SPANS": "x"}, "TOKENMETER_SPANS='x': spans is one of auto, own,", id="spans"),
        pytest.param({"estimate": 1}, {}, "estimate=1: give True or False", id="switch"),
        pytest.param({}, {"TOKENMETER_ESTIMATE": "x"}, "TOKENMETER_ESTIMATE='x': say true or false", id="its text"),
        pytest.param({"hosts": {"a": 1}}, {}, "hosts={'a': 1}: give a mapping of text to text", id="mapping"),
        pytest.param({}, {"TOKENMETER_HOSTS": "a=b,c"}, "TOKENMETER_HOSTS: 'c' has no '='; write name=", id="pairs"),
        pytest.param({"dialects": "langfuse"}, {}, "dialects='langfuse': dialects are otel,", id="text for a list"),
        pytest.param({"dialects": ["x"]}, {}, "dialects=['x']: dialects are otel,", id="dialects"),
        pytest.param({"histograms": ["x"]}, {}, "histograms=['x']: histograms are duration,", id="histograms"),
        pytest.param({"cost_from": "bank"}, {}, "cost_from: 'bank' is neither book nor vendor", id="whose cost"),
        pytest.param({}, {"TOKENMETER_COST_FROM": "xai=x"}, "TOKENMETER_COST_FROM: 'x' is neither", id="its text"),
        pytest.param({"metric_tags": [1]}, {}, "metric_tags=[1]: give the names of tags,", id="tags"),
        pytest.param({"rates": 1}, {}, "rates=1: give a mapping such as {", id="own prices"),
        pytest.param({"exchange": 1}, {}, "exchange=1: give ExchangeRates, a path, or CNY=", id="exchange"),
    ],
)
def test_a_wrong_value_is_named_with_what_it_may_be(
    given: dict[str, Any], variables: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigurationError) as raised:
        Settings.read(given, variables)
    assert str(raised.value).startswith(message)


def test_a_path_is_kept_as_text() -> None:
    assert Settings.read({"ledger": Path("a") / "b.db"}, {}).ledger == str(Path("a") / "b.db")


@pytest.mark.parametrize("word", ["book", "vendor"])
def test_whose_cost_counts_can_be_one_word_for_all(word: str) -> None:
    assert Settings.read({"cost_from": word}).cost_from == {"*": word}
    assert Settings.read({}, {"TOKENMETER_COST_FROM": word}).cost_from == {"*": word}
