"""One process of the comparison, run in its variant's environment.

    worker.py VARIANT DISTRIBUTION [--library FILE] [--quick]

Measures the bare calls first, then the same calls with the instrumentation on. Under callgrind the unit is the
instruction, and the profile's parts are read by the parent. Elsewhere it is the thread's CPU time, with bare and
instrumented calls by turns: the patched methods are put back and forth between two calls, outside of the clock.
Prints one JSON object with what was recorded and, without callgrind, the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import calls
import instruments
import openai
from measuring import Callgrind, Run, quiet, repeated
from openai.resources.chat import completions
from opentelemetry import trace


def plain(prepare: Callable[[Any], Any] = lambda client: client) -> dict[str, tuple[Run, int]]:
    """The calls that every instrumentation is measured by."""
    client = prepare(calls.client("openai", instruments.CLASSES["sync"])[0])
    streaming = prepare(calls.client("openai", instruments.CLASSES["sync"])[0])
    return {
        "call": (repeated(lambda: calls.call(client)), 64),
        "stream": (repeated(lambda: calls.stream(streaming)), 5),
    }


def peer(name: str, callgrind: Callgrind | None, *, quick: bool) -> dict[str, Any]:
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
            figures[case] = interleaved(toggle, run, 2 if quick else 200 if times > 9 else 30)
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
    parser = argparse.ArgumentParser()
    parser.add_argument("variant")
    parser.add_argument("distribution")
    parser.add_argument("--library", help="what callgrind.c makes; without it the unit is CPU time")
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    callgrind = Callgrind(asked.library, quick=asked.quick) if asked.library else None
    told: dict[str, Any]
    if asked.variant in instruments.PEERS:
        told = peer(asked.variant, callgrind, quick=asked.quick)
    else:
        import ours

        if callgrind is not None:
            (ours.growth if asked.variant == "growth" else ours.ours)(callgrind)
        told = {"recorded": ours.recorded(), "figures": {}}
    told["versions"] = versions(asked.distribution, "openai", "opentelemetry-sdk")
    print("\n" + json.dumps(told, default=str), flush=True)
    os._exit(0)  # threads of others may wait for a server that is not there


if __name__ == "__main__":
    main()
