"""What a request may be charged at most, by rates that can be checked by hand."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

import tokenmeter
from tokenmeter.budgets.request_size import most_input

BODY = {"model": "deepseek-chat", "max_tokens": 100, "messages": [{"role": "user", "content": "hello"}]}


def bound(body: dict[str, Any], provider: str = "deepseek") -> Any:
    return tokenmeter.bound(body, provider=provider)


def test_the_bound_is_its_input_and_its_limit() -> None:
    found = bound(BODY)
    assert found.sound
    assert found.output_tokens == 101
    assert found.amount.amount == found.with_output(101)
    assert found.low.amount < found.amount.amount


@pytest.mark.parametrize(("more", "times"), [({"n": 5}, 5), ({"best_of": 3, "n": 2}, 3)])
def test_each_answer_counts(more: dict[str, Any], times: int) -> None:
    one, several = bound(BODY), bound({**BODY, **more})
    assert several.choices == times
    assert several.per_output_token == times * one.per_output_token


UNLIMITED = {key: value for key, value in BODY.items() if key != "max_tokens"}


def test_a_request_without_a_limit_has_that_of_its_model() -> None:
    found = bound({**UNLIMITED, "model": "gpt-4o-mini", "n": 2}, "openai")
    assert (found.output_tokens, found.max_output) == (None, 16_384)  # by OpenAI's page of the model
    assert found.amount.amount == found.with_output(16_384)
    assert found.parts[1].quantity == 2 * 16_384


def test_a_request_without_a_limit_has_no_amount_where_its_model_has_none() -> None:
    found = bound({**UNLIMITED, "model": "deepseek-ai/DeepSeek-V3"}, "siliconflow")
    assert found.amount is None
    assert found.per_output_token > 0
    assert "no limit on its output" in found.reason


def test_a_cache_write_is_priced_as_the_dearest() -> None:
    message = {"role": "user", "content": [{"type": "text", "text": "word " * 2_000}]}
    body = {"model": "claude-sonnet-4-5", "max_tokens": 10, "messages": [message]}
    marked = {"type": "text", "text": "word " * 2_000, "cache_control": {"type": "ephemeral"}}
    plain = bound(body, "anthropic")
    written = bound({**body, "messages": [{"role": "user", "content": [marked]}]}, "anthropic")
    assert written.input_amount > Decimal("1.2") * plain.input_amount


def test_tools_that_the_vendor_runs_make_it_unsound() -> None:
    body = {"model": "gpt-4o", "max_output_tokens": 50, "input": "hi", "tools": [{"type": "web_search"}]}
    found = bound(body, "openai")
    assert not found.sound
    assert "web_search" in found.reason


def test_a_model_without_a_price_is_said() -> None:
    found = bound({**BODY, "model": "no-such-model"})
    assert found.amount is None
    assert found.reason


@pytest.mark.parametrize(
    ("body", "most"),
    [
        ("hello", 50 + 4 + 5),
        ("你好", 50 + 4 + 6),
        ({"prompt": "hello"}, 50 + (6 + 4) + (4 + 5)),
        ({"image_url": "x"}, None),
        ({"content": b"bytes"}, None),
        ({"content": "data:image/png;base64,AAAA"}, None),
        ({"content": "x" * 100_001}, None),
        ({"content": object()}, None),
    ],
)
def test_the_most_tokens_of_a_body(body: object, most: int | None) -> None:
    assert most_input(body, frozenset())[0] == most


def test_a_body_that_is_too_deep_to_walk_is_not_bounded_by_its_bytes() -> None:
    body: dict[str, Any] = {}
    for _ in range(100):
        body = {"a": body}
    assert most_input(body, frozenset()) == (None, False)
    assert most_input({"tools": [{"cache_control": {}}]}, frozenset({"cache_control"}))[1]
