"""Figures that need a process of their own: `process.py MODE [--quick]`. Prints one JSON object.

MODE is one of cold, import, memory, concurrent and ledger.

CPU time, but for `memory` (bytes an open stream holds) and `ledger` (CPU of one record, by rows that are there).
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import tempfile
import time
import tracemalloc
from typing import Any

QUICK = "--quick" in sys.argv
CHUNKS = 1000
STREAMS = 50 if QUICK else 1000
ROWS = (0, 200, 400) if QUICK else (0, 10_000, 50_000)


def cold() -> dict[str, float]:
    """Milliseconds until a client is metered, and those of its first calls beyond a bare one."""
    import calls
    import instruments

    otel = instruments.providers()
    client, _ = calls.client()
    for _ in range(3):
        calls.call(client)
    clock = time.process_time
    started = clock()
    calls.call(client)
    bare = clock() - started
    started = clock()
    import tokenmeter

    meter = tokenmeter.Tokenmeter(tracer_provider=otel.tracing, meter_provider=otel.metering)
    meter.wrap(client)
    ready = clock()
    calls.call(client)
    first = clock()
    calls.call(client)
    second = clock()
    meter.flush()
    flushed = clock()
    return {
        "set-up": (ready - started) * 1000,
        "first call": (first - ready - bare) * 1000,
        "second call": (second - first - bare) * 1000,
        "flush": (flushed - second) * 1000,
    }


def import_() -> dict[str, float]:
    """Milliseconds of the import beyond that of opentelemetry-api."""
    import opentelemetry.metrics
    import opentelemetry.trace  # noqa: F401

    started = time.process_time()
    import tokenmeter  # noqa: F401

    return {"import": (time.process_time() - started) * 1000}


def memory() -> dict[str, float]:
    """Bytes that an open stream holds after 40 of its 1,000 chunks, bare and metered."""
    import calls

    import tokenmeter

    def opened(client: Any) -> Any:
        stream = client.chat.completions.create(
            model="gpt-4o", messages=calls.MESSAGES, stream=True, stream_options={"include_usage": True}
        )
        for _ in range(40):
            next(stream)
        return stream

    meter = tokenmeter.Tokenmeter()
    found: dict[str, float] = {}
    for name in ("bare", "metered"):
        client, transport = calls.client()
        transport.chunks = CHUNKS
        if name == "metered":
            meter.wrap(client)
        opened(client).close()
        meter.flush()  # what an unfinished stream loads once, to count its text, is no stream's
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        held = [opened(client) for _ in range(10 if QUICK else 200)]
        gc.collect()
        found[name] = (tracemalloc.get_traced_memory()[0] - before) / len(held)
        tracemalloc.stop()
        for stream in held:
            stream.close()
    return found


def concurrent() -> dict[str, float]:
    """Milliseconds of CPU of one of 1,000 concurrent async streams of 15 events, best of five turns each."""
    import calls
    import openai

    import tokenmeter

    meter = tokenmeter.Tokenmeter()

    async def read(client: Any) -> None:
        stream = await client.chat.completions.create(
            model="gpt-4o", messages=calls.MESSAGES, stream=True, stream_options={"include_usage": True}
        )
        async for _ in stream:
            await asyncio.sleep(0)

    async def many(client: Any, streams: int) -> None:
        await asyncio.gather(*[read(client) for _ in range(streams)])

    best: dict[str, float] = {}
    for turn in range(2 if QUICK else 6):
        for name in ("bare", "metered") if turn % 2 else ("metered", "bare"):
            client, transport = calls.client("openai", openai.AsyncOpenAI)
            transport.chunks = 12
            if name == "metered":
                meter.wrap(client)
            asyncio.run(many(client, 20))
            client, transport = calls.client("openai", openai.AsyncOpenAI)
            transport.chunks = 12
            if name == "metered":
                meter.wrap(client)
            gc.collect()
            started = time.process_time()
            asyncio.run(many(client, STREAMS))
            took = (time.process_time() - started) / STREAMS * 1000
            best[name] = min(took, best.get(name, took))
    return best


def ledger() -> dict[str, float]:
    """Microseconds of CPU, the writing thread's too, of one record in a ledger that has so many rows."""
    import calls

    import tokenmeter

    taken = []
    one = tokenmeter.Tokenmeter(sinks=[Taken(taken)])
    calls.call(one.wrap(calls.client()[0]))
    one.flush()
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        from dataclasses import replace

        from tokenmeter.ledger.writer import Ledger

        writer = Ledger(f"{folder}/ledger.db")
        there = 0
        for rows in ROWS:
            while there < rows:
                for _ in range(min(2000, rows - there)):
                    there += 1
                    writer.write(replace(taken[0], id=f"row{there}"))
                writer.flush(60.0)
            records = [replace(taken[0], id=f"measured{rows}-{number}") for number in range(100 if QUICK else 2000)]
            started = time.process_time()
            for record in records:
                writer.write(record)
            writer.flush(60.0)
            found[str(rows)] = (time.process_time() - started) / len(records) * 1e6
            there += len(records)
        writer.close(5.0)
    return found


class Taken:
    """A sink that keeps records."""

    def __init__(self, into: list[Any]) -> None:
        self._into = into

    def write(self, record: Any) -> None:
        self._into.append(record)

    def flush(self, timeout: float) -> bool:
        return True

    def close(self, timeout: float) -> None:
        return None


def main() -> None:
    """Measure what the argument names."""
    modes = {"cold": cold, "import": import_, "memory": memory, "concurrent": concurrent, "ledger": ledger}
    print("\n" + json.dumps(modes[sys.argv[1]]()), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
