"""dspy, whose transport speaks HTTP over sockets of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tokenmeter import End, Source, Tokenmeter
from tokenmeter.testing import ProviderServer, Records, capture

dspy = pytest.importorskip("dspy", reason="needs dspy; `make test-sdks` has it")
MODEL = "openai/deepseek-chat"


@pytest.fixture
def records(server: ProviderServer) -> Iterator[Records]:
    meter = Tokenmeter(spans="none", hosts={server.host: "deepseek"})
    meter.instrument()
    with capture(meter) as found:
        yield found
    meter.uninstrument()
    meter.shutdown()


def model(server: ProviderServer, suffix: str = "", **options: Any) -> Any:
    return dspy.LM(MODEL + suffix, api_base=server.url("deepseek"), api_key="k", cache=False, num_retries=0, **options)


def test_a_call_is_metered_once(server: ProviderServer, records: Records) -> None:
    assert model(server)("hi")
    record = records.only()
    assert (record.provider, record.request_model, record.end) == ("deepseek", "deepseek-chat", End.COMPLETE)
    assert (record.usage.input_tokens, record.usage.output_tokens) == (24, 12)
    assert record.usage_source is Source.REPORTED
    assert record.cost.currency == "CNY"
    assert len(server.requests) == 1


def test_an_async_call_is_metered_once(server: ProviderServer, records: Records) -> None:
    assert asyncio.run(model(server).acall("hi"))
    assert (records.only().usage.output_tokens, len(server.requests)) == (12, 1)


def test_a_stream_is_metered_once(server: ProviderServer, records: Records) -> None:
    async def read() -> list[Any]:
        with dspy.context(lm=model(server)):
            program = dspy.streamify(dspy.Predict("question -> answer"))
            return [item async for item in program(question="hi")]

    with pytest.raises(Exception):  # noqa: B017, PT011  # the server's text is none of dspy's form
        asyncio.run(read())
    assert len(records) == len(server.requests) >= 1
    assert all(record.end in (End.COMPLETE, End.CLOSED_EARLY) for record in records)


def failure(server: ProviderServer) -> tuple[type[BaseException], str]:
    with pytest.raises(Exception) as raised:  # noqa: PT011  # whatever dspy makes of a 400
        model(server, ";status=400")("hi")
    return raised.type, str(raised.value)


def test_an_error_is_what_it_would_be(server: ProviderServer, request: pytest.FixtureRequest) -> None:
    bare = failure(server)
    records: Records = request.getfixturevalue("records")
    assert failure(server) == bare
    record = records.drain()[-1]
    assert (record.end, record.status_code) == (End.ERROR, 400)
