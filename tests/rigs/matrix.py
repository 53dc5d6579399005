"""The cases that every SDK's client goes through, bare and metered: plain, streams, sync and async, and every end.

A test file says in an `Sdk` how its SDK is called, and gets the cases by a class:

    class TestGroq(Matrix):
        sdk = Sdk("groq", provider="groq", ...)
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from tokenmeter import End, Source, Tokenmeter
from tokenmeter.testing import ProviderServer, Records, capture

MESSAGES: Any = [{"role": "user", "content": "今天天气怎么样？ What is the price of a call?"}]
LONG = "chunks=300;delay=2"
"""A stream that is still coming while a test leaves it."""


FAULTS = ("bad=1", "bad=null", "drop=4")
"""What may be wrong with a stream: an event that is not JSON, one with a null, a cut connection."""
LEAVES = ("for", "with", "break", "del")
"""How a caller reads a stream: to its end, to its end in a `with` block, or the first item, by a loop or `next`."""


@dataclass(frozen=True)
class Sdk:
    """How an SDK is called. Functions take a client (or the server) and a model; None where the SDK has no such form.

    `closed` are the ends that leaving a stream may have: a generator of the SDK's may only be collected. `package` is
    the distribution, and a few words on what of it is called.
    """

    package: str
    provider: str
    model: str
    make: Callable[[ProviderServer], Any] | None = None
    ask: Callable[[Any, str], Any] | None = None
    stream: Callable[[Any, str], Any] | None = None
    amake: Callable[[ProviderServer], Any] | None = None
    aask: Callable[[Any, str], Awaitable[Any]] | None = None
    astream: Callable[[Any, str], Any] | None = None
    api: str = "openai.chat"
    closed: tuple[End, ...] = (End.CLOSED_EARLY,)
    early: tuple[Source, ...] = (Source.COUNTED, Source.ESTIMATED)
    """Where the output of a stream that was left comes from."""
    unseen: tuple[str, ...] = ()
    """Faults of a stream that the SDK raises from code above the hooked method, or after the whole body was read;
    `async ` before those of its async client."""


@dataclass(frozen=True)
class Seen:
    """What a caller saw, and how often the provider was asked."""

    shown: tuple[str, ...]
    error: str | None
    requests: int


def chat(client: Any, model: str) -> Any:
    """A call of a client that is made like OpenAI's."""
    return client.chat.completions.create(model=model, messages=MESSAGES)


def chat_stream(client: Any, model: str) -> Any:
    return client.chat.completions.create(model=model, messages=MESSAGES, stream=True)


def shown(thing: Any) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__} {thing!r}"


def named(error: BaseException) -> str:
    # Ark makes an id of its own for every request.
    message = re.sub(r"request_id: \w+", "request_id: …", str(error))
    return f"{type(error).__module__}.{type(error).__qualname__}: {message}"


class Matrix:
    """The cases. Each compares a metered client with a bare one, then looks at the one record."""

    sdk: ClassVar[Sdk]
    pytestmark = pytest.mark.usefixtures("note")

    # What callers do ----------------------------------------------------------------------------------------

    def _sync(self, client: Any, server: ProviderServer, suffix: str, *, stream: bool, most: int | None = None) -> Seen:
        server.clear()
        model = self._model(suffix)
        seen: list[str] = []
        error = None
        try:
            if stream:
                assert self.sdk.stream is not None
                with _closing(self.sdk.stream(client, model)) as got:
                    seen.append(type(got).__qualname__)
                    for chunk in got:
                        seen.append(shown(chunk))
                        if len(seen) == most:
                            break
                        del chunk
            else:
                assert self.sdk.ask is not None
                seen.append(shown(self.sdk.ask(client, model)))
        except Exception as raised:  # noqa: BLE001 the comparison is about whatever comes
            error = named(raised)
        gc.collect()
        server.settled()
        return Seen(tuple(seen), error, len(server.requests))

    def _async(
        self,
        make: Callable[[], Any],
        server: ProviderServer,
        suffix: str,
        *,
        stream: bool,
        most: int | None = None,
    ) -> Seen:
        async def run() -> Seen:
            server.clear()
            client = make()
            seen: list[str] = []
            error = None
            try:
                if stream:
                    assert self.sdk.astream is not None
                    async with _aclosing(await _awaited(self.sdk.astream(client, self._model(suffix)))) as got:
                        async for chunk in got:
                            seen.append(shown(chunk))
                            if len(seen) == most:
                                break
                else:
                    assert self.sdk.aask is not None
                    seen.append(shown(await self.sdk.aask(client, self._model(suffix))))
            except Exception as raised:  # noqa: BLE001
                error = named(raised)
            server.settled()
            return Seen(tuple(seen), error, len(server.requests))

        seen = asyncio.run(run())
        gc.collect()
        return seen

    def _model(self, suffix: str) -> str:
        return f"{self.sdk.model};{suffix}" if suffix else self.sdk.model

    def _both(self, meter: Tokenmeter, server: ProviderServer, suffix: str, *, stream: bool) -> Seen:
        """What a caller of a metered client sees, which is what one of a bare client does."""
        make = self._maker()
        bare = self._sync(make(server), server, suffix, stream=stream)
        client = make(server)
        assert meter.wrap(client, provider=self.sdk.provider) is client
        metered = self._sync(client, server, suffix, stream=stream)
        assert metered == bare
        return metered

    def _both_async(self, meter: Tokenmeter, server: ProviderServer, suffix: str, *, stream: bool) -> Seen:
        make = self._async_maker()
        bare = self._async(lambda: make(server), server, suffix, stream=stream)
        wrapped = lambda: meter.wrap(make(server), provider=self.sdk.provider)  # noqa: E731
        metered = self._async(wrapped, server, suffix, stream=stream)
        assert metered == bare
        return metered

    def _maker(self) -> Callable[[ProviderServer], Any]:
        if self.sdk.make is None:
            pytest.skip(f"{self.sdk.package} has no sync client")
        return self.sdk.make

    def _async_maker(self) -> Callable[[ProviderServer], Any]:
        if self.sdk.amake is None:
            pytest.skip(f"{self.sdk.package} has no async client")
        return self.sdk.amake

    def _complete(self, records: Records, *, stream: bool) -> None:
        record = records.only()
        assert record.end is End.COMPLETE
        assert (record.usage.input_tokens, record.usage.output_tokens) == (24, 12)
        assert record.usage_source is Source.REPORTED
        assert (record.provider, record.api, record.stream) == (self.sdk.provider, self.sdk.api, stream)
        assert record.attempts[-1].usage

    def _left(self, records: Records, left: Seen) -> None:
        assert (left.error, left.requests) == (None, 1)
        record = records.only()
        assert record.end in self.sdk.closed
        assert record.usage.source_of("output_tokens") in self.sdk.early
        assert record.usage.output_tokens

    def _refused(self, records: Records, seen: Seen) -> None:
        assert seen.error is not None
        record = records.only()
        assert (record.end, record.status_code) == (End.ERROR, 401)
        assert len(record.attempts) == seen.requests == 1
        assert record.error_type
        assert record.cost.total is None

    def _tried_again(self, records: Records, server: ProviderServer, seen: Seen) -> None:
        record = records.only()
        assert len(record.attempts) == seen.requests
        assert [attempt.status for attempt in record.attempts] == [request.status for request in server.requests]
        assert record.end is (End.COMPLETE if seen.error is None else End.ERROR)
        assert record.usage.output_tokens == (12 if seen.error is None else None)

    # Cases --------------------------------------------------------------------------------------------------

    def test_plain(self, meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
        assert self._both(meter, server, "", stream=False).error is None
        self._complete(records, stream=False)

    def test_stream(self, meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
        assert self._both(meter, server, "frag=7;lang=zh", stream=True).error is None
        self._complete(records, stream=True)

    def test_async(self, meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
        assert self._both_async(meter, server, "", stream=False).error is None
        self._complete(records, stream=False)

    def test_async_stream(self, meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
        assert self._both_async(meter, server, "", stream=True).error is None
        self._complete(records, stream=True)

    @pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
    def test_instrumented(self, stream: bool, records: Records, server: ProviderServer) -> None:
        """An unmarked client in an instrumented process, whose provider is told by the host."""
        make, amake = self.sdk.make, self.sdk.amake
        meter = Tokenmeter(spans="none", hosts={server.host: self.sdk.provider})
        meter.instrument()
        try:
            with capture(meter) as found:
                if make is not None:
                    seen = self._sync(make(server), server, "", stream=stream)
                else:
                    assert amake is not None
                    seen = self._async(lambda: amake(server), server, "", stream=stream)
        finally:
            meter.uninstrument()
        assert (seen.error, seen.requests) == (None, 1)
        records.extend(found)  # to be noted
        self._complete(found, stream=stream)

    def test_early_close(self, meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
        client = meter.wrap(self._maker()(server), provider=self.sdk.provider)
        self._left(records, self._sync(client, server, LONG, stream=True, most=9))

    def test_async_early_close(self, meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
        make = self._async_maker()
        wrapped = lambda: meter.wrap(make(server), provider=self.sdk.provider)  # noqa: E731
        self._left(records, self._async(wrapped, server, LONG, stream=True, most=9))

    def test_cancel(self, meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
        make, sdk = self._async_maker(), self.sdk

        async def run() -> None:
            client = meter.wrap(make(server), provider=sdk.provider)
            begun = asyncio.Event()

            async def read() -> None:
                assert sdk.astream is not None
                async for _ in await _awaited(sdk.astream(client, f"{sdk.model};hang=4")):
                    begun.set()

            task = asyncio.create_task(read())
            await asyncio.wait_for(begun.wait(), 60)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            assert task.cancelled()

        asyncio.run(run())
        assert records.only().end is End.CANCELLED
        assert len(server.requests) == 1

    @pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
    def test_error(self, stream: bool, meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
        self._refused(records, self._both(meter, server, "status=401", stream=stream))

    @pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
    def test_async_error(self, stream: bool, meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
        self._refused(records, self._both_async(meter, server, "status=401", stream=stream))

    def test_error_in_stream(self, meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
        seen = self._both(meter, server, "drop=4", stream=True)
        assert seen.error is not None
        assert records.only().end is End.ERROR

    @pytest.mark.parametrize("leave", LEAVES)
    @pytest.mark.parametrize("fault", FAULTS)
    def test_fault_in_stream(
        self, fault: str, leave: str, meter: Tokenmeter, records: Records, server: ProviderServer
    ) -> None:
        """An error where the iterator raised, whoever closes the body; where it did not, none."""
        client = meter.wrap(self._maker()(server), provider=self.sdk.provider)
        assert self.sdk.stream is not None
        error = _read(self.sdk.stream(client, self._model(fault)), leave)
        gc.collect()
        self._ended_by(records, error, fault, leave)

    @pytest.mark.parametrize("leave", LEAVES)
    @pytest.mark.parametrize("fault", FAULTS)
    def test_async_fault_in_stream(
        self, fault: str, leave: str, meter: Tokenmeter, records: Records, server: ProviderServer
    ) -> None:
        make = self._async_maker()

        async def run() -> str | None:
            client = meter.wrap(make(server), provider=self.sdk.provider)
            assert self.sdk.astream is not None
            error = await _aread(await _awaited(self.sdk.astream(client, self._model(fault))), leave)
            # A generator that was left is closed here: at the end of the loop it would be cancelled.
            await asyncio.get_running_loop().shutdown_asyncgens()
            for _ in range(10):
                await asyncio.sleep(0)
            return error

        error = asyncio.run(run())
        gc.collect()
        self._ended_by(records, error, f"async {fault}", leave)

    def _ended_by(self, records: Records, error: str | None, fault: str, leave: str) -> None:
        record = records.only()
        if error is not None and (fault not in self.sdk.unseen or record.end is End.ERROR):
            assert record.end is End.ERROR
            assert record.error_type
            return
        left = (*self.sdk.closed, End.DROPPED) if error is not None or leave in ("break", "del") else ()
        assert record.end in (*left, End.COMPLETE, End.CLOSED_EARLY), (record.end, record.error_type)
        assert record.error_type is None

    def test_retry(self, meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
        """What the SDK tries again is one call, however often; one that does not try again fails once."""
        self._tried_again(records, server, self._both(meter, server, "fail=1;status=503", stream=False))

    def test_async_retry(self, meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
        self._tried_again(records, server, self._both_async(meter, server, "fail=1;status=503", stream=False))


@contextlib.contextmanager
def _closing(stream: Any) -> Any:
    """Use a stream the way its SDK has it: a context manager, something to close, or neither."""
    if hasattr(stream, "__exit__"):
        with stream as entered:
            yield stream if entered is None else entered
        return
    try:
        yield stream
    finally:
        if hasattr(stream, "close"):
            stream.close()


@contextlib.asynccontextmanager
async def _aclosing(stream: Any) -> Any:
    """The same for an async stream, which has `aclose`, or `close` to be awaited."""
    if hasattr(stream, "__aexit__"):
        async with stream as entered:
            yield stream if entered is None else entered
        return
    try:
        yield stream
    finally:
        for name in ("aclose", "close"):
            if hasattr(stream, name):
                await getattr(stream, name)()
                break


async def _awaited(made: Any) -> Any:
    """An async stream, whether the SDK has it awaited first or not."""
    return await made if asyncio.iscoroutine(made) else made


def _read(stream: Any, leave: str) -> str | None:
    """Read a stream the given way; the type of the exception that the caller got."""
    try:
        if leave == "del":
            next(iter(stream), None)
        elif leave == "with":
            with _closing(stream) as got:
                for _ in got:
                    pass
        else:
            for _ in stream:
                if leave == "break":
                    break
    except Exception as raised:  # noqa: BLE001 the comparison is about whatever comes
        return type(raised).__name__
    return None


async def _aread(stream: Any, leave: str) -> str | None:
    """The same for an async stream."""
    try:
        if leave == "del":
            await anext(aiter(stream), None)
        elif leave == "with":
            async with _aclosing(stream) as got:
                async for _ in got:
                    pass
        else:
            async for _ in stream:
                if leave == "break":
                    break
    except Exception as raised:  # noqa: BLE001
        return type(raised).__name__
    return None
