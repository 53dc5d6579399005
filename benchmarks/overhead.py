"""What metering adds to a call, as CPU time and as a ratio: `python benchmarks/overhead.py`.

Every variant makes one call in turn, round after round, in one process and on one transport that answers at once, so
that whatever else the machine does falls on all of them alike. A round's bare call is taken from each of its others;
shown are the medians of these differences, in CPU time of the calling thread, and their ratio to the OpenTelemetry
SDK's own span of 22 attributes and one histogram around the same call. Instruction counts: `make bench`.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "compare"))
import calls
import instruments

Variants = Mapping[str, Callable[[], Any]]


def interleaved(variants: Variants, rounds: int, settle: Callable[[], Any]) -> dict[str, tuple[float, float]]:
    """Median microseconds of each variant, and of what it takes beyond the first, call by call."""
    clock = time.thread_time_ns
    times: dict[str, list[int]] = {name: [] for name in variants}
    names = list(variants)
    for name in names * min(20, max(2, rounds // 5)):
        variants[name]()
    gc.collect()
    gc.disable()
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            run = variants[name]
            started = clock()
            run()
            times[name].append(clock() - started)
        if turn % 50 == 49:
            settle()  # what waits to be exported, outside of the clock
            gc.collect()
    gc.enable()
    plain = times[names[0]]
    return {
        name: (
            statistics.median(taken) / 1000,
            statistics.median(one - bare for one, bare in zip(taken, plain, strict=True)) / 1000,
        )
        for name, taken in times.items()
    }


def measured(rounds: int) -> dict[str, dict[str, tuple[float, float]]]:
    """The figures of whole answers, of streams of 50 chunks and of 1,000, by variant."""
    from tokenmeter import Tokenmeter

    otel = instruments.providers()
    given: dict[str, Any] = {"tracer_provider": otel.tracing, "meter_provider": otel.metering}
    with tempfile.TemporaryDirectory() as folder:
        meters = {
            "OpenTelemetry SDK: span, default metrics": Tokenmeter(**given),
            "the same and a ledger": Tokenmeter(**given, ledger=f"{folder}/ledger.db"),
            "nobody listening": Tokenmeter(),
        }

        def variants(one: Callable[[Any], Any], chunks: int = 50) -> Variants:
            made: dict[str, Callable[[], Any]] = {}

            def add(name: str, prepare: Callable[[Any], Any]) -> None:
                client, transport = calls.client()
                transport.chunks = chunks
                ready = prepare(client)
                made[name] = lambda: one(ready)

            add("bare", lambda client: client)
            add("the SDK's own span and histogram", lambda client: instruments.sdk(client, otel))
            for name, meter in meters.items():
                add(name, meter.wrap)
            return made

        def settle() -> None:
            otel.tracing.force_flush()
            for meter in meters.values():
                meter.flush()

        found = {
            "a call": interleaved(variants(calls.call), rounds, settle),
            "a stream of 50 chunks": interleaved(variants(calls.stream), max(2, rounds // 5), settle),
            "a stream of 1,000 chunks": interleaved(variants(calls.stream, 1000), max(2, rounds // 10), settle),
        }
        for meter in meters.values():
            meter.shutdown()
        return found


def main() -> None:
    """Measure and print, or with `--json` print what was measured for `make bench`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=600)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = measured(arguments.rounds)
    if arguments.json:
        print(json.dumps(found))
        return
    for case, variants in found.items():
        (bare, _), (_, sdk) = list(variants.values())[:2]
        print(f"{case}: bare {bare:.0f} µs")
        for name, (_, added) in list(variants.items())[1:]:
            print(f"  {name:44} {added:+9.0f} µs  {added / sdk:6.2f} × the SDK's own")


if __name__ == "__main__":
    main()
