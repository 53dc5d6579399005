"""Random programs that call models, and everything that can be seen of a run: values, exceptions and requests sent.

A program is groups of steps; the steps of a group run at the same time. A run does not depend on time, as long as the
machine is not so busy that a time limit passes where nothing hangs.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import itertools
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

from hypothesis import strategies as st
from pydantic import BaseModel

from tests.rigs.ways import TOOLS, WAYS, Ask, Setting, Way
from tokenmeter.testing import ProviderServer, Received
from tokenmeter.testing.listener import Handler

__all__ = ["Program", "Run", "Sent", "Step", "programs", "recording_server", "run"]

PATIENCE: Final = 0.5
"""Time limit (s) of a client whose server will hang."""
FAULTS: Final = (
    *("fail=1", "fail=2;status=429", "status=400", "status=401", "status=404", "status=500", "status=503"),
    *("drop=0", "drop=1", "drop=4", "err=0", "err=3", "bad=1", "bad=html", "bad=null", "bad=empty", "bad=list"),
    *("frag=1", "frag=7", "gzip=1", "frag=3;gzip=1;lang=zh", "lang=mixed", "delay=1", "ttft=10", "reasoning=5"),
    *(
        "chunks=0",
        "chunks=1",
        "chunks=80",
        "usage=none",
        "usage=null",
        "usage=negative",
        "usage=strings",
        "usage=choice",
    ),
    *("usage=cumulative", "usage=last", "hang=0", "hang=3"),
)
LEAVES: Final = ("end", "with", "again", "close", "break", "forget", "raise", "cancel")
"""How a stream is read: to its end, in its `with` block, and asked for more after it; or left after some items: closed,
left by a `with` block, forgotten, by an exception of the program, by the task's cancellation."""
EXTRAS: Final[tuple[dict[str, Any], ...]] = (
    {"n": 2},
    {"tools": TOOLS},
    {"stream_options": {"include_usage": True}},
    {"temperature": 0.5, "user": "程序"},
)


class OfTheProgram(Exception):
    """Raised by a program in the middle of its stream."""


@dataclass(frozen=True)
class Step:
    """One call: how, under which faults, and how its stream is left after `most` items."""

    way: Way
    stream: bool
    faults: str
    extras: dict[str, Any]
    retries: int
    leave: str
    most: int

    def __repr__(self) -> str:
        form = f"stream, {self.leave} {self.most}" if self.stream else "whole"
        return f"<{self.way.name}: {form}; {self.faults or 'no fault'}; {self.extras}; {self.retries} retries>"

    @property
    def hangs(self) -> bool:
        return "hang" in self.faults

    @property
    def setting(self) -> tuple[int, float]:
        """Retries and time limit of the step's client."""
        return (0, PATIENCE) if self.hangs and self.leave != "cancel" else (self.retries, 30.0)


@dataclass(frozen=True)
class Program:
    """Groups of steps, and whether tokenmeter's `instrument`, its `wrap` or both meter it."""

    aio: bool
    groups: tuple[tuple[Step, ...], ...]
    metered_by: str


@dataclass(frozen=True)
class Sent:
    """A request as it was on the wire, and on which of the program's connections.

    `left` says whether the client of an answer that hangs went away; others may be whole by then or not.
    """

    step: int
    head: bytes
    body: bytes
    status: int | None
    left: bool | None
    connection: int | None


@dataclass
class Run:
    """What came of a program: of each step what it saw, and every request in order."""

    seen: dict[int, list[str]] = field(default_factory=dict)
    sent: list[Sent] = field(default_factory=list)


# Programs ---------------------------------------------------------------------------------------------------------


@st.composite
def _steps(draw: Callable[[Any], Any], ways: list[Way], aio: bool) -> Step:
    way = draw(st.sampled_from(ways))
    stream = draw(st.booleans()) if way.stream and way.whole else way.stream
    faults = draw(st.one_of(st.just(""), st.sampled_from(FAULTS)))
    extras = draw(st.one_of(st.just({}), st.sampled_from(EXTRAS))) if way.extras else {}
    if not stream:
        extras = {name: value for name, value in extras.items() if name != "stream_options"}
    leave = draw(st.sampled_from(LEAVES))
    if leave == "cancel":
        leave = leave if aio and stream else "end"
    if leave == "cancel":
        faults = "chunks=80;hang=3"  # where the task suspends next depends on what has arrived: nothing more may
    most = draw(st.integers(0, 2 if leave == "cancel" else 4))
    return Step(way, stream, faults, extras, draw(st.integers(0, 2)), leave, most)


@st.composite
def programs(draw: Callable[[Any], Any], most: int = 4) -> Program:
    """Programs of at most `most` groups."""
    aio = draw(st.booleans())
    ways = [way for way in WAYS if way.aio == aio and way.here]
    groups = st.lists(_steps(ways, aio), min_size=1, max_size=3).map(tuple)
    metered_by = draw(st.sampled_from(["instrument", "wrap", "both"]))
    return Program(aio, tuple(draw(st.lists(groups, min_size=1, max_size=most))), metered_by)


# A server that keeps each request's bytes -------------------------------------------------------------------------


class _KeepingHandler(Handler):
    def _read(self) -> Received:
        request = super()._read()
        lines = [f"{name}: {value}" for name, value in self.headers.items()]
        head = "\r\n".join([self.raw_requestline.decode("latin-1").rstrip(), *lines]).encode()
        self.server.provider.wire[id(request)] = (head, self.client_address[1])  # type: ignore[attr-defined]
        return request


class RecordingServer(ProviderServer):
    """A provider server that keeps the bytes of requests, and by which connection they came."""

    def __init__(self, **faults: Any) -> None:
        super().__init__(**faults)
        self.wire: dict[int, tuple[bytes, int]] = {}
        self._http.RequestHandlerClass = _KeepingHandler

    def clear(self) -> None:
        super().clear()
        self.wire.clear()


@contextlib.contextmanager
def recording_server() -> Iterator[RecordingServer]:
    with RecordingServer() as server:
        yield server


_STEP: Final = re.compile(rb"step (\d+)")


def _sent(server: RecordingServer, *, in_order: bool) -> list[Sent]:
    ports: dict[int, int] = {}
    found: list[Sent] = []
    for request in server.requests:
        head, port = server.wire[id(request)]
        number = _STEP.search(request.body)
        head = re.sub(rb"(?i)(idempotency-key): \S+", rb"\1: of this call", head)
        connection = ports.setdefault(port, len(ports)) if in_order else None
        step = int(number[1]) if number else -1
        left = request.disconnected if b"hang=" in request.body or "hang=" in request.path else None
        found.append(Sent(step, head, request.body, request.status, left, connection))
    return found if in_order else sorted(found, key=lambda sent: sent.step)


# Runs -------------------------------------------------------------------------------------------------------------


def run(program: Program, server: RecordingServer, wrap: Callable[[Any, str], Any] | None = None) -> Run:
    """Run a program; `wrap` takes each new client of a vendor's SDK and the vendor."""
    server.clear()
    clients = _Clients(server, wrap)
    done = Run()
    if program.aio:
        asyncio.run(_run_async(program, clients, done))
    else:
        with ThreadPoolExecutor(3) as threads:
            for numbered in _numbered(program):
                waiting = [threads.submit(_step, clients, number, step) for number, step in numbered[1:]]
                done.seen[numbered[0][0]] = _step(clients, *numbered[0])
                for (number, _), future in zip(numbered[1:], waiting, strict=True):
                    done.seen[number] = future.result()
                _let_go(server)
        clients.close()
    done.sent = _sent(server, in_order=all(len(group) == 1 for group in program.groups))
    return done


async def _run_async(program: Program, clients: _Clients, done: Run) -> None:
    for numbered in _numbered(program):
        tasks = [asyncio.create_task(_step_async(clients, number, step)) for number, step in numbered]
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        for (number, _), seen in zip(numbered, ended, strict=True):
            # A task that was cancelled and never suspended again ends as cancelled.
            done.seen[number] = _chain(seen) if isinstance(seen, BaseException) else seen
        del tasks
        await asyncio.sleep(0)
        gc.collect()
        await asyncio.sleep(0.001)
        await asyncio.to_thread(_let_go, clients.server)
    await clients.aclose()


def _numbered(program: Program) -> Iterator[list[tuple[int, Step]]]:
    numbers = itertools.count()
    for group in program.groups:
        yield [(next(numbers), step) for step in group]


def _let_go(server: RecordingServer) -> None:
    """Wait until the server has seen what became of each request: one that hangs ends when its client leaves."""
    gc.collect()
    server.settled(1.0)


class _Clients:
    """The clients of one run: made at first use, then shared by steps with the same settings."""

    def __init__(self, server: RecordingServer, wrap: Callable[[Any, str], Any] | None) -> None:
        self.server = server
        self._wrap = wrap
        self._made: dict[tuple[str, tuple[int, float]], Any] = {}

    def of(self, step: Step) -> Any:
        key = (step.way.name, step.setting)
        if key not in self._made:
            retries, timeout = step.setting
            client = step.way.make(Setting(self.server, retries, timeout))
            if self._wrap is not None and step.way.provider is not None:
                client = self._wrap(client, step.way.provider)
            self._made[key] = client
        return self._made[key]

    def close(self) -> None:
        for client in self._made.values():
            if hasattr(client, "close"):
                client.close()

    async def aclose(self) -> None:
        for client in self._made.values():
            closing = getattr(client, "close", None) or getattr(client, "aclose", None)
            client = getattr(client, "aio", None)
            made = client.aclose() if client is not None and hasattr(client, "aclose") else closing and closing()
            if inspect.isawaitable(made):
                await made


def _asked(number: int, step: Step) -> Ask:
    model = f"{step.way.model};{step.faults}" if step.faults else step.way.model
    return Ask(model, f"step {number}: 价格 of a call?", step.stream, step.extras, {"x-step": str(number)})


def _step(clients: _Clients, number: int, step: Step) -> list[str]:
    seen: list[str] = []
    try:
        got = step.way.ask(clients.of(step), _asked(number, step))
        _note(got, step, seen)
        if step.stream:
            _read(_stream_of(got), step, seen)
    except BaseException as error:  # noqa: BLE001 the comparison is about whatever comes
        seen.extend(_chain(error))
    return seen


def _read(stream: Any, step: Step, seen: list[str]) -> None:
    within = step.leave in ("with", "break", "raise") or not hasattr(stream, "__iter__")
    with stream if within and hasattr(stream, "__enter__") else contextlib.nullcontext(stream) as items:
        left = step.leave not in ("end", "with", "again")
        for item in itertools.islice(items, step.most) if left else items:
            seen.append(shown(item))  # noqa: PERF401 an exception must leave those before it
        if step.leave == "raise":
            raise OfTheProgram("in the middle of a stream")
        if step.leave == "again":
            seen.append(f"then {[shown(item) for item in items]}")
        if step.leave == "close" and hasattr(items, "close"):
            seen.append(f"closed: {items.close()!r}")


async def _step_async(clients: _Clients, number: int, step: Step) -> list[str]:
    seen: list[str] = []
    try:
        got = step.way.ask(clients.of(step), _asked(number, step))
        if inspect.isawaitable(got):
            got = await got
        _note(got, step, seen)
        if step.stream:
            await _read_async(_stream_of(got), step, seen)
    except BaseException as error:  # noqa: BLE001
        seen.extend(_chain(error))
    return seen


async def _read_async(stream: Any, step: Step, seen: list[str]) -> None:
    within = step.leave in ("with", "break", "raise") or not hasattr(stream, "__aiter__")
    async with stream if within and hasattr(stream, "__aenter__") else contextlib.nullcontext(stream) as items:
        left = step.leave not in ("end", "with", "again")
        if not left or step.most:
            count = 0
            async for item in items:
                seen.append(shown(item))
                count += 1
                if left and count == step.most:
                    break
        match step.leave:
            case "raise":
                raise OfTheProgram("in the middle of a stream")
            case "again":
                seen.append(f"then {[shown(item) async for item in items]}")
            case "cancel":
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
                async for _ in items:
                    pass
            case "close":
                closing = getattr(items, "close", None) or getattr(items, "aclose", None)
                if closing is not None:
                    closed = closing()
                    seen.append(f"closed: {await closed if inspect.isawaitable(closed) else closed!r}")


def _stream_of(got: Any) -> Any:
    """The stream itself, of a raw answer too."""
    return got[0] if isinstance(got, tuple) else got


# What is seen -----------------------------------------------------------------------------------------------------


def _note(got: Any, step: Step, seen: list[str]) -> None:
    if not step.stream:
        seen.append(shown(got))
        return
    stream = _stream_of(got)
    seen.append(f"{type(stream).__module__}.{type(stream).__qualname__}")
    if isinstance(got, tuple):
        seen.append(shown(got[1:]))
    answer = getattr(stream, "response", None)
    if answer is not None:
        seen.append(f"{answer.status_code} {list(answer.headers.items())}")


def shown(thing: Any) -> str:
    """Type, fields, values and order; of a model also which of its fields were set."""
    if isinstance(thing, tuple):
        return f"({', '.join(map(shown, thing))})"
    name = f"{type(thing).__module__}.{type(thing).__qualname__}"
    if isinstance(thing, BaseModel):
        set_ = thing.model_dump(exclude_unset=True, warnings=False)
        return f"{name} {thing!r} set: {set_!r} id: {getattr(thing, '_request_id', None)}"
    return f"{name} {_plain(repr(thing))}"


def _plain(text: str) -> str:
    """A text without addresses of objects."""
    return re.sub(r"(0x|cancel scope )[0-9a-f]{6,}", r"\1…", text)


def _chain(error: BaseException) -> list[str]:
    """An exception and what it came from: types, texts, notes, and what an SDK's own error carries."""
    found = []
    at: BaseException | None = error
    while at is not None and len(found) < 8:
        carried = {name: getattr(at, name, None) for name in ("status_code", "code", "body", "request_id", "param")}
        notes = getattr(at, "__notes__", [])
        how = "from" if at.__cause__ is not None else "hides" if at.__suppress_context__ else "after"
        found.append(_plain(f"{type(at).__module__}.{type(at).__qualname__}: {at} {carried} {notes} {how}"))
        at = at.__cause__ or at.__context__
    return found
