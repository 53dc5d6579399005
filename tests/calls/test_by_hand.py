"""Calls metered by hand: whatever is handed over is read, nothing is changed, and every token is counted once."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from tokenmeter import ConfigurationError, End, Source, Tokenmeter, Usage, UsageError
from tokenmeter.testing import capture

REPLY = {
    "id": "c-1",
    "model": "glm-4.6",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "你好"}}],
    "usage": {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17},
}


class Dumps:
    def model_dump(self) -> dict[str, Any]:
        return REPLY


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(REPLY, id="mapping"),
        pytest.param(json.dumps(REPLY), id="JSON text"),
        pytest.param(json.dumps(REPLY).encode(), id="JSON bytes"),
        pytest.param(Dumps(), id="an SDK's object"),
        pytest.param(SimpleNamespace(**REPLY), id="an object with attributes"),
    ],
)
def test_a_reply_is_read_in_any_form(meter: Tokenmeter, reply: object) -> None:
    with capture(meter) as records, meter.call(provider="zhipu", model="glm-4.6", api="openai.chat") as call:
        call.observe(reply)
    record = records.only()
    assert (record.usage.input_tokens, record.usage.output_tokens) == (12, 5)
    assert record.usage_source is Source.REPORTED
    assert record.end is End.COMPLETE
    assert record.response_id == "c-1"
    assert record.finish_reasons == ("stop",)
    assert record.otel_provider is not None
    assert record.cost.status == "priced"


@pytest.mark.parametrize(
    "reply",
    [None, 3, [], "no JSON", b"\xff\xfe", {"choices": [None]}, {"usage": "many"}, {"usage": None}, object()],
    ids=["None", "number", "list", "text", "bytes", "null choice", "usage is text", "usage is null", "object"],
)
def test_a_reply_nobody_can_read_is_noted(meter: Tokenmeter, reply: object) -> None:
    with capture(meter) as records, meter.call(provider="zhipu", model="glm-4.6", api="openai.chat") as call:
        call.observe(reply)
    record = records.only()
    assert record.usage.output_tokens is None or record.usage.source_of("output_tokens") is not Source.REPORTED
    assert record.cost.total is None or record.usage_source is not Source.REPORTED
    assert record.reason


def test_text_is_counted_where_no_usage_is_to_be_had(meter: Tokenmeter) -> None:
    request = {"model": "spark-max", "messages": [{"role": "user", "content": "为什么天空是蓝色的？"}]}
    with capture(meter) as records, meter.call(provider="iflytek", model="spark-max", request=request) as call:
        for piece in ("因为", "瑞利", "散射。"):
            call.observe_text(piece)
    usage = records.only().usage
    assert usage.output_tokens is not None
    assert 3 <= usage.output_tokens <= 10
    assert usage.source_of("output_tokens") is Source.ESTIMATED
    low, high = usage.ranges["output_tokens"]
    assert low <= usage.output_tokens <= high
    assert usage.input_tokens is not None
    assert usage.input_tokens >= 6


def test_a_usage_is_taken_as_given(meter: Tokenmeter) -> None:
    with capture(meter) as records, meter.call(provider="deepseek", model="deepseek-chat") as call:
        call.observe_usage({"input_tokens": 10, "output_tokens": 2, "cache_read_input_tokens": 4})
    assert records.only().usage == Usage(input_tokens=10, output_tokens=2, cache_read_input_tokens=4)


def test_a_wrong_usage_is_the_callers_error_and_the_call_is_kept(meter: Tokenmeter) -> None:
    with capture(meter) as records:
        with pytest.raises(UsageError, match="input_tokens"), meter.call(provider="deepseek", model="x") as call:
            call.observe_usage({"input_tokens": "ten"})
        with pytest.raises(UsageError, match="observe_text takes text"), meter.call(provider="x", model="y") as call:
            call.observe_text(3)  # type: ignore[arg-type]
    assert [record.end for record in records] == [End.ERROR, End.ERROR]


@pytest.mark.parametrize(
    ("error", "end"),
    [
        pytest.param(ValueError("mine"), End.ERROR, id="error"),
        pytest.param(KeyboardInterrupt(), End.CANCELLED, id="interrupted"),
        pytest.param(asyncio.CancelledError(), End.CANCELLED, id="cancelled"),
    ],
)
def test_what_leaves_the_block_says_how_the_call_ended(meter: Tokenmeter, error: BaseException, end: End) -> None:
    with capture(meter) as records, pytest.raises(type(error)), meter.call(provider="deepseek", model="deepseek-chat"):
        raise error
    record = records.only()
    assert record.end is end
    assert record.error_type == type(error).__name__
    assert record.cost.total is None


def test_the_return_value_of_a_decorated_function_is_read_and_returned(meter: Tokenmeter) -> None:
    @meter.call(provider="zhipu", model="glm-4.6", api="openai.chat")
    def ask(prompt: str) -> dict[str, Any]:
        return REPLY

    @meter.call(provider="zhipu", model="glm-4.6", api="openai.chat")
    async def ask_async(prompt: str) -> dict[str, Any]:
        return REPLY

    with capture(meter) as records:
        assert ask("hello") is REPLY
        assert asyncio.run(ask_async("hello")) is REPLY
    assert [record.usage.output_tokens for record in records] == [5, 5]


CHUNKS = [
    {"id": "c", "model": "glm-4.6", "choices": [{"index": 0, "delta": {"content": "你"}, "finish_reason": None}]},
    {
        "id": "c",
        "model": "glm-4.6",
        "choices": [{"index": 0, "delta": {"content": "好"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17},
    },
]


def test_a_decorated_generators_values_are_the_events_of_a_stream(meter: Tokenmeter) -> None:
    @meter.call(provider="zhipu", model="glm-4.6", api="openai.chat")
    def ask() -> Iterator[dict[str, Any]]:
        yield from CHUNKS

    @meter.call(provider="zhipu", model="glm-4.6", api="openai.chat")
    async def ask_async() -> AsyncIterator[dict[str, Any]]:
        for chunk in CHUNKS:
            yield chunk

    async def collect() -> list[dict[str, Any]]:
        return [chunk async for chunk in ask_async()]

    with capture(meter) as records:
        assert list(ask()) == CHUNKS
        assert asyncio.run(collect()) == CHUNKS
        for _ in ask():
            break
    whole, whole_async, left = records.drain()
    for record in (whole, whole_async):
        assert (record.usage.output_tokens, record.usage_source, record.end) == (5, Source.REPORTED, End.COMPLETE)
        assert record.stream
    assert left.end is End.CLOSED_EARLY
    assert left.usage.source_of("output_tokens") is not Source.REPORTED


def inner(meter: Tokenmeter) -> None:
    with meter.call(provider="deepseek", model="deepseek-chat") as call:
        call.observe_usage(Usage(input_tokens=100, output_tokens=10))


def test_a_call_around_others_is_delegated_to_them(meter: Tokenmeter) -> None:
    with capture(meter) as records, meter.scope("work") as scope, meter.call(provider="zhipu", model="glm-4.6"):
        inner(meter)
        inner(meter)
    ends = sorted(record.end for record in records)
    assert ends == [End.COMPLETE, End.COMPLETE, End.DELEGATED]
    assert scope.calls == 2
    assert scope.usage == {"input_tokens": 200, "output_tokens": 20}
    assert scope.complete


def test_a_call_around_others_that_was_observed_carries_the_usage(meter: Tokenmeter) -> None:
    with (
        capture(meter) as records,
        meter.scope("work") as scope,
        meter.call(provider="zhipu", model="glm-4.6") as call,
    ):
        inner(meter)
        call.observe_usage(Usage(input_tokens=7, output_tokens=1))
        inner(meter)
    assert sorted(record.end for record in records) == [End.COMPLETE, End.DELEGATED, End.DELEGATED]
    assert scope.calls == 1
    assert scope.usage == {"input_tokens": 7, "output_tokens": 1}
    outer = next(record for record in records if record.end is End.COMPLETE)
    assert all(record.parent_id == outer.id for record in records if record.end is End.DELEGATED)


def test_an_unknown_provider_still_counts(meter: Tokenmeter) -> None:
    with capture(meter) as records, meter.call(provider="nobody", model="m", api="openai.chat") as call:
        call.observe(REPLY)
    record = records.only()
    assert record.usage.input_tokens == 12
    assert record.cost.status == "unpriced"
    assert record.cost.reason


def test_part_of_a_usage_is_not_a_price(meter: Tokenmeter) -> None:
    with capture(meter) as records, meter.call(provider="deepseek", model="deepseek-chat") as call:
        call.observe_usage(Usage(input_tokens=1000))
    cost = records.only().cost
    assert cost.total is None
    assert [charge.component for charge in cost.charges] == ["input"]
    assert "output_tokens is not known" in (cost.reason or "")


class Broken:
    def write(self, record: object) -> None:
        raise RuntimeError("disk on fire")

    def flush(self, timeout: float) -> bool:
        raise RuntimeError("disk on fire")

    def close(self, timeout: float) -> None:
        raise RuntimeError("disk on fire")


def test_a_broken_sink_starves_nobody(meter: Tokenmeter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tokenmeter._support.guard._raising", False)
    broken = Broken()
    meter.add_sink(broken)
    with capture(meter) as records:
        inner(meter)
    assert records.only().usage.input_tokens == 100
    assert not meter.flush()
    meter.remove_sink(broken)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param({"spans": "loud"}, "one of auto, own, enrich, none", id="spans"),
        pytest.param({"legder": "x.db"}, "'legder' is not a setting", id="unknown"),
        pytest.param({"hosts": {"llm.lan": "nobody"}}, "no provider 'nobody'", id="host of nobody"),
        pytest.param({"estimate": "yes"}, "True or False", id="not a boolean"),
        pytest.param({"hosts": ["llm.lan"]}, "mapping of text", id="hosts"),
    ],
)
def test_a_bad_setting_is_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Tokenmeter(**given)


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        pytest.param("TOKENMETER_ESTIMATE", "maybe", "say true or false", id="boolean"),
        pytest.param("TOKENMETER_HOSTS", "llm.lan", "has no '='", id="pairs"),
        pytest.param("TOKENMETER_SPANS", "loud", "TOKENMETER_SPANS='loud'", id="choice"),
    ],
)
def test_a_bad_variable_is_named(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError, match=message):
        Tokenmeter()


def test_arguments_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENMETER_ASK_USAGE", "off")
    monkeypatch.setenv("TOKENMETER_HOSTS", "llm.lan=deepseek, 10.0.0.7:8000=alibaba")
    assert Tokenmeter().settings.ask_usage is False
    assert Tokenmeter(ask_usage=True).settings.ask_usage is True
    assert Tokenmeter().settings.hosts == {"llm.lan": "deepseek", "10.0.0.7:8000": "alibaba"}


@pytest.mark.parametrize("observed", [("outer",), ("middle",), ("inner",), ("outer", "inner"), ("outer", "middle")])
def test_calls_by_hand_in_each_other_count_once(meter: Tokenmeter, observed: tuple[str, ...]) -> None:
    usage = Usage(input_tokens=10, output_tokens=1)
    with capture(meter) as records, meter.scope("work") as scope, contextlib.ExitStack() as stack:
        for name in ("outer", "middle", "inner"):
            call = stack.enter_context(meter.call(provider="deepseek", model=name))
            if name in observed:
                call.observe_usage(usage)
    assert [record.request_model for record in records if record.end is not End.DELEGATED] == [observed[0]]
    assert scope.usage == {"input_tokens": 10, "output_tokens": 1}
    assert scope.calls == 1
    assert scope.pending == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"provider": print}, "call(<built-in function print>): name who bills", id="no name"),
        pytest.param({"provider": ""}, "call(''): name who bills", id="empty"),
        pytest.param({"provider": "openai", "model": 4}, "call(model=4): a model is named by its text", id="model"),
        pytest.param(
            {"provider": "openai", "api": "openai.chatt"},
            "call(api='openai.chatt'): there is no such wire format; did you mean 'openai.chat'", id="near format",
        ),
        pytest.param(
            {"provider": "openai", "api": "zzzz"}, "call(api='zzzz'): there is no such wire format; there are ",
            id="no format",
        ),
    ],
)  # fmt: skip
def test_arguments_that_no_call_can_have_are_refused(
    meter: Tokenmeter, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError) as raised:
        meter.call(**arguments)
    assert str(raised.value).startswith(message)


def test_provider_and_model_need_no_keyword(meter: Tokenmeter) -> None:
    with capture(meter) as records, meter.call("deepseek", "deepseek-chat") as call:
        call.observe_usage(Usage(input_tokens=1, output_tokens=1))
    assert records.only().cost.status == "priced"


def test_a_call_without_a_model_is_priced_by_its_answer_or_says_what_is_missing(meter: Tokenmeter) -> None:
    with capture(meter) as records:
        with meter.call("deepseek") as call:
            call.observe({"model": "deepseek-chat", "usage": {"prompt_tokens": 3, "completion_tokens": 2}})
        with meter.call("deepseek") as call:
            call.observe_usage(Usage(input_tokens=1, output_tokens=1))
    assert [record.cost.status for record in records] == ["priced", "unpriced"]
    assert 'call("deepseek", "deepseek-chat")' in (records[1].cost.reason or "")
