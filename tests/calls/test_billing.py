"""What a record costs as one configuration sees it: which instant is priced, which names, and what stays unpriced."""

from __future__ import annotations

import re
import shutil
from decimal import Decimal
from pathlib import Path
from typing import Any

import openai
import pytest

from tokenmeter import ConfigurationError, Money, Tokenmeter, Usage
from tokenmeter._support.data_files import CATALOG
from tokenmeter.cost import Cost
from tokenmeter.providers import registry
from tokenmeter.testing import FixedClock, capture, provider_server

PROVIDER = """
id = "{id}"
timezone = "UTC"
stream_usage = "always"
{clock}
"""
PRICES = """
provider = "{id}"
currency = "USD"
timezone = "UTC"
read = 2026-06-01
[[rate]]
model = "m"
effective = 2026-01-01
input = 1
output = 1
confidence = "official"
[[rate]]
model = "m"
effective = 2026-06-02
input = 3
output = 3
confidence = "official"
"""


@pytest.fixture
def prices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Prices that rise at midnight, of vendors whose provider files name the instant that bills, or none."""
    folder = tmp_path / "providers"
    shutil.copytree(CATALOG / "providers", folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    prices = tmp_path / "prices"
    prices.mkdir()
    for name, clock in (("starts", 'clock = "start"'), ("ends", 'clock = "end"'), ("silent", "")):
        (folder / f"{name}.toml").write_text(PROVIDER.format(id=name, clock=clock), "utf-8")
        (prices / f"{name}.toml").write_text(PRICES.format(id=name), "utf-8")
    providers = registry.read_providers(folder)
    monkeypatch.setattr(registry, "load_providers", lambda: providers)
    return prices


def cost_over_midnight(prices: Path, provider: str) -> Cost:
    clock = FixedClock("2026-06-01T23:59:30+00:00")
    meter = Tokenmeter(prices=prices, clock=clock, monotonic=clock, spans="none")
    with capture(meter) as records, meter.call(provider=provider, model="m") as call:
        clock.advance(60)
        call.observe_usage(Usage(input_tokens=1_000_000, output_tokens=0))
    return records.only().cost


@pytest.mark.parametrize(
    ("provider", "amount"),
    [
        pytest.param("starts", "1", id="its file says the start"),
        pytest.param("ends", "3", id="its file says the end"),
        pytest.param("silent", "3", id="its file says nothing: the end"),
    ],
)
def test_a_call_over_a_price_change_is_billed_at_its_providers_instant(
    prices: Path, provider: str, amount: str
) -> None:
    cost = cost_over_midnight(prices, provider)
    assert (cost.status, cost.amount) == ("priced", Decimal(amount))


@pytest.mark.parametrize(
    ("usage", "reason"),
    [
        pytest.param(Usage(), "no usage: ", id="nothing is known"),
        pytest.param(Usage(input_tokens=10), "output_tokens is not known: ", id="the output is not known"),
        pytest.param(Usage(output_tokens=10), "input_tokens is not known: ", id="the input is not known"),
    ],
)
def test_what_is_not_known_is_not_free(usage: Usage, reason: str) -> None:
    meter = Tokenmeter(spans="none", estimate=False)
    with capture(meter) as records, meter.call(provider="deepseek", model="deepseek-chat") as call:
        call.observe_usage(usage)
    cost = records.only().cost
    assert (cost.status, cost.amount) == ("unpriced", None)
    assert (cost.reason or "").startswith(reason)


def test_a_model_that_is_not_priced_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    meter = Tokenmeter(spans="none")
    with capture(meter) as records:
        for model in ("no-such-1", "no-such-1", "no-such-2"):
            with meter.call(provider="openai", model=model) as call:
                call.observe_usage(Usage(input_tokens=1, output_tokens=1))
    assert [record.cost.status for record in records] == ["unpriced"] * 3
    warned = [line.getMessage() for line in caplog.records if "are not priced" in line.getMessage()]
    assert [line.partition(" are not")[0] for line in warned] == [
        "calls of openai no-such-1",
        "calls of openai no-such-2",
    ]


HELLO: Any = [{"role": "user", "content": "hello"}]


def test_an_unknown_host_is_warned_of_once_and_the_remedy_works_as_written(caplog: pytest.LogCaptureFixture) -> None:
    with provider_server() as server:
        client = openai.OpenAI(base_url=server.url("openai"), api_key="any")
        meter = Tokenmeter(spans="none")
        with capture(meter) as records:
            for _ in range(3):
                meter.wrap(client).chat.completions.create(model="qwen3-32b", messages=HELLO)
        assert [record.cost.status for record in records] == ["unpriced"] * 3
        (warned,) = [line.getMessage() for line in caplog.records if "no provider is known" in line.getMessage()]
        assert f'{{"{server.host}": "local"}}' in warned
        (remedy,) = re.findall(r"configure\((.*?)\), or instead", warned)
        (price,) = re.findall(r"a price: (\{.*?\})", warned)
        for said, status, total in (
            (remedy, "free", Money(Decimal(0), "USD")),
            (remedy.replace('"free"', price), "priced", Money(Decimal("0.000036"), "CNY")),
        ):
            caplog.clear()
            following = Tokenmeter(spans="none", **eval(f"dict({said})"))
            with capture(following) as records:
                following.wrap(client).chat.completions.create(model="qwen3-32b", messages=HELLO)
            record = records.only()
            assert (record.cost.status, record.cost.total) == (status, total)
            assert (record.provider, record.cost.dating) == ("local", "own")
            assert not [line for line in caplog.records if "priced" in line.getMessage()]


def test_a_provider_of_the_users_own_may_be_named_to_wrap_and_call() -> None:
    meter = Tokenmeter(spans="none", rates={"vllm/qwen3-*": {"input": "1 CNY", "output": "1 CNY"}})
    with provider_server() as server, capture(meter) as records:
        client = openai.OpenAI(base_url=server.url("openai"), api_key="any")
        meter.wrap(client, provider="vllm").chat.completions.create(model="qwen3-32b", messages=HELLO)
        with meter.call(provider="vllm", model="qwen3-8b") as call:
            call.observe_usage(Usage(input_tokens=1_000_000, output_tokens=0))
    assert [str(record.cost.total) for record in records] == ["0.000036 CNY", "1 CNY"]


def test_the_reason_of_a_provider_without_prices_holds_a_remedy_that_works() -> None:
    usage = Usage(input_tokens=5, output_tokens=5)
    reason = Tokenmeter(spans="none").price(usage, provider="ollama", model="llama3").reason or ""
    (remedy,) = re.findall(r"configure\((.*?)\) or", reason)
    assert Tokenmeter(spans="none", **eval(f"dict({remedy})")).price(usage, provider="ollama", model="x").amount == 0


def test_a_host_of_a_provider_there_is_none_of_is_refused_with_a_remedy() -> None:
    with pytest.raises(ConfigurationError) as raised:
        Tokenmeter(hosts={"127.0.0.1:8000": "vllm"})
    (remedy,) = re.findall(r"configure\((rates=.*?), \.\.\.\)", str(raised.value))
    Tokenmeter(hosts={"127.0.0.1:8000": "vllm"}, **eval(f"dict({remedy})"))
