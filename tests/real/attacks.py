"""Hostile settings, one row each, and what of the calls was lost or changed: `python -m tests.real.attacks`.

A row that needs a package or a tool which is not here says so, and counts as not run.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import importlib
import importlib.util
import json
import logging
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import psutil

from tests.rigs.counting_server import CountingServer, counting_server
from tokenmeter import Record, Tokenmeter, Usage
from tokenmeter.testing import Received, Reply, provider_server, sse

__all__ = ["ATTACKS", "Outcome", "main"]

CHAT: Final = "/v/openai/v1/chat/completions"


@dataclass
class Outcome:
    """One row. `changed` counts answers unlike the bare ones, `leaked` says what stays, None is not looked at."""

    calls: int
    lost: int | None
    doubled: int | None
    changed: int | None
    leaked: str = "-"


class NotRun(Exception):
    """The row needs what is not here."""


def _needs(*packages: str) -> None:
    for name in packages:
        if importlib.util.find_spec(name) is None:
            raise NotRun(f"needs {name}")


def _body(text: str = "价格 of a call?", **fields: Any) -> dict[str, Any]:
    return {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}], **fields}


@contextlib.contextmanager
def _metered(server: Any, ledger: Path, **settings: Any) -> Iterator[Tokenmeter]:
    meter = Tokenmeter(hosts={server.host: "openai"}, ledger=str(ledger), spans="none", **settings)
    meter.instrument()
    try:
        yield meter
    finally:
        meter.uninstrument()
        meter.shutdown(60)


def _named(ledger: Path) -> list[str]:
    """Request ids of all attempts in a ledger."""
    with contextlib.closing(sqlite3.connect(ledger)) as connection:
        rows = connection.execute("SELECT attempts FROM calls").fetchall()
    return [one["request_id"] for (text,) in rows for one in json.loads(text or "[]") if one["request_id"]]


def _compared(sent: list[str], ledger: Path, changed: int | None, leaked: str = "-") -> Outcome:
    """The ledger against the ids of what the server received."""
    named = _named(ledger)
    return Outcome(len(sent), len(set(sent) - set(named)), len(named) - len(set(named)), changed, leaked)


def _ids(server: CountingServer, since: int) -> list[str]:
    return [one["id"] for one in server.listed()[since:]]


# Event loops and workers ------------------------------------------------------------------------------------------


def _on_loop(backend: str) -> Callable[[CountingServer, Path], Outcome]:
    def attack(server: CountingServer, ledger: Path) -> Outcome:
        """AsyncOpenAI: answers, streams, some left by a cancelled scope."""
        _needs("anyio", backend)
        import anyio
        import openai

        async def ask(client: Any, number: int, seen: list[str]) -> None:
            with anyio.move_on_after(1.0 if number % 5 == 0 else 30):
                model = "gpt-4o-mini;hang=3" if number % 5 == 0 else "gpt-4o-mini"
                made = await client.chat.completions.create(**{**_body(f"call {number}"), "model": model}, stream=True)
                async for chunk in made:
                    seen.append(f"{number} {chunk.model_dump()}")  # noqa: PERF401 a cancelled one keeps its chunks

        async def program() -> list[str]:
            seen: list[str] = []
            async with openai.AsyncOpenAI(base_url=server.url("openai"), api_key="any", max_retries=0) as client:
                for start in range(0, 40, 10):
                    async with anyio.create_task_group() as tasks:
                        for number in range(start, start + 10):
                            tasks.start_soon(ask, client, number, seen)
            return sorted(seen)

        bare = anyio.run(program, backend=backend)
        before = len(server.listed())
        with _metered(server, ledger) as meter:
            metered = anyio.run(program, backend=backend)
            gc.collect()
            meter.flush(10)
        return _compared(_ids(server, before), ledger, len(set(bare) ^ set(metered)))

    return attack


_GREEN: Final = """
{patch}
import sys, requests, tokenmeter
host, ledger = sys.argv[1:]
tokenmeter.configure(hosts={{host: "openai"}}, ledger=ledger, spans="none"); tokenmeter.instrument()
def ask(number):
    answer = requests.post("http://" + host + "{path}", json={body}, stream=True)
    return sum(1 for _ in answer.iter_lines())
pool = {pool}
print(sum(1 for lines in pool.{many}(ask, range(100)) if lines))
tokenmeter.shutdown()
"""


def eventlet(server: CountingServer, ledger: Path) -> Outcome:
    """100 streams of requests in 20 green threads, monkey-patched."""
    # Its own resolver loads an HTTP client for DNS over HTTPS, where h2 is here, that does not bear being patched.
    patch = "import os; os.environ['EVENTLET_NO_GREENDNS'] = 'yes'; import eventlet; eventlet.monkey_patch()"
    return _green("eventlet", patch, "eventlet.GreenPool(20)", "imap", server, ledger)


def gevent(server: CountingServer, ledger: Path) -> Outcome:
    """The same under gevent."""
    patch = "from gevent import monkey; monkey.patch_all(); from gevent.pool import Pool"
    return _green("gevent", patch, "Pool(20)", "imap", server, ledger)


def _green(green: str, patch: str, pool: str, many: str, server: CountingServer, ledger: Path) -> Outcome:
    _needs(green)
    program = _GREEN.format(patch=patch, pool=pool, many=many, path=CHAT, body=_body(stream=True))
    before = len(server.listed())
    done = _run([sys.executable, "-c", program, server.host, str(ledger)])
    return _compared(_ids(server, before), ledger, 100 - int(done.split()[-1]))


_APP: Final = """
import os, openai, tokenmeter
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
tokenmeter.configure(hosts={os.environ["HOST"]: "openai"}, ledger=os.environ["LEDGER"], spans="none")
tokenmeter.instrument()
client = openai.AsyncOpenAI(base_url=os.environ["BASE"], api_key="any", max_retries=0)
app = FastAPI()
@app.get("/")
async def ask():
    made = await client.chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}], stream=True)
    async def lines():
        async for chunk in made:
            yield chunk.model_dump_json() + "\\n"
    return StreamingResponse(lines())
"""


def uvicorn_workers(server: CountingServer, ledger: Path) -> Outcome:
    """uvicorn with two workers, 200 streamed answers, then SIGTERM."""
    _needs("uvicorn", "fastapi")
    import httpx

    with TemporaryDirectory() as folder:
        (Path(folder) / "answering.py").write_text(_APP)
        with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as free:
            port = free.getsockname()[1]
        named = {"HOST": server.host, "LEDGER": str(ledger), "BASE": server.url("openai")}
        command = [sys.executable, "-m", "uvicorn", "answering:app", "--workers", "2", "--port", str(port)]
        command += ["--log-level", "critical"]
        before = len(server.listed())
        with subprocess.Popen(command, cwd=folder, env={**os.environ, **named}) as process:
            bad = 0
            try:
                with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:
                    _until(lambda: client.get("/").status_code == 200, 60)
                    with ThreadPoolExecutor(8) as threads:
                        for got in threads.map(lambda _: client.get("/"), range(200)):
                            bad += got.status_code != 200 or not got.text
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(30)
    return _compared(_ids(server, before), ledger, bad)


def _until(true: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(Exception):
            if true():
                return
        time.sleep(0.1)
    raise NotRun("its server did not come up")


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return done.stdout


# Wires ------------------------------------------------------------------------------------------------------------


async def _answer(scope: Any, receive: Any, send: Any) -> None:
    """An ASGI application that answers a chat as a stream, in HTTP/2 too, with an id for each request."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    _ASGI_IDS.append(f"h{len(_ASGI_IDS)}")
    head = [(b"content-type", b"text/event-stream"), (b"x-request-id", _ASGI_IDS[-1].encode())]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    for frame in _frames(20):
        await send({"type": "http.response.body", "body": frame, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


_ASGI_IDS: Final[list[str]] = []


def _frames(pieces: int, text: str = "word ") -> list[bytes]:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini"}
    events: list[Any] = [
        {**head, "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]} for _ in range(pieces)
    ]
    events.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    usage = {"prompt_tokens": 24, "completion_tokens": pieces, "total_tokens": 24 + pieces}
    return [*(sse(event) for event in [*events, {**head, "choices": [], "usage": usage}]), sse("[DONE]")]


def http2(server: CountingServer, ledger: Path) -> Outcome:
    """100 streams of httpx over one HTTP/2 connection with prior knowledge, ten at a time, each fifth left early."""
    _needs("h2", "hypercorn")
    import httpx
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    config = Config()
    config.bind, config.loglevel = [f"127.0.0.1:{port}"], "CRITICAL"
    url = f"http://127.0.0.1:{port}/v1/chat/completions"

    async def ask(client: Any, number: int) -> tuple[str, int]:
        async with client.stream("POST", url, json=_body(f"call {number}", stream=True)) as answer:
            lines = 0
            async for _ in answer.aiter_lines():
                lines += 1
                if number % 5 == 0 and lines == 4:
                    break
            return answer.http_version, lines

    async def program() -> list[tuple[str, int]]:
        async with httpx.AsyncClient(http1=False, http2=True, trust_env=False, timeout=60) as client:
            found: list[tuple[str, int]] = []
            for start in range(0, 100, 10):
                found += await asyncio.gather(*(ask(client, number) for number in range(start, start + 10)))
            return found

    async def both() -> Outcome:
        stop = asyncio.Event()
        serving = asyncio.create_task(serve(_answer, config, shutdown_trigger=stop.wait))  # type: ignore[arg-type]
        await asyncio.sleep(1)
        bare = await program()
        assert {version for version, _ in bare} == {"HTTP/2"}
        _ASGI_IDS.clear()
        with _metered(_Host(f"127.0.0.1:{port}"), ledger) as meter:
            metered = await program()
            gc.collect()
            meter.flush(10)
        stop.set()
        await serving
        return _compared(list(_ASGI_IDS), ledger, sum(a != b for a, b in zip(bare, metered, strict=True)))

    return asyncio.run(both())


@dataclass
class _Host:
    host: str


def _coded(name: str, module: str, pack: Callable[[Any, bytes], bytes]) -> Callable[[CountingServer, Path], Outcome]:
    def attack(server: CountingServer, ledger: Path) -> Outcome:
        """Answers and streams of httpx in this content coding; tokens must be the reported ones."""
        _needs(module)
        import httpx

        packer = importlib.import_module(module)
        whole = b"".join(_frames(20))

        def answer(request: Received) -> Reply:
            coded = pack(packer, whole)
            third = len(coded) // 3 + 1
            frames = [coded[at : at + third] for at in range(0, len(coded), third)]
            return Reply(200, frames, "text/event-stream", True, {"content-encoding": name, "x-request-id": "c1"})

        with provider_server(answer=answer) as coding, httpx.Client(trust_env=False) as client:

            def program() -> list[str]:
                return [client.post(coding.origin + CHAT, json=_body(stream=True)).text for _ in range(20)]

            bare = program()
            assert bare[0].encode() == whole
            with _metered(coding, ledger) as meter:
                metered = program()
                meter.flush(10)
        with contextlib.closing(sqlite3.connect(ledger)) as connection:
            rows = connection.execute("SELECT input_tokens, output_tokens, usage_source FROM calls").fetchall()
        right = sum(row == (24, 20, "reported") for row in rows)
        changed = sum(a != b for a, b in zip(bare, metered, strict=True))
        return Outcome(20, 20 - right, max(0, len(rows) - 20), changed)

    return attack


def proxies(server: CountingServer, ledger: Path) -> Outcome:
    """openai, requests and aiohttp through an HTTP proxy, with the vendor's own host name."""
    import aiohttp
    import httpx
    import openai
    import requests

    url = "http://api.openai.com/v1"

    def program(proxy: str) -> list[Any]:
        wire = httpx.Client(proxy=proxy)
        client = openai.OpenAI(base_url=url, api_key="any", http_client=wire)
        found: list[Any] = [client.chat.completions.create(**_body()).model_dump() for _ in range(10)]
        found += [
            requests.post(f"{url}/chat/completions", json=_body(), proxies={"http": proxy}).json() for _ in range(10)
        ]

        async def by_aiohttp() -> list[Any]:
            async with aiohttp.ClientSession() as session:
                made = []
                for _ in range(10):
                    async with session.post(f"{url}/chat/completions", json=_body(), proxy=proxy) as answer:
                        made.append(await answer.json())
                return made

        return found + asyncio.run(by_aiohttp())

    with provider_server() as proxy:
        bare = program(proxy.origin)
        proxy.clear()
        with _metered(proxy, ledger) as meter:
            metered = program(proxy.origin)
            meter.flush(10)
        sent = len(proxy.requests)
    with contextlib.closing(sqlite3.connect(ledger)) as connection:
        rows = connection.execute("SELECT count(*) FROM calls WHERE usage_source = 'reported'").fetchone()[0]
    changed = sum(a != b for a, b in zip(bare, metered, strict=True))
    return Outcome(sent, max(0, sent - rows), max(0, rows - sent), changed)


# Sizes ------------------------------------------------------------------------------------------------------------


def events_of_20_mb(server: CountingServer, ledger: Path) -> Outcome:
    """Three streams of one 20 MB event each, read by the openai SDK; CPU bare and metered."""
    import openai

    frames = _frames(1, "word " * 4_000_000)

    def answer(request: Received) -> Reply:
        return Reply(200, frames, "text/event-stream", True, {"x-request-id": f"b{len(big.requests)}"})

    with provider_server(answer=answer) as big:
        client = openai.OpenAI(base_url=big.url(), api_key="any", timeout=300)

        def program() -> tuple[list[int], float]:
            cpu = time.process_time()
            sizes = [
                sum(len(chunk.choices[0].delta.content or "") if chunk.choices else 0 for chunk in made)
                for made in (client.chat.completions.create(**_body(stream=True)) for _ in range(3))
            ]
            return sizes, time.process_time() - cpu

        bare, cpu = program()
        big.clear()
        with _metered(big, ledger) as meter:
            metered, cpu_metered = program()
            meter.flush(60)
    sent = [f"b{number + 1}" for number in range(3)]
    return _compared(sent, ledger, int(bare != metered), f"CPU {cpu:.2f} s bare, {cpu_metered:.2f} s metered")


def streams_of_100_000_events(server: CountingServer, ledger: Path) -> Outcome:
    """One stream of 100,000 events to its end, read by httpx."""
    import httpx

    frames = _frames(100_000)

    def answer(request: Received) -> Reply:
        return Reply(
            200,
            [b"".join(frames[at : at + 500]) for at in range(0, len(frames), 500)],
            "text/event-stream",
            True,
            {"x-request-id": "long"},
        )

    with provider_server(answer=answer) as long, httpx.Client(timeout=120, trust_env=False) as client:

        def program() -> tuple[int, float]:
            cpu = time.process_time()
            with client.stream("POST", long.origin + CHAT, json=_body(stream=True)) as got:
                return sum(map(len, got.iter_bytes())), time.process_time() - cpu

        bare, cpu = program()
        with _metered(long, ledger) as meter:
            metered, cpu_metered = program()
            meter.flush(60)
    return _compared(["long"], ledger, int(bare != metered), f"CPU {cpu:.2f} s bare, {cpu_metered:.2f} s metered")


def thousand_streams(server: CountingServer, ledger: Path) -> Outcome:
    """1,000 streams at once on one loop, each tenth cut by the server."""
    import httpx

    async def ask(client: Any, number: int) -> str:
        model = "gpt-4o-mini;delay=50;drop=4" if number % 10 == 0 else "gpt-4o-mini;delay=50"
        lines = 0
        try:
            body = {**_body(f"call {number}", stream=True), "model": model}
            async with client.stream("POST", server.origin + CHAT, json=body) as answer:
                async for _ in answer.aiter_lines():
                    lines += 1
        except Exception as error:  # noqa: BLE001 the comparison is about whatever comes
            return f"{lines} {type(error).__name__} {error}"
        return str(lines)

    async def program() -> list[str]:
        # A thousand connections at once overflow a listener's backlog: connecting is tried again, sending is not.
        wire = httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=1000), retries=5)
        async with httpx.AsyncClient(transport=wire, timeout=300, trust_env=False) as client:
            return await asyncio.gather(*(ask(client, number) for number in range(1000)))

    bare = asyncio.run(program())
    before = len(server.listed())
    with _metered(server, ledger) as meter:
        metered = asyncio.run(program())
        gc.collect()
        open_calls = len(meter._lifecycle._reading)
        meter.flush(60)
    changed = sum(a != b for a, b in zip(bare, metered, strict=True))
    return _compared(_ids(server, before), ledger, changed, f"{open_calls} open")


def calls_200_000(server: CountingServer, ledger: Path) -> Outcome:
    """200,000 calls by hand in one scope, with a ledger."""
    this = psutil.Process()
    sizes = []
    meter = Tokenmeter(ledger=str(ledger), spans="none")
    with meter.scope("all") as scope:
        for number in range(200_000):
            with meter.call(provider="openai", model="gpt-4o-mini") as call:
                call.observe_usage(Usage(input_tokens=10, output_tokens=5))
            if number % 50_000 == 49_999:
                meter.flush(60)
                sizes.append(this.memory_info().rss >> 20)
    meter.flush(60)
    calls = scope.calls
    meter.shutdown(60)
    with contextlib.closing(sqlite3.connect(ledger)) as connection:
        rows, ids = connection.execute("SELECT count(*), count(DISTINCT id) FROM calls").fetchone()
        said = connection.execute("SELECT sum(calls) FROM losses").fetchone()[0] or 0
    kept = f"RSS {sizes} MB at each 50,000; the ledger says that {said} are missing"
    return Outcome(200_000, 200_000 - ids, rows - ids, int(calls != 200_000), kept)


def million_tag_values(server: CountingServer, ledger: Path) -> Outcome:
    """A million values of one tag, which is an attribute of metrics too."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    this = psutil.Process()
    count = 0

    class Count:
        def write(self, record: Record) -> None:
            nonlocal count
            count += 1

        def flush(self, timeout: float) -> bool:
            return True

        def close(self, timeout: float) -> None:
            """Nothing is open."""

    reader = InMemoryMetricReader()
    meter = Tokenmeter(spans="none", metric_tags=["user"], sinks=[Count()], meter_provider=MeterProvider([reader]))
    sizes = []
    for number in range(1_000_000):
        with meter.tags(user=f"u{number}"), meter.call(provider="openai", model="gpt-4o-mini") as call:
            call.observe_usage(Usage(input_tokens=10, output_tokens=5))
        if number % 250_000 == 249_999:
            meter.flush(60)
            sizes.append(this.memory_info().rss >> 20)
    meter.shutdown(60)
    return Outcome(1_000_000, 1_000_000 - count, max(0, count - 1_000_000), None, f"RSS {sizes} MB at each 250,000")


def lock_of_30_seconds(server: CountingServer, ledger: Path) -> Outcome:
    """Another process holds the ledger's lock for 30 s while calls go on."""
    import requests

    with _metered(server, ledger) as meter:
        requests.post(server.origin + CHAT, json=_body("first"))
        meter.flush(10)
        before = len(server.listed()) - 1
        holder = sqlite3.connect(ledger, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        end, slowest, calls = time.monotonic() + 30, 0.0, 0
        while time.monotonic() < end:
            started = time.perf_counter()
            requests.post(server.origin + CHAT, json=_body(f"call {calls}"))
            slowest = max(slowest, time.perf_counter() - started)
            calls += 1
            time.sleep(0.02)
        holder.execute("COMMIT")
        holder.close()
        meter.flush(60)
    return _compared(_ids(server, before), ledger, None, f"slowest call {slowest:.2f} s")


ATTACKS: Final[dict[str, Callable[[CountingServer, Path], Outcome]]] = {
    "anyio on asyncio": _on_loop("asyncio"),
    "trio": _on_loop("trio"),
    "eventlet": eventlet,
    "gevent": gevent,
    "uvicorn, 2 workers, SIGTERM": uvicorn_workers,
    "HTTP/2": http2,
    "br": _coded("br", "brotli", lambda brotli, body: brotli.compress(body)),
    "zstd": _coded("zstd", "zstandard", lambda zstd, body: zstd.ZstdCompressor().compress(body)),
    "HTTP proxy": proxies,
    "events of 20 MB": events_of_20_mb,
    "stream of 100,000 events": streams_of_100_000_events,
    "1,000 streams, 10% cut": thousand_streams,
    "200,000 calls in a scope": calls_200_000,
    "1,000,000 tag values": million_tag_values,
    "ledger locked 30 s": lock_of_30_seconds,
}


def main(arguments: list[str] | None = None) -> int:
    """Print the table; 1 if a row lost, doubled or changed something."""
    parser = argparse.ArgumentParser(description="Meter calls in hostile settings, and print a table.")
    parser.add_argument("--only", nargs="*", default=[], help="rows whose name contains one of these")
    asked = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL)
    print("| attack | calls | lost | doubled | changed | leaked | seconds |\n|---|---|---|---|---|---|---|")
    bad = 0
    for name, attack in ATTACKS.items():
        if asked.only and not any(part in name for part in asked.only):
            continue
        started = time.monotonic()
        try:
            with TemporaryDirectory() as folder, counting_server() as server:
                found = attack(server, Path(folder) / "spend.db")
        except NotRun as why:
            print(f"| {name} | not run: {why} |", flush=True)
            continue
        except Exception as error:  # noqa: BLE001 the other rows are still of use
            print(f"| {name} | broke: {type(error).__name__}: {error} |", flush=True)
            bad += 1
            continue
        bad += bool(found.lost or found.doubled or found.changed)
        row = [name, found.calls, found.lost, found.doubled, found.changed, found.leaked]
        shown = ["-" if value is None else str(value) for value in row]
        print(f"| {' | '.join(shown)} | {time.monotonic() - started:.0f} |", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
