"""`capture`, the clock and the fixtures, as users' own tests use them."""

from __future__ import annotations

import gc
import subprocess
import sys
from datetime import timedelta
from typing import Any

import openai
import pytest

import tokenmeter
from tokenmeter import Tokenmeter
from tokenmeter.testing import FixedClock, ProviderServer, Records, capture, provider_server

MESSAGES: Any = [{"role": "user", "content": "hi"}]


def client(server: ProviderServer) -> openai.OpenAI:
    return openai.OpenAI(base_url=server.url("deepseek"), api_key="any")


def test_the_fixtures_meter_the_default(tokenmeter_capture: Records, tokenmeter_provider: ProviderServer) -> None:
    mine = tokenmeter.wrap(client(tokenmeter_provider), provider="deepseek")
    mine.chat.completions.create(model="deepseek-chat", messages=MESSAGES)
    record = tokenmeter_capture.only()
    assert (record.provider, record.request_model, record.usage.input_tokens) == ("deepseek", "deepseek-chat", 24)


def test_only_says_what_it_found_instead() -> None:
    meter = Tokenmeter(spans="none")
    with provider_server() as server, capture(meter) as records:
        with pytest.raises(AssertionError, match="found 0"):
            records.only()
        mine = meter.wrap(client(server), provider="deepseek")
        for _ in range(2):
            mine.chat.completions.create(model="deepseek-chat", messages=MESSAGES)
        with pytest.raises(AssertionError, match="deepseek deepseek-chat chat: complete"):
            records.only()


def test_a_forgotten_stream_is_there_after_drain() -> None:
    meter = Tokenmeter(spans="none")
    with provider_server() as server, capture(meter) as records:
        stream = meter.wrap(client(server), provider="deepseek").chat.completions.create(
            model="deepseek-chat;chunks=200;delay=2", messages=MESSAGES, stream=True
        )
        next(iter(stream))
        del stream
        gc.collect()
        assert len(records.drain()) == 1


def test_after_the_block_nothing_is_collected() -> None:
    meter = Tokenmeter(spans="none")
    with provider_server() as server:
        mine = meter.wrap(client(server), provider="deepseek")
        with capture(meter) as records:
            mine.chat.completions.create(model="deepseek-chat", messages=MESSAGES)
        mine.chat.completions.create(model="deepseek-chat", messages=MESSAGES)
    assert len(records) == 1


def test_a_call_begins_when_the_clock_says() -> None:
    clock = FixedClock("2026-01-31T23:30:00+08:00")
    meter = Tokenmeter(spans="none", clock=clock)
    with provider_server() as server, capture(meter) as records:
        mine = meter.wrap(client(server), provider="deepseek")
        mine.chat.completions.create(model="deepseek-chat", messages=MESSAGES)
        clock.advance(timedelta(hours=1))
        mine.chat.completions.create(model="deepseek-chat", messages=MESSAGES)
        clock.advance(0.5)
        mine.chat.completions.create(model="deepseek-chat", messages=MESSAGES)
    began = [record.started_at.isoformat() for record in records]
    assert began == ["2026-01-31T15:30:00+00:00", "2026-01-31T16:30:00+00:00", "2026-01-31T16:30:00.500000+00:00"]


def test_a_clock_needs_an_offset() -> None:
    with pytest.raises(ValueError, match="offset"):
        FixedClock("2026-01-31T10:00:00")


def test_the_plugin_loads_nothing_of_ours_until_asked() -> None:
    code = (
        "import sys, tokenmeter.testing\n"
        "before = set(sys.modules)\n"
        "import tokenmeter.testing.pytest_plugin\n"
        "ours = {name for name in set(sys.modules) - before if name.startswith('tokenmeter')}\n"
        "assert ours == {'tokenmeter.testing.pytest_plugin'}, ours\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
