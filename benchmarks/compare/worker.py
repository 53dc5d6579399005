"""One process of the comparison: `worker.py VARIANT DISTRIBUTION [LIBRARY]`, run in that variant's environment.

Measures the bare calls first, then the same calls with the instrumentation on. Under callgrind the unit is the
instruction, and the profile's parts are read by the parent. Elsewhere it is the thread's CPU time, with bare and
instrumented calls by turns: the patched methods are put back and forth between two calls, outside of the clock.
Prints one JSON object with what was recorded and, without callgrind, the figures.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import calls
import instruments
import openai
from openai.resources.chat import completions
from opentelemetry import trace

Run = Callable[[int], None]
WARM = 131
"""Calls before the first that is measured: twice what is put off at most, and a few."""


class Callgrind:
    """The library that `callgrind.c` makes; what it measures is found in the profile by its name."""

    def __init__(self, library: str) -> None:
        self._library = ctypes.CDLL(library)

    def measure(self, name: str, run: Run, times: int) -> None:
        """Count the instructions of `times` calls, collector of garbage off."""
        run(WARM if times > 9 else 4)
        with quiet():
            self._library.begin()
            run(1)
            self._library.zero()
            run(times)
            self._library.dump(f"{name}*{times}".encode())
            self._library.end()


@contextmanager
def quiet() -> Iterator[None]:
    """No collection of garbage inside."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


loop = asyncio.new_event_loop()


def repeated(one: Callable[[], Any]) -> Run:
    def run(times: int) -> None:
        for _ in range(times):
            one()

    return run


def awaited(one: Callable[[], Any]) -> Run:
    async def many(times: int) -> None:
        for _ in range(times):
            await one()

    return lambda times: loop.run_until_complete(many(times))


def plain(prepare: Callable[[Any], Any] = lambda client: client) -> dict[str, tuple[Run, int]]:
    """The calls that every instrumentation is measured by."""
    client = prepare(calls.client("openai", instruments.CLASSES["sync"])[0])
    streaming = prepare(calls.client("openai", instruments.CLASSES["sync"])[0])
    return {
        "call": (repeated(lambda: calls.call(client)), 64),
        "stream": (repeated(lambda: calls.stream(streaming)), 5),
    }


def peer(name: str, callgrind: Callgrind | None) -> dict[str, Any]:
    """An instrumentation of others: its figures and what it recorded."""
    if callgrind is not None:
        for case, (run, times) in plain().items():
            callgrind.measure(f"bare {case}", run, times)
    toggle = Patches()
    kept = instruments.PEERS[name]()
    toggle.taken()
    cases = plain()
    figures: dict[str, Any] = {}
    for case, (run, times) in cases.items():
        if callgrind is not None:
            callgrind.measure(case, run, times)
        else:
            figures[case] = interleaved(toggle, run, 200 if times > 9 else 30)
    found = {}
    for vendor in calls.MODEL:
        client, _ = calls.client(vendor, instruments.CLASSES["sync"])
        calls.call(client, calls.MODEL[vendor])
        getattr(trace.get_tracer_provider(), "force_flush", lambda: None)()
        found[vendor] = instruments.recorded(kept.spans)
    return {"recorded": found, "figures": figures}


class Patches:
    """The methods through which a call of openai passes, before and after an instrumentation was put in place."""

    OWNERS = (completions.Completions, completions.AsyncCompletions, openai.OpenAI, openai.AsyncOpenAI)
    NAMES = ("create", "request", "post")

    def __init__(self) -> None:
        self._before = {(owner, name): vars(owner).get(name) for owner in self.OWNERS for name in self.NAMES}
        self._changed: list[tuple[type, str, Any, Any]] = []

    def taken(self) -> None:
        """Look which methods are others now."""
        for (owner, name), before in self._before.items():
            now = vars(owner).get(name)
            if now is not before:
                self._changed.append((owner, name, before, now))

    def put(self, *, on: bool) -> None:
        """The methods as they were, or as the instrumentation made them."""
        for owner, name, before, now in self._changed:
            if not on and before is None:
                if name in vars(owner):
                    delattr(owner, name)
            else:
                setattr(owner, name, now if on else before)


def interleaved(toggle: Patches, run: Run, rounds: int) -> dict[str, float]:
    """Microseconds of the bare call, and the median of what the instrumented one takes beyond it."""
    bare, added = [], []
    run(20)
    with quiet():
        for turn in range(rounds):
            took = {}
            for on in (True, False) if turn % 2 else (False, True):
                toggle.put(on=on)
                run(1)  # a changed class forgets what its methods are
                started = time.thread_time_ns()
                run(1)
                took[on] = (time.thread_time_ns() - started) / 1000
            bare.append(took[False])
            added.append(took[True] - took[False])
    toggle.put(on=True)
    return {"bare": statistics.median(bare), "added": statistics.median(added)}


def ours(callgrind: Callgrind) -> dict[str, Any]:
    """The instructions of all cases of ours, each beside the same call without us."""
    import tempfile

    import tokenmeter

    otel = instruments.providers()
    meter = tokenmeter.Tokenmeter(tracer_provider=otel.tracing, meter_provider=otel.metering)
    nobody = tokenmeter.Tokenmeter()
    kept = tokenmeter.Tokenmeter(
        tracer_provider=otel.tracing, meter_provider=otel.metering, ledger=f"{tempfile.mkdtemp()}/ledger.db"
    )
    bare, aside, slow = calls.client()[0], calls.client()[0], calls.client("openai", openai.AsyncOpenAI)[0]
    spoken = lambda client: calls.call(client, "gpt-4o", **calls.THINKING)  # noqa: E731
    measure = callgrind.measure
    measure("bare call", repeated(lambda: calls.call(bare)), 64)
    measure("bare stream", repeated(lambda: calls.stream(aside)), 5)
    measure("bare async", awaited(lambda: calls.async_call(slow)), 64)
    measure("bare spoken", repeated(lambda: spoken(bare)), 64)
    with_sdk = instruments.sdk(calls.client()[0], otel)
    measure("sdk", repeated(lambda: calls.call(with_sdk)), 64)
    bare_span = foreign(otel)
    measure("bare foreign", repeated(bare_span), 64)
    long, transport = calls.client()
    transport.chunks = 200
    measure("bare long", repeated(lambda: calls.stream(long)), 2)

    client = meter.wrap(calls.client()[0])
    measure("call", repeated(lambda: calls.call(client)), 64)
    measure("stream", repeated(lambda: calls.stream(client)), 5)
    measure("spoken", repeated(lambda: spoken(client)), 64)
    slow = meter.wrap(calls.client("openai", openai.AsyncOpenAI)[0])
    measure("async", awaited(lambda: calls.async_call(slow)), 64)
    with ExitStack() as stack:
        for depth in range(3):
            stack.enter_context(meter.scope(f"part{depth}"))
        stack.enter_context(meter.tags(**{f"tag{number}": "value" for number in range(5)}))
        measure("scoped", repeated(lambda: spoken(client)), 64)
    silent = nobody.wrap(calls.client()[0])

    def unheard(times: int) -> None:
        for _ in range(times):
            calls.call(silent)
        nobody.flush()

    measure("nobody", unheard, 64)
    noted = kept.wrap(calls.client()[0])
    measure("ledger", repeated(lambda: calls.call(noted)), 64)

    from tokenmeter.otel.external.processor import CostSpanProcessor

    priced = instruments.providers()
    priced.tracing.add_span_processor(CostSpanProcessor(nobody))
    measure("foreign", repeated(foreign(priced)), 64)
    meter.wrap(long)
    measure("long", repeated(lambda: calls.stream(long)), 2)
    for many in (10, 50):
        with meter.tags(**{f"tag{number}": "value" for number in range(many)}):
            measure(f"{many} tags", repeated(lambda: calls.call(client)), 64)
    for many in (5, 20):
        with ExitStack() as stack:
            for depth in range(many):
                stack.enter_context(meter.scope(f"part{depth}"))
            measure(f"{many} scopes", repeated(lambda: calls.call(client)), 64)
    for many in (10, 100):
        named, transport = calls.client()
        meter.wrap(named)
        measure(f"{many} models", several(named, transport, many), 2 * many)
    return {"recorded": ours_recorded(), "figures": {}}


def several(client: Any, transport: calls.Transport, many: int) -> Run:
    """Calls of this many models by turns."""

    def run(times: int) -> None:
        for number in range(times):
            transport.model = f"gpt-4o-2024-08-{number % many:02}"
            calls.call(client, f"gpt-4o-{number % many}")

    return run


def ours_recorded() -> dict[str, Any]:
    """What our spans say of an answer of each vendor."""
    import tokenmeter

    found = {}
    for vendor, model in calls.MODEL.items():
        otel = instruments.providers()
        meter = tokenmeter.Tokenmeter(tracer_provider=otel.tracing, meter_provider=otel.metering)
        calls.call(meter.wrap(calls.client(vendor)[0]), model)
        otel.tracing.force_flush()
        found[vendor] = instruments.recorded(otel.kept.spans)
    return found


def foreign(otel: instruments.Providers) -> Callable[[], None]:
    """A span as the official instrumentation makes one."""
    tracer = otel.tracing.get_tracer("opentelemetry.instrumentation.genai.openai")
    told = {name: value for name, value in instruments.ATTRIBUTES.items() if name.startswith(("gen_ai", "server"))}
    return lambda: tracer.start_span("chat gpt-4o", kind=instruments.SpanKind.CLIENT, attributes=told).end()


def versions(*names: str) -> dict[str, str]:
    """The versions of those distributions that are here."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def main() -> None:
    """Measure one variant."""
    variant, distribution, *library = sys.argv[1:]
    callgrind = Callgrind(library[0]) if library else None
    if variant == "tokenmeter":
        told = ours(callgrind) if callgrind is not None else {"recorded": ours_recorded(), "figures": {}}
    else:
        told = peer(variant, callgrind)
    told["versions"] = versions(distribution, "openai", "opentelemetry-sdk")
    print("\n" + json.dumps(told, default=str), flush=True)
    os._exit(0)  # threads of others may wait for a server that is not there


if __name__ == "__main__":
    main()
