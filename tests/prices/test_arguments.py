"""What `price`, `estimate` and `count` answer to arguments of the wrong kind, and to a provider left out."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

import tokenmeter
from tokenmeter import ConfigurationError, Tokenmeter, TokenmeterError, Usage, UsageError

USAGE: Any = Usage(input_tokens=1_000_000, output_tokens=0)
HERE: Any = {"model": "deepseek-chat", "provider": "deepseek"}
WAYS = [pytest.param(tokenmeter, id="function"), pytest.param(Tokenmeter(spans="none"), id="method")]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("verb", "given", "options", "error", "message"),
    [
        pytest.param("price", {"input_tokens": 5}, HERE, UsageError, "not a dict: Usage.from_dict(usage) reads one",
                     id="price of a dict"),
        pytest.param("price", None, HERE, UsageError, "not a NoneType: Usage(input_tokens=…", id="price of None"),
        pytest.param("price", USAGE, {"model": None}, ConfigurationError, "model=None: give a text",
                     id="price of no model"),
        pytest.param("price", USAGE, {"model": "deepseek-v3"}, ConfigurationError, "'deepseek-v3' is sold by ",
                     id="several sellers"),
        pytest.param("price", USAGE, {"model": "no-such"}, ConfigurationError, "sold by no provider of this book: say",
                     id="no seller"),
        pytest.param("price", USAGE, {"model": "x", "at": "June"}, ConfigurationError, "at: 'June' is not a time",
                     id="no time"),
        pytest.param("estimate", "hello", {"model": "deepseek-v3"}, ConfigurationError, "say who bills, as in",
                     id="estimate"),
        pytest.param("count", None, {"model": "gpt-4o"}, UsageError, "count takes a text, not a NoneType", id="None"),
        pytest.param("count", [{"role": "user", "content": "hi"}], {"model": "gpt-4o"}, UsageError,
                     "not a list; a request body is counted by tokenmeter.estimate(body,", id="messages"),
        pytest.param("count", {"messages": []}, {"model": "gpt-4o"}, UsageError, "not a dict", id="body"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_a_remedy(
    way: Any, verb: str, given: Any, options: dict[str, Any], error: type[TokenmeterError], message: str
) -> None:
    with pytest.raises(error) as raised:
        getattr(way, verb)(given, **options)
    assert message in str(raised.value)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("model", "seller"),
    [
        pytest.param("claude-3-opus-20240229", "anthropic", id="the only seller"),
        pytest.param("alibaba/deepseek-v3", "alibaba", id="named with the model"),
        pytest.param("dashscope/deepseek-v3", "alibaba", id="by an alias"),
    ],
)
def test_a_provider_left_out_is_the_only_one_or_the_one_in_the_name(way: Any, model: str, seller: str) -> None:
    cost = way.price(USAGE, model=model)
    assert (cost.provider, cost.status) == (seller, "priced")
    found = way.estimate("hello", model=model, output_limit=5)
    assert (found.low.provider, found.low.status) == (seller, "priced")


def test_the_settings_can_be_read_in_a_fresh_interpreter() -> None:
    program = "import tokenmeter; help(tokenmeter.settings); tokenmeter.testing, tokenmeter.tokens"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "TOKENMETER_RATES" in done.stdout
