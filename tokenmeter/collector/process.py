"""The process: what listens, prices, forwards and counts, put together, and how it ends.

It ends on SIGTERM or SIGINT within a stated time: it stops taking requests, sends what it kept, settles the ledger and
sends its last metrics, and says what could not be sent. A second signal ends it at once.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from tokenmeter._support.guard import guard
from tokenmeter.collector.counters import Counts
from tokenmeter.collector.forward_queue import Lane, Room
from tokenmeter.collector.grpc_server import GrpcServer
from tokenmeter.collector.http_server import HttpServer
from tokenmeter.collector.price_spans import SpanPricer
from tokenmeter.collector.receive import Intake
from tokenmeter.collector.senders import sender
from tokenmeter.collector.signals import METRICS, SIGNALS
from tokenmeter.collector.telemetry import meter_provider, observe
from tokenmeter.meter import Tokenmeter
from tokenmeter.otel.external.batches import EndedCalls

if TYPE_CHECKING:
    from tokenmeter.collector.options import Options

__all__ = ["Collector", "run"]

_logger: Final = logging.getLogger("tokenmeter.collector")
_LAST_METRICS: Final = 2.0  # seconds of the drain kept for the last metrics and the ledger
_LOOK_EVERY: Final = 5.0  # seconds between looks at the calls that wait for spans around them


class Collector:
    """One collector. `start` and `stop` belong to one event loop; `options` say everything else."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.counts = Counts()
        self.room = Room(options.queue)
        self.grpc_port = self.http_port = 0
        self._started = time.monotonic()
        self._looking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect everything and listen. Raises ConfigurationError for what cannot be."""
        options = self.options
        self._sender = sender(options)
        self._lanes = {
            one.name: Lane(one, self._sender.to(one), self.room, self.counts, patience=options.patience)
            for one in SIGNALS
        }
        scrape = None if options.prometheus is None else (options.host, options.prometheus)
        self._provider = meter_provider(lambda: self._lanes[METRICS.name], self.room, options.metrics_every, scrape)
        self.meter = Tokenmeter(
            meter_provider=self._provider, sinks=(self.counts,), ledger=options.ledger, spans="none"
        )
        observe(self._provider, self.counts, self.room, self._lanes.values())
        _ = self.meter.book, self.meter.providers  # now, and not in the first request
        self._calls = EndedCalls(self.meter, options.scopes, options.providers)
        self._intake = Intake(self._lanes, self.room, SpanPricer(self._calls, options.tags), self.counts)
        self._grpc = GrpcServer(self._intake, options.largest)
        self._http = HttpServer(self._intake, self.health, options.largest)
        self.http_port = await self._http.start(options.host, options.http_port)
        self.grpc_port = await self._grpc.start(options.host, options.grpc_port)
        self._looking = asyncio.ensure_future(self._look())

    async def _look(self) -> None:
        """Calls that wait for a span around them are counted in time though nothing comes in."""
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            with guard("counting calls that waited"):
                self._calls.look()

    def health(self) -> dict[str, Any]:
        """How the process is, for its health endpoint."""
        problems = {name: lane.problem for name, lane in self._lanes.items() if lane.problem is not None}
        return {
            "status": "ending" if self._intake.ending else "waiting" if problems else "ok",
            "endpoint": self.options.endpoint,
            "problems": problems,
            "queue": {
                "bytes": self.room.used,
                "limit": self.room.size,
                "requests": sum(lane.waiting for lane in self._lanes.values()),
            },
            "spans": self.counts.all(),
            "book": self.meter.book.version,
            "uptime": round(time.monotonic() - self._started, 1),
        }

    async def stop(self) -> str:
        """End within `drain` seconds. Returns what became of everything, as a sentence."""
        until = time.monotonic() + self.options.drain
        self._intake.ending = True
        if self._looking is not None:
            self._looking.cancel()
        closing = [asyncio.ensure_future(one.stop()) for one in (self._grpc, self._http)]
        lanes = [lane for lane in self._lanes.values() if lane.signal is not METRICS]
        unsent = await self._close(lanes, until - _LAST_METRICS)
        await asyncio.wait(closing, timeout=max(0.1, until - time.monotonic()))
        self._calls.release()
        flushed = await asyncio.to_thread(self.meter.flush, max(0.5, until - time.monotonic()))
        await asyncio.to_thread(self._provider.shutdown)  # which reads the metrics once more
        await asyncio.sleep(0)
        unsent += await self._close([self._lanes[METRICS.name]], max(until, time.monotonic() + 0.5))
        self.meter.shutdown(1.0)
        await self._sender.close()
        return self._farewell(unsent, flushed)

    async def _close(self, lanes: list[Lane], until: float) -> list[tuple[str, int, int, int]]:
        left = max(0.2, until - time.monotonic())
        closed = await asyncio.gather(*(lane.close(left) for lane in lanes))
        return [(lane.signal.name, *unsent) for lane, unsent in zip(lanes, closed, strict=True) if unsent[0]]

    def _farewell(self, unsent: list[tuple[str, int, int, int]], flushed: bool) -> str:
        counts = self.counts
        said = [
            f"{counts.received} spans received, {counts.forwarded} forwarded, "
            f"{counts.priced} calls priced, {counts.unpriced} unpriced"
        ]
        for name, requests, spans, size in unsent:
            what = f" with {spans} spans" if spans else ""
            said.append(f"NOT SENT: {requests} requests of {name}{what}, {size} bytes")
        if not flushed:
            said.append("the ledger or another sink did not take everything in time")
        return "; ".join(said)


async def run(options: Options, say: Callable[[str], None]) -> int:
    """Run a collector until a signal ends it; 0 if everything was sent, else 1. `say` prints a line."""
    collector = Collector(options)
    await collector.start()
    # The book stays as long as the process, and what requests leave behind needs no search for circles.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    ended: asyncio.Event = asyncio.Event()
    loop = asyncio.get_running_loop()
    ends = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(one, lambda *_: loop.call_soon_threadsafe(ended.set)) for one in ends]
    say(started(collector))
    await ended.wait()
    for one, handler in zip(ends, before, strict=True):
        signal.signal(one, handler)  # a second one ends the process at once
    say(f"tokenmeter collector: ending within {options.drain:g} s")
    farewell = await collector.stop()
    say(f"tokenmeter collector: {farewell}")
    return 1 if "NOT SENT" in farewell else 0


def started(collector: Collector) -> str:
    """The line that says where it listens and forwards, and what it keeps."""
    options = collector.options
    kind = "gRPC" if options.protocol == "grpc" else "HTTP"
    packed = ", gzip" if options.compression == "gzip" else ""
    parts = [
        f"tokenmeter collector: OTLP over gRPC on {options.host}:{collector.grpc_port}, "
        f"over HTTP on {options.host}:{collector.http_port}",
        f"forwards to {options.endpoint} ({kind}{packed})",
        f"keeps {options.queue / 2**20:g} MiB while that is away",
    ]
    if options.ledger:
        parts.append(f"ledger {options.ledger}")
    if options.prometheus is not None:
        parts.append(f"metrics at http://{options.host}:{options.prometheus}/metrics")
    return "; ".join(parts)
