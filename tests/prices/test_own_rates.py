"""Prices of the user's own: how they are written, what they bill, and what comes before what."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tokenmeter import ConfigurationError, Money, Usage
from tokenmeter.cli import main
from tokenmeter.prices.book import load_book
from tokenmeter.prices.own_rates import OwnRates
from tokenmeter.settings import Settings

MINE = {
    "ollama/*": "free",
    "vllm/qwen3-32b": {"input": "0.5 CNY", "output": "2 CNY"},
    "vllm/qwen3-*": {"input": "0.1 CNY", "output": "0.2 CNY"},
    "vllm/Qwen/Qwen3-8B": {"input": "0.01 cny", "cache_read": "0.001 CNY", "output": "0.02 CNY", "images": "0.3 CNY"},
    "dashscope/qwen-plus": {"input": "9 EUR", "output": "9 EUR"},
}
MILLION = Usage(input_tokens=1_000_000, output_tokens=1_000_000)


def cost_of(usage: Usage, provider: str, model: str, **params: Any) -> Any:
    return load_book().with_rates(OwnRates.of(MINE, "rates")).price(usage, provider=provider, model=model, **params)


@pytest.mark.parametrize(
    ("provider", "model", "usage", "total"),
    [
        pytest.param("vllm", "qwen3-32b", MILLION, Money(Decimal("2.5"), "CNY"), id="a name before a pattern"),
        pytest.param("vllm", "QWEN3-32B", MILLION, Money(Decimal("2.5"), "CNY"), id="letter case"),
        pytest.param("vllm", "qwen3-4b", MILLION, Money(Decimal("0.3"), "CNY"), id="a pattern"),
        pytest.param("vllm", "Qwen/Qwen3-8B", MILLION, Money(Decimal("0.03"), "CNY"), id="a model with a slash"),
        pytest.param(
            "vllm", "qwen3-32b",
            Usage(input_tokens=1_000_000, cache_read_input_tokens=400_000, output_tokens=0),
            Money(Decimal("0.5"), "CNY"), id="cached tokens cost what input costs",
        ),
        pytest.param(
            "vllm", "qwen3-32b",
            Usage(input_tokens=2_000_000, audio_input_tokens=500_000, output_tokens=1_000_000,
                  reasoning_output_tokens=900_000),
            Money(Decimal(3), "CNY"), id="audio and thoughts too",
        ),
        pytest.param(
            "vllm", "Qwen/Qwen3-8B",
            Usage(input_tokens=1_000_000, cache_read_input_tokens=400_000, output_tokens=0,
                  quantities={"images": 2}),
            Money(Decimal("0.6064"), "CNY"), id="but not where they have a price",
        ),
        pytest.param("alibaba", "qwen-plus", MILLION, Money(Decimal(18), "EUR"), id="an alias, over the book's rate"),
        pytest.param("ollama", "llama3.3", MILLION, Money(Decimal(0), "CNY"), id="free"),
        pytest.param(
            "ollama", "x", Usage(input_tokens=1, output_tokens=1, quantities={"images": 2}),
            Money(Decimal(0), "CNY"), id="all of it free",
        ),
        pytest.param("vllm", "other", MILLION, None, id="no price for another model"),
        pytest.param("vllm", "qwen3-32b", Usage(input_tokens=1, output_tokens=1, quantities={"images": 1}), None,
                     id="unknown is not free"),
    ],
)  # fmt: skip
def test_what_they_bill(provider: str, model: str, usage: Usage, total: Money | None) -> None:
    assert cost_of(usage, provider, model).total == total


def test_a_cost_says_that_its_price_is_the_users_own() -> None:
    cost = cost_of(MILLION, "vllm", "qwen3-4b", at="2019-01-01", params={"batch": True, "service_tier": "flex"})
    assert (cost.status, cost.rate_id, cost.dating, cost.confidence) == (
        "priced", "vllm/qwen3-*@own", "own", "own",
    )  # fmt: skip
    assert (cost.model, cost.effective_from, cost.list) == ("qwen3-4b", None, "CNY")
    assert cost_of(MILLION, "ollama", "m").status == "free"


def test_the_response_model_is_billed_and_another_list_is_never_used() -> None:
    book = load_book().with_rates(OwnRates.of(MINE, "rates"))
    cost = book.price(MILLION, provider="vllm", model="default", response_model="qwen3-32b")
    assert cost.total == Money(Decimal("2.5"), "CNY")
    listed = book.price(MILLION, provider="alibaba", model="qwen-plus", params={"currency": "CNY"})
    assert listed.dating != "own"
    assert listed.total is not None
    assert book.price(MILLION, provider="vllm", model="qwen3-32b", params={"currency": "USD"}).total is None


def test_a_book_knows_its_own_models_and_keeps_the_others() -> None:
    plain = load_book()
    book = plain.with_rates(OwnRates.of(MINE, "rates"))
    assert {"vllm", "ollama"} <= set(book.providers)
    assert book.knows("vllm", "qwen3-1b")
    assert not book.knows("vllm", "llama")
    assert book.knows("deepseek", "deepseek-chat")
    assert book.version != plain.version
    assert book.with_lists({"deepseek": "USD"}).knows("vllm", "qwen3-1b")
    assert not book.with_rates(OwnRates.of({}, "rates")).knows("vllm", "qwen3-1b")
    book.check()


def test_free_alone_is_free_in_dollars() -> None:
    book = load_book().with_rates(OwnRates.of({"local/*": "free"}, "rates"))
    assert book.price(MILLION, provider="local", model="m").total == Money(Decimal(0), "USD")


def test_a_variable_is_json_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "rates.toml"
    file.write_text('"ollama/*" = "free"\n["vllm/m"]\ninput = "0.5 CNY"\noutput = "2 CNY"\n', "utf-8")
    said = {"ollama/*": "free", "vllm/m": {"input": "0.5 CNY", "output": "2 CNY"}}
    expected = OwnRates.of(said, "rates")
    for text in (str(file), json.dumps(said)):
        assert Settings.read({}, {"TOKENMETER_RATES": f" {text} "}).rates == expected
    assert Settings.read({"rates": file}, {"TOKENMETER_RATES": "{"}).rates == expected
    assert Settings.read({"rates": said}, {}).rates == expected
    assert expected.providers == ("ollama", "vllm")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        pytest.param(5, "rates=5: give a mapping such as {", id="no mapping"),
        pytest.param("/nowhere/x.toml", "rates='/nowhere/x.toml': there is no such file; give a TOML", id="no file"),
        pytest.param({"m": "free"}, "rates: 'm' is not PROVIDER/MODEL, such as 'vllm/qwen3-32b'", id="no provider"),
        pytest.param({"*/m": "free"}, "rates: '*/m' is not PROVIDER/MODEL", id="any provider"),
        pytest.param({5: "free"}, "rates: 5 is not PROVIDER/MODEL", id="no text"),
        pytest.param({"a/b": "gratis"}, "rates: 'a/b': 'gratis' is no price; write \"free\" or {", id="a word"),
        pytest.param({"a/b": {}}, "rates: 'a/b': {} is no price", id="nothing"),
        pytest.param({"a/b": {"inptu": "1 CNY"}}, "rates: 'a/b': 'inptu' is not priced by anything; did you",
                     id="component"),
        pytest.param({"a/b": {"input": 0.5}}, "rates: 'a/b': input: 0.5 is no price; write an amount and a",
                     id="number"),
        pytest.param({"a/b": {"input": "0.5"}}, "rates: 'a/b': input: '0.5' is no price", id="no currency"),
        pytest.param({"a/b": {"input": "-1 CNY"}}, "rates: 'a/b': input: '-1 CNY' is no price", id="below zero"),
        pytest.param({"a/b": {"input": "1 CNY", "output": "1 USD"}}, "rates: 'a/b': prices in CNY and USD; a model has",
                     id="two currencies"),
    ],
)  # fmt: skip
def test_a_wrong_one_is_named_with_what_it_may_be(value: object, message: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        Settings.read({"rates": value}, {})
    assert str(raised.value).startswith(message)


def test_a_variable_that_is_not_json_is_named() -> None:
    with pytest.raises(ConfigurationError, match="TOKENMETER_RATES: not JSON"):
        Settings.read({}, {"TOKENMETER_RATES": '{"a/b": '})
    with pytest.raises(ConfigurationError, match="TOKENMETER_RATES: 'b' is not PROVIDER/MODEL"):
        Settings.read({}, {"TOKENMETER_RATES": '{"b": "free"}'})


def test_the_command_line_has_them_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TOKENMETER_RATES", '{"vllm/q-*": {"input": "0.5 CNY", "output": "2 CNY"}}')
    for command, words in (
        ("price --provider vllm --model q-1 --input 1000 --output 10", "rate vllm/q-*@own (own, own"),
        ("prices list --provider vllm", "1 models (1 in CNY)"),
        ("prices history q-* --provider vllm", "since ever"),
        ("prices check", "0 problems"),
        ("estimate --model q-1 --text hello --max-output 5", "vllm"),
    ):
        assert main(command.split()) == 0
        assert words in capsys.readouterr().out
