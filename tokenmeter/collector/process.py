"""Builds a collector from its parts and runs it until SIGTERM or SIGINT.

The shutdown takes a limited time: the collector stops accepting requests, sends its queues, flushes the ledger, exports
its last metrics, and reports what was not sent. A second signal ends the process at once.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

from tokenmeter._support.guard import guard
from tokenmeter.collector.counters import SpanCounters
from tokenmeter.collector.forward_queue import ForwardQueue, MemoryBudget
from tokenmeter.collector.grpc_server import GrpcServer
from tokenmeter.collector.http_server import HttpServer
from tokenmeter.collector.price_spans import SpanPricer
from tokenmeter.collector.receive import RequestReceiver
from tokenmeter.collector.senders import sender
from tokenmeter.collector.signals import METRICS, SIGNALS
from tokenmeter.collector.telemetry import meter_provider, observe
from tokenmeter.meter import Tokenmeter
from tokenmeter.otel.external.batches import EndedCalls

if TYPE_CHECKING:
    from tokenmeter.collector.options import Options
    from tokenmeter.ledger.writer import Ledger
    from tokenmeter.record import Record

__all__ = ["Collector", "run"]

_logger: Final = logging.getLogger("tokenmeter.collector")
_LAST_METRICS: Final = 2.0  # seconds of the drain kept for the last metrics and the ledger
_LOOK_EVERY: Final = 5.0  # seconds between checks of calls that wait for their parent spans


class Collector:
    """One collector, configured by `options`. `start` and `stop` run in the same event loop."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.counts = SpanCounters()
        self.memory = MemoryBudget(options.queue)
        self.grpc_port = self.http_port = 0
        self._started = time.monotonic()
        self._looking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Build the parts and start listening. Raises ConfigurationError, such as for an address in use."""
        options = self.options
        self._sender = sender(options)
        self._queues = {
            one.name: ForwardQueue(one, self._sender.to(one), self.memory, self.counts, patience=options.patience)
            for one in SIGNALS
        }
        scrape = None if options.prometheus is None else (options.host, options.prometheus)
        self._provider = meter_provider(lambda: self._queues[METRICS.name], self.memory, options.metrics_every, scrape)
        self.meter = Tokenmeter(
            meter_provider=self._provider, sinks=(self.counts,), ledger=options.ledger, spans="none"
        )
        observe(self._provider, self.counts, self.memory, self._queues.values())
        _ = self.meter.book, self.meter.providers  # loaded before the first request
        self._calls = EndedCalls(self.meter, options.scopes, options.providers, keep=self._keep())
        pricer = SpanPricer(self._calls, options.tags)
        self._receiver = RequestReceiver(self._queues, self.memory, pricer, self.counts, options, ledger=self.ledger)
        self._grpc = GrpcServer(self._receiver, options)
        self._http = HttpServer(self._receiver, self.health, options)
        self.http_port = await self._http.start(options.host, options.http_port)
        self.grpc_port = await self._grpc.start(options.host, options.grpc_port)
        self._looking = asyncio.ensure_future(self._look())

    @property
    def ledger(self) -> Ledger | None:
        """The ledger that calls are written into."""
        return cast("Ledger | None", self.meter.ledger)

    def _keep(self) -> Callable[[Record], None] | None:
        """What takes calls that programs metered themselves: the ledger alone, for their metrics come from them."""
        ledger = self.ledger
        if ledger is None:
            return None

        def keep(record: Record) -> None:
            ledger.write(record)
            self.counts.metered += 1

        return keep

    async def _look(self) -> None:
        """Count calls whose parent span did not arrive in time, also while no requests arrive."""
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            with guard("counting calls that waited"):
                await self._receiver.run(self._calls.look)

    def health(self) -> dict[str, Any]:
        """State of the process, as the JSON of `/healthz`."""
        problems = {name: queue.problem for name, queue in self._queues.items() if queue.problem is not None}
        return {
            "status": "ending" if self._receiver.ending else "waiting" if problems else "ok",
            "endpoint": self.options.endpoint,
            "problems": problems,
            "queue": {
                "bytes": self.memory.used,
                "limit": self.memory.size,
                "requests": sum(queue.waiting for queue in self._queues.values()),
            },
            "spans": self.counts.all(),
            "ledger": None if self.ledger is None else self.ledger.health(),
            "book": self.meter.book.version,
            "uptime": round(time.monotonic() - self._started, 1),
        }

    async def stop(self) -> str:
        """Shut down within `drain` seconds. Returns a summary for the operator, with `NOT SENT` for data lost."""
        until = time.monotonic() + self.options.drain
        self._receiver.ending = True
        if self._looking is not None:
            self._looking.cancel()
        closing = [asyncio.ensure_future(one.stop()) for one in (self._grpc, self._http)]
        queues = [queue for queue in self._queues.values() if queue.signal is not METRICS]
        unsent = await self._close(queues, until - _LAST_METRICS)
        await asyncio.wait(closing, timeout=max(0.1, until - time.monotonic()))
        await self._receiver.run(self._calls.release)
        flushed = await asyncio.to_thread(self.meter.flush, max(0.5, until - time.monotonic()))
        await asyncio.to_thread(self._provider.shutdown)  # exports the metrics a last time
        await asyncio.sleep(0)
        unsent += await self._close([self._queues[METRICS.name]], max(until, time.monotonic() + 0.5))
        self._receiver.close()
        self.meter.shutdown(1.0)
        await self._sender.close()
        return self._farewell(unsent, flushed)

    async def _close(self, queues: list[ForwardQueue], until: float) -> list[tuple[str, int, int, int]]:
        left = max(0.2, until - time.monotonic())
        closed = await asyncio.gather(*(queue.close(left) for queue in queues))
        return [(queue.signal.name, *unsent) for queue, unsent in zip(queues, closed, strict=True) if unsent[0]]

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
            said.append("the ledger or another sink did not finish writing in time")
        return "; ".join(said)


async def run(options: Options, say: Callable[[str], None]) -> int:
    """Run a collector until a signal; returns the exit status, 1 where data were not sent. `say` prints a line."""
    collector = Collector(options)
    await collector.start()
    # The price book lives as long as the process, and requests leave few reference cycles: collect less often.
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
    """The start line for the operator: addresses, endpoint, queue size, ledger."""
    options = collector.options
    kind = "gRPC" if options.protocol == "grpc" else "HTTP"
    packed = ", gzip" if options.compression == "gzip" else ""
    parts = [
        f"tokenmeter collector: OTLP over gRPC on {options.host}:{collector.grpc_port}, "
        f"over HTTP on {options.host}:{collector.http_port}"
        + (", TLS" if options.tls else "")
        + (", with a token" if options.token else ""),
        f"forwards to {options.endpoint} ({kind}{packed})",
        f"keeps {options.queue / 2**20:g} MiB while that is away",
    ]
    if options.ledger:
        parts.append(f"ledger {_shown(options.ledger)}")
    if options.prometheus is not None:
        parts.append(f"metrics at http://{options.host}:{options.prometheus}/metrics")
    return "; ".join(parts)


def _shown(ledger: str) -> str:
    """A file as it is; a database without its password."""
    if "://" not in ledger:
        return ledger
    from tokenmeter.ledger.fleet.database import shown

    return shown(ledger)
