"""Every way in which a call can end: the caller gets what a bare call gives, and one record says how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

import tokenmeter
from tests.rigs.forms import MESSAGES
from tokenmeter import End, Record, Source, Tokenmeter
from tokenmeter.testing import ProviderServer, Records, capture

Make = Callable[..., Any]
KINDS = ["sync", "async"]


@dataclass(frozen=True)
class Outcome:
    """What a caller saw: so many chunks, then perhaps an exception of a type with a message."""

    chunks: int
    error: str | None
    message: str = ""


def consume(client: Any, model: str, *, stream: bool, most: int | None = None) -> Outcome:
    """Make a call and read it; with `most`, break off after so many chunks and close."""
    if isinstance(client, openai.AsyncOpenAI):
        return asyncio.run(_consume_async(client, model, stream=stream, most=most))
    seen = 0
    try:
        got = client.chat.completions.create(model=model, messages=MESSAGES, stream=stream)
        if stream:
            with got:
                for _ in got:
                    seen += 1
                    if seen == most:
                        break
    except Exception as error:  # noqa: BLE001 the comparison is about whatever comes
        return Outcome(seen, f"{type(error).__module__}.{type(error).__qualname__}", str(error))
    return Outcome(seen, None)


async def _consume_async(client: Any, model: str, *, stream: bool, most: int | None) -> Outcome:
    seen = 0
    async with client:
        try:
            got = await client.chat.completions.create(model=model, messages=MESSAGES, stream=stream)
            if stream:
                async with got:
                    async for _ in got:
                        seen += 1
                        if seen == most:
                            break
        except Exception as error:  # noqa: BLE001
            return Outcome(seen, f"{type(error).__module__}.{type(error).__qualname__}", str(error))
    return Outcome(seen, None)


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest, bare: Make, bare_async: Make) -> Make:
    return bare if request.param == "sync" else bare_async


@pytest.mark.parametrize(
    ("suffix", "end", "statuses"),
    [
        pytest.param("fail=2", End.COMPLETE, [500, 500, 200], id="two failures, then success"),
        pytest.param("fail=1;status=429", End.COMPLETE, [429, 200], id="rate limited once"),
        pytest.param("status=500", End.ERROR, [500, 500, 500], id="every attempt fails"),
        pytest.param("status=401", End.ERROR, [401], id="not to be tried again"),
        pytest.param("status=404", End.ERROR, [404], id="no such model"),
        pytest.param("bad=1", End.COMPLETE, [200], id="JSON cut short"),
        pytest.param("bad=html", End.COMPLETE, [200], id="a page"),
        pytest.param("bad=null", End.COMPLETE, [200], id="choices: [null]"),
        pytest.param("bad=empty", End.COMPLETE, [200], id="no body"),
        pytest.param("bad=list", End.COMPLETE, [200], id="an array"),
        pytest.param("gzip=1;lang=zh", End.COMPLETE, [200], id="packed"),
    ],
)
def test_a_plain_call(
    suffix: str,
    end: End,
    statuses: list[int],
    make: Make,
    meter: Tokenmeter,
    records: Records,
    server: ProviderServer,
) -> None:
    model = f"gpt-4o;{suffix}"
    expected = consume(make(), model, stream=False)
    server.clear()
    assert consume(meter.wrap(make(), provider="openai"), model, stream=False) == expected
    assert [request.status for request in server.requests] == statuses
    assert len({request.body for request in server.requests}) == 1
    record = records.only()
    assert [attempt.status for attempt in record.attempts] == statuses
    # The answer of a call whose body no client can read still came from the vendor: the SDK's complaint is the error.
    assert record.end is (End.ERROR if expected.error else end)
    assert [attempt.usage for attempt in record.attempts[:-1]] == [False] * (len(statuses) - 1)
    if expected.error is None and "bad" not in suffix:
        assert (record.usage.input_tokens, record.usage.output_tokens) == (24, 12)
        assert record.usage.source is Source.REPORTED
    elif "bad=null" not in suffix:
        assert record.usage.source_of("input_tokens") is not Source.REPORTED
        assert record.reason
    if statuses[-1] >= 400:
        assert record.status_code == statuses[-1]
        assert record.error_type == expected.error.rpartition(".")[2] if expected.error else False
        _unpriced(record)


def _unpriced(record: Record) -> None:
    assert record.cost.total is None
    assert record.cost.status == "unpriced"


@pytest.mark.parametrize(
    ("suffix", "end"),
    [
        pytest.param("drop=4", End.ERROR, id="connection dropped"),
        pytest.param("err=3", End.ERROR, id="error event"),
        pytest.param("bad=1", End.ERROR, id="malformed event"),
        pytest.param("hang=3", End.ERROR, id="hangs until the timeout"),
        pytest.param("frag=3;gzip=1;lang=zh", End.COMPLETE, id="fragments, packed, Chinese"),
        pytest.param("frag=1;lang=mixed", End.COMPLETE, id="single bytes"),
        pytest.param("bad=null", End.COMPLETE, id="choices: [null]"),
        pytest.param("fail=2", End.COMPLETE, id="two failures, then success"),
        pytest.param("status=503", End.ERROR, id="every attempt fails"),
    ],
)
def test_a_stream(
    suffix: str, end: End, make: Make, meter: Tokenmeter, records: Records, server: ProviderServer
) -> None:
    model = f"gpt-4o;{suffix}"
    options = {"timeout": 1.0} if "hang" in suffix else {}
    expected = consume(make(**options), model, stream=True)
    sent = len(server.requests)
    server.clear()
    assert consume(meter.wrap(make(**options), provider="openai"), model, stream=True) == expected
    assert len(server.requests) == sent
    record = records.only()
    assert record.end is end
    assert (expected.error is None) == (end is End.COMPLETE)
    if end is End.COMPLETE:
        assert (record.usage.input_tokens, record.usage.output_tokens) == (24, 12)
    elif "status" not in suffix:
        _estimated(record)


def _estimated(record: Record) -> None:
    """No usage came, yet something was sent and received: counted, with its range, and never called reported."""
    for name in ("input_tokens", "output_tokens"):
        assert record.usage.source_of(name) in (Source.COUNTED, Source.ESTIMATED)
        low, high = record.usage.ranges[name]
        assert low <= getattr(record.usage, name) <= high


def test_left_early_and_closed(make: Make, meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    model = "gpt-4o;chunks=300;delay=2"
    expected = consume(make(), model, stream=True, most=5)
    server.clear()
    assert consume(meter.wrap(make(), provider="openai"), model, stream=True, most=5) == expected
    assert server.settled()
    assert server.requests[0].disconnected
    record = records.only()
    assert record.end is End.CLOSED_EARLY
    _estimated(record)


def test_left_early_in_the_helper(meter: Tokenmeter, records: Records, server: ProviderServer, bare: Make) -> None:
    client = meter.wrap(bare(), provider="openai")
    with client.chat.completions.stream(model="gpt-4o;chunks=300;delay=2", messages=MESSAGES) as stream:
        next(iter(stream))
    assert records.only().end is End.CLOSED_EARLY


def test_broken_out_of_and_forgotten(meter: Tokenmeter, records: Records, server: ProviderServer, bare: Make) -> None:
    client = meter.wrap(bare(), provider="openai")
    stream = client.chat.completions.create(model="gpt-4o;chunks=300;delay=2", messages=MESSAGES, stream=True)
    for _ in stream:
        break
    assert len(records) == 0
    del stream, _
    gc.collect()
    record = records.only()
    assert record.end is End.DROPPED
    _estimated(record)


def test_never_read_and_forgotten(meter: Tokenmeter, records: Records, server: ProviderServer, bare: Make) -> None:
    client = meter.wrap(bare(), provider="openai")
    client.chat.completions.create(model="gpt-4o;chunks=300;delay=2", messages=MESSAGES, stream=True)
    assert records.only().end in (End.DROPPED, End.CLOSED_EARLY)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_a_cancelled_task(
    stream: bool, meter: Tokenmeter, records: Records, server: ProviderServer, bare_async: Make
) -> None:
    async def cancelled() -> None:
        async with meter.wrap(bare_async(), provider="openai") as client:
            begun = asyncio.Event()

            async def read() -> None:
                if not stream:
                    begun.set()
                    await client.chat.completions.create(model="gpt-4o;hang=0", messages=MESSAGES)
                async for _ in await client.chat.completions.create(
                    model="gpt-4o;hang=3", messages=MESSAGES, stream=True
                ):
                    begun.set()

            task = asyncio.create_task(read())
            await begun.wait()
            while not server.requests:
                await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            assert task.cancelled()

    asyncio.run(cancelled())
    record = records.only()
    assert record.end is End.CANCELLED
    assert len(server.requests) == 1
    if stream:
        _estimated(record)


def test_a_timeout_and_another_try(make: Make, meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    options = {"timeout": 0.4, "max_retries": 1}  # long enough to send in, on a busy machine too
    expected = consume(make(**options), "gpt-4o;ttft=8000", stream=False)
    assert expected.error == "openai.APITimeoutError"
    server.clear()
    assert consume(meter.wrap(make(**options), provider="openai"), "gpt-4o;ttft=8000", stream=False) == expected
    assert len(server.requests) == 2
    record = records.only()
    assert (record.end, record.error_type) == (End.ERROR, "APITimeoutError")
    assert [attempt.status for attempt in record.attempts] == [None, None]
    assert all(attempt.error and attempt.reason for attempt in record.attempts)
    _unpriced(record)


def test_nobody_listens_at_the_address(meter: Tokenmeter, records: Records) -> None:
    client = meter.wrap(openai.OpenAI(base_url="http://127.0.0.1:9/v1", api_key="k", max_retries=0), provider="openai")
    with pytest.raises(openai.APIConnectionError):
        client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    assert records.only().end is End.ERROR


def test_many_at_once_are_each_counted_once(
    meter: Tokenmeter, records: Records, server: ProviderServer, bare_async: Make
) -> None:
    async def together() -> None:
        async with meter.wrap(bare_async(), provider="openai") as client:

            async def one(number: int) -> None:
                model = f"gpt-4o;out={number};ttft={number % 7}"
                got = await client.chat.completions.create(model=model, messages=MESSAGES, stream=number % 2 == 0)
                if number % 2 == 0:
                    async for _ in got:
                        pass

            await asyncio.gather(*[one(number) for number in range(1, 41)])

    asyncio.run(together())
    assert len(server.requests) == 40
    records.drain()
    assert sorted(record.usage.output_tokens or 0 for record in records) == list(range(1, 41))
    assert {record.end for record in records} == {End.COMPLETE}


def test_a_generator_that_is_closed(meter: Tokenmeter, records: Records, server: ProviderServer, bare: Make) -> None:
    client = meter.wrap(bare(), provider="openai")

    def words() -> Any:
        yield from client.chat.completions.create(model="gpt-4o;chunks=300;delay=2", messages=MESSAGES, stream=True)

    generator = words()
    next(generator)
    generator.close()
    del generator
    assert records.only().end in (End.CLOSED_EARLY, End.DROPPED)


CLOSERS = {
    "with": "with make() as stream:\n  for chunk in stream: yield chunk",
    "finally": "stream = make()\n try:\n  for chunk in stream: yield chunk\n finally: stream.close()",
    "httpx": "with http() as answer:\n  for piece in answer.iter_bytes(): yield piece",
}


class Watched:
    """A sink that notes when a record came."""

    def __init__(self) -> None:
        self.came = threading.Event()
        self.records: list[Record] = []

    def write(self, record: Record) -> None:
        self.records.append(record)
        self.came.set()

    def flush(self, timeout: float) -> bool:
        return True

    def close(self, timeout: float) -> None: ...


@pytest.mark.parametrize("collected", [False, True], ids=["closed", "collected"])
@pytest.mark.parametrize("closer", CLOSERS)
def test_a_stream_that_a_generator_closes_is_settled_by_itself_and_with_its_true_end(
    closer: str, collected: bool, meter: Tokenmeter, server: ProviderServer, bare: Make
) -> None:
    sink = Watched()
    meter.add_sink(sink)
    client = meter.wrap(bare(), provider="openai")
    asked = {"model": "gpt-4o;chunks=300;delay=2", "messages": MESSAGES, "stream": True}
    http = meter.wrap(httpx.Client(), provider="openai")
    space: dict[str, Any] = {
        "make": lambda: client.chat.completions.create(**asked),
        "http": lambda: http.stream("POST", server.url() + "/chat/completions", json=asked),
    }
    exec(f"def words():\n {CLOSERS[closer]}", space)
    words = space["words"]()
    next(words)
    if not collected:
        words.close()
    del words
    gc.collect()
    over = time.time_ns()
    assert sink.came.wait(10), "the record waits for another call"
    waited = time.time_ns() - over
    record = sink.records[0]
    assert record.end is End.CLOSED_EARLY
    assert record.ended_ns <= over
    assert waited < 1e9  # 20 ms, on a machine that is not busy
    http.close()


def test_nothing_is_settled_inside_a_finalizer(meter: Tokenmeter, server: ProviderServer, bare: Make) -> None:
    sink = Watched()
    meter.add_sink(sink)
    client = meter.wrap(bare(), provider="openai")
    stream = client.chat.completions.create(model="gpt-4o;chunks=300;delay=2", messages=MESSAGES, stream=True)
    next(stream)
    threads: list[int] = []
    sink.write = lambda record: (threads.append(threading.get_ident()), sink.came.set())  # type: ignore[method-assign]
    del stream
    gc.collect()
    assert sink.came.wait(10)
    assert threads != [threading.get_ident()]


ALONE = """
import gc, os, sys, openai, tokenmeter
{meter}
client = meter.wrap(openai.OpenAI(base_url={url!r}, api_key="k"), provider="openai")
def begin():
    stream = client.chat.completions.create(model="gpt-4o;chunks=40", messages={messages!r}, stream=True)
    return stream, [next(stream) for _ in range(5)]
{rest}
"""
BARE = "class meter: wrap = staticmethod(lambda client, provider: client); flush = staticmethod(lambda: None)"
DEFAULT = "meter = tokenmeter.configure(ledger={path!r}, spans='none')"
OWN = "meter = tokenmeter.Tokenmeter(ledger={path!r}, spans='none')"
FORKED = """
stream, _ = begin()
if os.fork() == 0:
    del stream
    gc.collect()
    meter.flush()
    sys.exit()
os.wait()
list(stream)
"""


@pytest.mark.parametrize(
    ("meter", "rest", "ends"),
    [
        pytest.param(DEFAULT, "stream, _ = begin()", ["dropped"], id="still open"),
        pytest.param(OWN, "stream, _ = begin()", ["dropped"], id="still open, a meter of its own"),
        pytest.param(OWN, "begin()", ["dropped"], id="forgotten, a meter of its own"),
        pytest.param(DEFAULT, FORKED, ["complete"], id="forgotten in a fork, read in the parent"),
    ],
)
def test_a_stream_at_the_end_of_its_process(
    meter: str, rest: str, ends: list[str], server: ProviderServer, tmp_path: Path
) -> None:
    path = str(tmp_path / "spend.db")
    bare = ALONE.format(meter=BARE, url=server.url(), messages=MESSAGES, rest=rest)
    if subprocess.run([sys.executable, "-c", bare], capture_output=True, timeout=60, check=False).returncode < 0:
        pytest.skip("this Python crashes at the end of the same program without us (3.13.0 does)")
    program = ALONE.format(meter=meter.format(path=path), url=server.url(), messages=MESSAGES, rest=rest)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    with contextlib.closing(sqlite3.connect(path)) as ledger:
        found = ledger.execute("SELECT end_state, output_tokens > 0 FROM calls").fetchall()
    assert found == [(end, 1) for end in ends]


def test_a_stream_forgotten_after_configure_is_recorded(server: ProviderServer, bare: Make) -> None:
    tokenmeter.configure(spans="none")
    try:
        client = tokenmeter.wrap(bare(), provider="openai")
        stream = client.chat.completions.create(model="gpt-4o;chunks=40", messages=MESSAGES, stream=True)
        next(stream)
        tokenmeter.configure(spans="none")
        with capture() as records:
            del stream
            gc.collect()
            assert records.only().end is End.DROPPED
    finally:
        tokenmeter.configure(replace=True)
