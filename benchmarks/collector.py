"""How many spans a second one core of the collector takes, prices and hands on.

    python benchmarks/collector.py [--seconds 5] [--ledger]

A collector process of its own is fed by senders over gRPC and HTTP, and forwards to a receiver that reads nothing;
all on this machine. What counts is the CPU time of the collector's process: spans by that time are spans a second on
one core, however busy the others are. Two kinds of traffic: every span a call to a model, and a realistic mix in which
one of ten is. Beside them, in the same run, the least that any collector does: decoding and encoding the same bodies
by the same protobuf runtime, as a part of the cost of one span.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import aiohttp
import grpc
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

SPANS = 512  # the batch of OpenTelemetry's SDKs
CALL = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.response.model": "gpt-4o-2024-08-06",
    "gen_ai.response.id": "",
    "gen_ai.request.temperature": 0.2,
    "gen_ai.request.max_tokens": 800,
    "gen_ai.conversation.id": "c-17",
    "server.address": "api.openai.com",
    "server.port": 443,
    "gen_ai.usage.input_tokens": 1000,
    "gen_ai.usage.output_tokens": 100,
    "gen_ai.usage.cache_read.input_tokens": 400,
}
OTHER = {
    "http.request.method": "POST", "url.full": "https://shop.example.com/cart/items/18273", "server.address": "shop",
    "http.response.status_code": 200, "network.protocol.version": "1.1", "user_agent.original": "shop/3.1 (linux)",
    "db.system": "postgresql", "db.query.text": "SELECT id, price FROM items WHERE cart = $1", "thread.id": 4711,
}  # fmt: skip
RANDOM = random.Random(7)


def body(calls_in_ten: int) -> bytes:
    """A batch; ids are made anew, so that no span comes twice."""
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    _add(resource.resource.attributes, {"service.name": "shop", "deployment.environment.name": "prod"})
    scopes = [resource.scope_spans.add() for _ in range(2)]
    scopes[0].scope.name, scopes[1].scope.name = "opentelemetry.instrumentation.genai.openai", "http"
    now = time.time_ns()
    for position in range(SPANS):
        call = position % 10 < calls_in_ten
        span = scopes[0 if call else 1].spans.add(
            trace_id=RANDOM.randbytes(16), span_id=RANDOM.randbytes(8), parent_span_id=RANDOM.randbytes(8),
            name="chat gpt-4o" if call else "GET /cart", kind=3, flags=257,
            start_time_unix_nano=now - 10**9, end_time_unix_nano=now,
        )  # fmt: skip
        attributes = CALL | {"gen_ai.response.id": f"chatcmpl-{RANDOM.getrandbits(80):x}"} if call else OTHER
        _add(span.attributes, attributes)
    return request.SerializeToString()


def _add(into: object, attributes: dict[str, object]) -> None:
    for name, value in attributes.items():
        one: KeyValue = into.add(key=name)  # type: ignore[attr-defined]
        kind = {str: "string_value", int: "int_value", float: "double_value"}[type(value)]
        setattr(one.value, kind, value)


def bare(bodies: list[bytes]) -> float:
    """Microseconds for one span of decoding and encoding alone."""
    best = float("inf")
    for _ in range(3):
        started = time.process_time()
        for one in bodies:
            ExportTraceServiceRequest.FromString(one).SerializeToString()
        best = min(best, time.process_time() - started)
    return best / len(bodies) / SPANS * 1e6


async def receiver() -> tuple[web.AppRunner, int]:
    """An endpoint that takes everything."""

    async def take(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=b"", content_type="application/x-protobuf")

    app = web.Application(client_max_size=2**28)
    for name in ("traces", "metrics", "logs"):
        app.router.add_post(f"/v1/{name}", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    return runner, runner.addresses[0][1]


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def feed(ports: tuple[int, int], protocol: str, bodies: list[bytes]) -> None:
    """Send all bodies, two at a time."""
    waiting = iter(bodies)
    async with aiohttp.ClientSession() as session, grpc.aio.insecure_channel(f"127.0.0.1:{ports[0]}") as channel:
        export = channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
        url = f"http://127.0.0.1:{ports[1]}/v1/traces"

        async def one() -> None:
            for item in waiting:
                if protocol == "grpc":
                    await export(item)
                else:
                    headers = {"Content-Type": "application/x-protobuf"}
                    async with session.post(url, data=item, headers=headers) as answer:
                        assert answer.status == 200, await answer.text()

        await asyncio.gather(one(), one())


async def measure(calls_in_ten: int, protocol: str, seconds: float, ledger: str | None) -> tuple[float, float]:
    """Microseconds of CPU for one span in the collector, and of decoding and encoding alone."""
    runner, port = await receiver()
    command = [
        sys.executable, "-m", "tokenmeter", "collector", "--endpoint", f"http://127.0.0.1:{port}", "--grpc", "0",
        "--http", "0", *(["--ledger", ledger] if ledger else []),
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = await asyncio.to_thread(process.stdout.readline)
        ports = [int(number) for number in re.findall(r"on [\d.]+:(\d+)", line)]
        warm = [body(calls_in_ten) for _ in range(8)]
        await feed((ports[0], ports[1]), protocol, warm)
        alone = bare(warm)
        rounds = max(8, int(seconds * 10_000 / SPANS))
        bodies = [body(calls_in_ten) for _ in range(rounds)]
        before = cpu_seconds(process.pid)
        await feed((ports[0], ports[1]), protocol, bodies)
        await asyncio.sleep(0.5)  # what the ledger's thread still has to do belongs to it
        took = cpu_seconds(process.pid) - before
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        await runner.cleanup()
    return took / rounds / SPANS * 1e6, alone


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="of work for each row, about")
    parser.add_argument("--ledger", action="store_true", help="with a ledger too")
    arguments = parser.parse_args()
    print(f"{'':44}{'µs a span':>10}{'spans/s':>10}{'× decode + encode':>19}")
    for name, calls in (("one span of ten is a call", 1), ("every span is a call", 10)):
        for protocol in ("http", "grpc"):
            for ledger in (False, True) if arguments.ledger else (False,):
                with tempfile.TemporaryDirectory() as folder:
                    path = str(Path(folder, "spend.db")) if ledger else None
                    took, alone = asyncio.run(measure(calls, protocol, arguments.seconds, path))
                row = f"{name}, {protocol}{', ledger' if ledger else ''}"
                print(f"{row:44}{took:>10.1f}{1e6 / took:>10,.0f}{took / alone:>19.1f}", flush=True)


if __name__ == "__main__":
    main()
