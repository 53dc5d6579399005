"""llama.cpp's server: an independent program that speaks three wire formats and counts by itself.

The real SDKs talk to it, metered. What a record says must be what the server's own counters say (`/metrics`), which no
answer carries and which go on where an answer has no usage or the caller leaves early.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import tokenmeter
from tests.rigs.services import fetch, until
from tokenmeter.money import Money
from tokenmeter.record import Record
from tokenmeter.testing import capture
from tokenmeter.usage import Source

openai = pytest.importorskip("openai", reason="calls are made with the openai SDK")
anthropic = pytest.importorskip("anthropic", reason="calls are made with the anthropic SDK")

PRICES = """
provider = "{provider}"
currency = "{currency}"
timezone = "UTC"
read = 2026-11-01
[[rate]]
model = "tiny"
effective = 2026-01-01
input = 3
cache_read = 1
output = 7
source = "made for a test"
"""
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
]


@pytest.fixture
def prices(tmp_path: Path) -> Path:
    for provider, currency in (("siliconflow", "CNY"), ("anthropic", "USD")):
        (tmp_path / f"{provider}.toml").write_text(PRICES.format(provider=provider, currency=currency), "utf-8")
    return tmp_path


@pytest.fixture
def meter(prices: Path) -> Iterator[tokenmeter.Tokenmeter]:
    meter = tokenmeter.Tokenmeter(prices=prices)
    yield meter
    meter.shutdown()


class Truth(NamedTuple):
    """What the server has worked: tokens of prompts, those of them from its cache, and tokens of answers."""

    prompt: int
    cached: int
    output: int


class Server:
    """The server and its counters."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._before = self._counted()

    def _counted(self) -> Truth:
        found = dict(re.findall(r"^llamacpp:(\w+) (\d+)$", fetch(f"{self.address}/metrics"), re.MULTILINE))
        worked, cached = int(found["prompt_tokens_total"]), int(found["prompt_tokens_cached_total"])
        return Truth(worked + cached, cached, int(found["tokens_predicted_total"]))

    def truth(self) -> Truth:
        """What it has worked since this was last asked."""
        idle = re.compile(r"^llamacpp:requests_processing 0$", re.MULTILINE)
        until(lambda: bool(idle.search(fetch(f"{self.address}/metrics"))), "the server's last request")
        before, self._before = self._before, self._counted()
        return Truth(*(now - then for now, then in zip(self._before, before, strict=True)))


@pytest.fixture
def server(llama: str) -> Server:
    return Server(llama)


def chatting(meter: tokenmeter.Tokenmeter, server: Server) -> Any:
    client = openai.OpenAI(base_url=f"{server.address}/v1", api_key="any", max_retries=0)
    return meter.wrap(client, provider="siliconflow")


def conversing(meter: tokenmeter.Tokenmeter, server: Server) -> Any:
    client = anthropic.Anthropic(base_url=server.address, api_key="any", max_retries=0)
    return meter.wrap(client, provider="anthropic")


def fresh() -> list[Any]:
    """A conversation that the server has not cached but for its first tokens."""
    return [{"role": "user", "content": f"{uuid.uuid4().hex} hello the thing and the other"}]


def check(record: Record, truth: Truth, currency: str) -> None:
    """The record says what the server says, and costs what that costs."""
    usage = record.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens or 0, usage.output_tokens) == truth
    assert truth.prompt > 20
    assert truth.output > 0
    assert usage.source is Source.REPORTED
    assert (record.model, str(record.end)) == ("tiny", "complete")
    expected = Decimal(3 * (truth.prompt - truth.cached) + 1 * truth.cached + 7 * truth.output) / 10**6
    assert record.cost.total == Money(expected, currency)


# The OpenAI shape -------------------------------------------------------------------------------------------------


def plain(client: Any, messages: list[Any]) -> None:
    answer = client.chat.completions.create(model="tiny", messages=messages, max_tokens=8)
    assert answer.usage.prompt_tokens >= answer.usage.prompt_tokens_details.cached_tokens


def tools(client: Any, messages: list[Any]) -> None:
    client.chat.completions.create(model="tiny", messages=messages, max_tokens=8, tools=TOOLS, tool_choice="none")


def stream(client: Any, messages: list[Any]) -> None:
    chunks = list(client.chat.completions.create(model="tiny", messages=messages, max_tokens=8, stream=True))
    assert all(chunk.choices and chunk.usage is None for chunk in chunks), "what we asked for is hidden from the caller"


def stream_with_usage(client: Any, messages: list[Any]) -> None:
    options = {"include_usage": True}
    *_, last = client.chat.completions.create(
        model="tiny", messages=messages, max_tokens=8, stream=True, stream_options=options
    )
    assert last.usage.completion_tokens > 0, "what the caller asked for is the caller's"


def stream_with_tools(client: Any, messages: list[Any]) -> None:
    list(client.chat.completions.create(model="tiny", messages=messages, max_tokens=8, tools=TOOLS, stream=True))


def raw(client: Any, messages: list[Any]) -> None:
    reply = client.chat.completions.with_raw_response.create(model="tiny", messages=messages, max_tokens=8)
    assert reply.parse().usage.completion_tokens > 0


def responses(client: Any, messages: list[Any]) -> None:
    answer = client.responses.create(model="tiny", input=messages, max_output_tokens=8)
    assert answer.usage.input_tokens >= answer.usage.input_tokens_details.cached_tokens


def responses_stream(client: Any, messages: list[Any]) -> None:
    *_, last = client.responses.create(model="tiny", input=messages, max_output_tokens=8, stream=True)
    assert last.type == "response.completed"


CHATS = [plain, tools, stream, stream_with_usage, stream_with_tools, raw, responses, responses_stream]


@pytest.mark.parametrize("ask", CHATS, ids=lambda ask: ask.__name__)
def test_openais_shape_and_again_from_the_cache(ask: Any, meter: tokenmeter.Tokenmeter, server: Server) -> None:
    client, messages = chatting(meter, server), fresh()
    for again in (False, True):
        with capture(meter) as records:
            ask(client, messages)
        truth = server.truth()
        assert (truth.cached == truth.prompt - 1) is again, "all but the last token, which llama.cpp always works"
        check(records.only(), truth, "CNY")


# The Anthropic shape ----------------------------------------------------------------------------------------------


def message(client: Any, messages: list[Any]) -> None:
    answer = client.messages.create(model="tiny", messages=messages, max_tokens=8)
    if answer.usage.cache_read_input_tokens > 20:
        assert answer.usage.input_tokens < 20, "cached tokens stand outside the input's"


def message_with_tools(client: Any, messages: list[Any]) -> None:
    offered = [{"name": "look", "description": "look around", "input_schema": {"type": "object", "properties": {}}}]
    client.messages.create(model="tiny", messages=messages, max_tokens=8, tools=offered, tool_choice={"type": "none"})


def message_stream(client: Any, messages: list[Any]) -> None:
    events = list(client.messages.create(model="tiny", messages=messages, max_tokens=8, stream=True))
    assert events[-1].type == "message_stop"


def message_helper(client: Any, messages: list[Any]) -> None:
    with client.messages.stream(model="tiny", messages=messages, max_tokens=8) as helper:
        assert helper.get_final_message().usage.output_tokens > 0


MESSAGES = [message, message_with_tools, message_stream, message_helper]


@pytest.mark.parametrize("ask", MESSAGES, ids=lambda ask: ask.__name__)
def test_anthropics_shape_and_again_from_the_cache(ask: Any, meter: tokenmeter.Tokenmeter, server: Server) -> None:
    client, messages = conversing(meter, server), fresh()
    for again in (False, True):
        with capture(meter) as records:
            ask(client, messages)
        truth = server.truth()
        assert (truth.cached == truth.prompt - 1) is again, "all but the last token, which llama.cpp always works"
        check(records.only(), truth, "USD")


def test_counting_tokens_is_no_call_to_a_model(meter: tokenmeter.Tokenmeter, server: Server) -> None:
    client = conversing(meter, server)
    with capture(meter) as records:
        assert client.messages.count_tokens(model="tiny", messages=fresh()).input_tokens > 20
    records.drain()
    assert list(records) == []


def test_a_plain_request_to_a_host_of_the_users_own(prices: Path, server: Server) -> None:
    httpx = pytest.importorskip("httpx", reason="the request is made with httpx")
    meter = tokenmeter.Tokenmeter(prices=prices, hosts={server.address.removeprefix("http://"): "siliconflow"})
    meter.instrument()
    try:
        with capture(meter) as records:
            body = {"model": "tiny", "messages": fresh(), "max_tokens": 8}
            assert httpx.post(f"{server.address}/v1/chat/completions", json=body, timeout=60).status_code == 200
        check(records.only(), server.truth(), "CNY")
    finally:
        meter.uninstrument()
        meter.shutdown()


# Without a usage from the server ----------------------------------------------------------------------------------


def test_a_stream_that_is_not_asked_says_that_its_numbers_are_ours(prices: Path, server: Server) -> None:
    meter = tokenmeter.Tokenmeter(prices=prices, ask_usage=False)
    with capture(meter) as records:
        stream(chatting(meter, server), fresh())
    usage, truth = records.only().usage, server.truth()
    assert records.only().usage_source in (Source.COUNTED, Source.ESTIMATED)
    low, high = usage.ranges["input_tokens"]
    assert usage.input_tokens is not None
    assert low <= usage.input_tokens <= high
    assert truth.prompt > 20
    assert records.only().cost.total is not None
    meter.shutdown()


def test_a_stream_left_early_is_billed_for_what_the_caller_saw(meter: tokenmeter.Tokenmeter, server: Server) -> None:
    with capture(meter) as records:
        answer = chatting(meter, server).chat.completions.create(
            model="tiny", messages=fresh(), max_tokens=2000, stream=True
        )
        for _ in range(5):
            next(answer)
        answer.close()
    record = records.only()
    assert str(record.end) == "closed_early"
    assert record.usage_source in (Source.COUNTED, Source.ESTIMATED)
    assert record.usage.output_tokens is not None
    assert record.usage.output_tokens < 100, "what was read, not what the server went on to say"
    assert server.truth().prompt > 20, "and the server had worked all of the prompt"
