"""`tokenmeter.estimate`: the range of what a request will cost, before it is sent."""

from __future__ import annotations

from decimal import Decimal

import pytest

import tokenmeter
from tokenmeter import ConfigurationError, Money, Tokenmeter

AT = "2026-11-01T00:00:00+08:00"

BODY = {"model": "deepseek-chat", "messages": [{"role": "user", "content": "请写一首关于杭州的诗"}], "max_tokens": 300}

MESSAGES = {"messages": BODY["messages"]}


def test_the_function_reads_limit_and_thinking_from_the_request() -> None:
    meter = Tokenmeter(spans="none")
    body = {**MESSAGES, "model": "qwen-turbo", "max_tokens": 1000}
    plain = meter.estimate(body, provider="alibaba", at=AT)
    thinking = meter.estimate({**body, "enable_thinking": True}, provider="alibaba", at=AT)
    assert plain.output_limit == thinking.output_limit == 1000
    assert plain.high is not None
    assert thinking.high is not None
    assert plain.high.total is not None
    assert thinking.high.total is not None
    assert thinking.high.total > plain.high.total  # its output costs more when it thinks
    assert meter.estimate(body, provider="alibaba", at=AT, output_limit=10).output_limit == 10


def test_what_is_no_request_is_unknown_and_not_free() -> None:
    found = tokenmeter.estimate(7, provider="openai", model="gpt-4o", output_limit=5)
    assert found.range == (None, None)
    assert "int" in (found.low.reason or "")
    with pytest.raises(ConfigurationError, match="needs a model"):
        tokenmeter.estimate(MESSAGES, provider="openai")


def test_a_text_may_be_estimated() -> None:
    found = tokenmeter.estimate("hello world", provider="openai", model="gpt-4o", at=AT)
    assert found.input.tokens == 2
    assert found.range == (Money(Decimal("0.000005"), "USD"), None)
