"""Results of batch jobs: each answer is a call at the batch price, in whatever form the results come."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from tokenmeter import End, Tokenmeter
from tokenmeter.testing import FixedClock, capture


@pytest.fixture
def meter() -> Iterator[Tokenmeter]:
    made = Tokenmeter(clock=FixedClock("2026-06-01T12:00:00+08:00"), spans="none")
    yield made
    made.shutdown()


def answered(model: str) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": "你好"}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
    return {"object": "chat.completion", "model": model, "choices": [choice], "usage": usage}


def line(number: int, model: str) -> dict[str, Any]:
    body = answered(model) | {"id": f"c{number}"}
    return {"custom_id": str(number), "response": {"status_code": 200, "body": body}, "error": None}


LINES = [line(1, "gpt-4o-2024-08-06"), line(2, "gpt-4o-mini-2024-07-18")]
TEXT = "\n".join(json.dumps(one) for one in LINES) + "\n\n"


@pytest.mark.parametrize(
    "results",
    [
        pytest.param(TEXT, id="text"),
        pytest.param(TEXT.encode(), id="bytes"),
        pytest.param(TEXT.splitlines(), id="lines"),
        pytest.param(LINES, id="objects"),
        pytest.param((one for one in LINES), id="a generator"),
    ],
)
def test_each_line_of_a_batch_is_a_call_at_the_batch_price_of_its_model(meter: Tokenmeter, results: object) -> None:
    with capture(meter) as records, meter.scope("nightly") as scope:
        assert meter.observe_batch(results, provider="openai") == 2
    assert [(one.model, one.params["batch"], one.cost.amount) for one in records] == [
        ("gpt-4o-2024-08-06", True, Decimal("0.00175")),
        ("gpt-4o-mini-2024-07-18", True, Decimal("0.000105")),
    ]
    assert scope.cost["USD"].amount == Decimal("0.001855")


def test_a_line_that_failed_is_an_error_and_one_that_cannot_be_read_says_so(meter: Tokenmeter) -> None:
    failed = {"custom_id": "3", "response": {"status_code": 400, "body": {"error": {"code": "invalid_request"}}}}
    with capture(meter) as records:
        assert meter.observe_batch([failed, "no JSON"], provider="openai") == 2
    refused, unread = records
    assert (refused.end, refused.error_type, refused.cost.amount) == (End.ERROR, "invalid_request", None)
    assert (unread.reason, unread.cost.amount) == ("the answer is not a JSON object", None)


def test_a_batch_observed_inside_a_call_is_counted_once(meter: Tokenmeter) -> None:
    with capture(meter) as records, meter.call(provider="openai"):
        meter.observe_batch(LINES, provider="openai")
    assert sorted(one.end for one in records) == [End.COMPLETE, End.COMPLETE, End.DELEGATED]


GEMINI = {
    "candidates": [{"content": {"parts": [{"text": "x"}]}, "finishReason": "STOP"}],
    "usageMetadata": {"promptTokenCount": 1000, "candidatesTokenCount": 100, "totalTokenCount": 1100},
    "modelVersion": "gemini-2.5-flash",
}
CLAUDE = {
    "type": "message", "id": "m", "model": "claude-sonnet-4-5-20250929", "role": "assistant", "content": [],
    "stop_reason": "end_turn", "usage": {"input_tokens": 1000, "output_tokens": 100},
}  # fmt: skip


@pytest.mark.parametrize(
    ("provider", "results", "calls", "amount"),
    [
        # gemini-2.5-flash: 0.3 and 2.5 dollars per million, half in a batch: 0.000275 for each
        pytest.param("google", [{"key": "1", "response": GEMINI}], 1, "0.000275", id="Gemini's file"),
        pytest.param(
            "google",
            {"done": True, "response": {"inlinedResponses": {"inlinedResponses": [{"response": GEMINI}] * 2}}},
            2,
            "0.000275",
            id="Gemini's job with its answers inside",
        ),
        # claude-sonnet-4-5: 3 and 15 dollars per million, half in a batch: 0.00225
        pytest.param(
            "anthropic", [{"custom_id": "1", "result": {"type": "succeeded", "message": CLAUDE}}], 1, "0.00225",
            id="Anthropic's file",
        ),
    ],
)  # fmt: skip
def test_the_results_of_other_vendors(
    meter: Tokenmeter, provider: str, results: object, calls: int, amount: str
) -> None:
    with capture(meter) as records:
        assert meter.observe_batch(results, provider=provider) == calls
    assert [one.cost.amount for one in records] == [Decimal(amount)] * calls
