"""No SDK at all: requests for sync programs, aiohttp for async ones, to an address that is known."""

from __future__ import annotations

import asyncio
import copy
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import tokenmeter
from tests.rigs.matrix import MESSAGES, Matrix, Sdk
from tokenmeter import End, Source, Tokenmeter
from tokenmeter.testing import ProviderServer, Received, Records, Reply, capture, json_reply

requests = pytest.importorskip("requests", reason="needs requests; `make test-sdks` has it")
aiohttp = pytest.importorskip("aiohttp", reason="needs aiohttp; `make test-sdks` has it")
MODEL = "gpt-4o"
PATH = "chat/completions"
WHOLE = "/v/openai/v1/chat/completions"


def body(model: str, *, stream: bool = False, ask: bool = True) -> dict[str, Any]:
    options = {"stream": True, **({"stream_options": {"include_usage": True}} if ask else {})} if stream else {}
    return {"model": model, "messages": MESSAGES, **options}


class Api(requests.Session):  # type: ignore[misc]
    """A program's own little client."""

    def __init__(self, base: str) -> None:
        super().__init__()
        self.base = base

    def ask(self, model: str, **options: Any) -> Any:
        return self.post(f"{self.base}/{PATH}", json=body(model, stream=bool(options.get("stream"))), **options)


def _ask(client: Api, model: str) -> Any:
    answer = client.ask(model)
    answer.raise_for_status()
    return answer.json()


def _stream(client: Api, model: str) -> Iterator[bytes]:
    with client.ask(model, stream=True) as answer:
        answer.raise_for_status()
        yield from answer.iter_lines()


def session(server: ProviderServer) -> Any:
    return aiohttp.ClientSession(server.origin, raise_for_status=True)


async def _ask_async(client: Any, model: str) -> Any:
    async with client, client.post(WHOLE, json=body(model)) as answer:
        return await answer.json()


class TestRequests(Matrix):
    sdk = Sdk(
        "requests",
        provider="openai",
        model=MODEL,
        make=lambda server: Api(server.url()),
        ask=_ask,
        stream=_stream,
        closed=(End.CLOSED_EARLY, End.DROPPED),
    )


# What requests does ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "read",
    [
        pytest.param(lambda answer: answer.content, id="content"),
        pytest.param(lambda answer: answer.text, id="text"),
        pytest.param(lambda answer: list(answer.iter_lines(decode_unicode=True)), id="lines of text"),
        pytest.param(lambda answer: list(answer), id="iteration"),
        pytest.param(lambda answer: pickle.loads(pickle.dumps(answer)), id="pickled"),
    ],
)
def test_however_a_response_is_read(
    read: Callable[[Any], Any], meter: Tokenmeter, records: Records, server: ProviderServer
) -> None:
    client = meter.wrap(Api(server.url()), provider="openai")
    answer = client.ask(f"{MODEL};gzip=1;lang=zh", stream=True)
    assert type(answer) is requests.Response
    read(answer)
    record = records.only()
    assert (record.end, record.usage.input_tokens, record.usage.output_tokens) == (End.COMPLETE, 24, 12)
    assert record.time_to_first_chunk is not None


def test_what_is_read_is_what_was_sent(meter: Tokenmeter, server: ProviderServer) -> None:
    model = f"{MODEL};lang=mixed;frag=3"
    bare = list(Api(server.url()).ask(model, stream=True).iter_content(5))
    metered = list(meter.wrap(Api(server.url()), provider="openai").ask(model, stream=True).iter_content(5))
    assert b"".join(metered) == b"".join(bare)


@pytest.mark.parametrize(
    "copied",
    [
        pytest.param(copy.copy, id="copied"),
        pytest.param(copy.deepcopy, id="copied deeply"),
        pytest.param(lambda session: pickle.loads(pickle.dumps(session)), id="pickled"),
    ],
)
def test_copies_of_a_session_stay_metered(copied: Callable[[Any], Any], server: ProviderServer) -> None:
    bare = copied(requests.Session())
    assert vars(bare).keys() == vars(requests.Session()).keys()
    # Of a pickle only the default meter can be meant.
    meter = tokenmeter.configure(spans="none")
    session = copied(meter.wrap(requests.Session(), provider="openai"))
    assert type(session) is requests.Session
    with capture(meter) as records:
        session.post(f"{server.url()}/{PATH}", json=body(MODEL))
    assert (records.only().provider, records[0].usage.output_tokens) == ("openai", 12)


def test_a_pickled_session_is_read_where_we_are_not_installed(meter: Tokenmeter) -> None:
    pickled = pickle.dumps(meter.wrap(requests.Session(), provider="openai"))
    script = "import sys, pickle; sys.modules['tokenmeter'] = None; print(type(pickle.load(sys.stdin.buffer)).__name__)"
    done = subprocess.run([sys.executable, "-c", script], input=pickled, capture_output=True, check=True)
    assert done.stdout.strip() == b"Session"


def test_a_redirect_is_one_call(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    def answer(request: Received) -> Reply:
        if request.path.startswith("/v/"):
            return Reply(307, [], headers={"location": f"{server.origin}/{PATH}"})
        return json_reply({"model": MODEL, "usage": {"prompt_tokens": 24, "completion_tokens": 12}})

    server.serve(answer)
    assert meter.wrap(Api(server.url()), provider="openai").ask(MODEL).status_code == 200
    assert len(server.requests) == 2
    assert records.only().usage.output_tokens == 12


def test_a_stream_nobody_reads_is_noted(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    client = meter.wrap(Api(server.url()), provider="openai")
    client.ask(MODEL, stream=True)
    record = records.only()
    assert (record.end, record.status_code) == (End.DROPPED, 200)
    assert record.usage.source_of("input_tokens") in (Source.COUNTED, Source.ESTIMATED)


def test_only_posts_to_known_addresses(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    server.serve(lambda request: json_reply({}))
    meter.instrument()
    for url in (f"{server.url()}/{PATH}", f"{server.origin}/upload"):
        requests.post(url, json=body(MODEL))
    wrapped = meter.wrap(Api(server.url()), provider="openai")
    wrapped.get(f"{server.url()}/models")
    wrapped.post(f"{server.url()}/files", data=b"x")
    assert records.drain() == []


def test_an_address_the_user_named(server: ProviderServer) -> None:
    async def ask() -> None:
        await _ask_async(aiohttp.ClientSession(server.origin), "deepseek-chat")

    meter = Tokenmeter(spans="none", hosts={server.host: "deepseek"})
    meter.instrument()
    try:
        with capture(meter) as records:
            requests.post(f"{server.url('deepseek')}/{PATH}", json=body("deepseek-chat"))
            asyncio.run(ask())
    finally:
        meter.uninstrument()
    assert [(record.provider, record.usage.output_tokens) for record in records] == [("deepseek", 12)] * 2


def test_a_bad_url_raises_the_librarys_own_error(meter: Tokenmeter, records: Records) -> None:
    client = meter.wrap(Api("http://[bad"), provider="openai")
    with pytest.raises(requests.exceptions.InvalidURL):
        client.ask(MODEL)

    async def ask() -> None:
        async with meter.wrap(aiohttp.ClientSession(), provider="openai") as own:
            with pytest.raises(ValueError, match=r"."):
                await own.post(f"http://[bad/{PATH}", json={})

    asyncio.run(ask())
    assert records.drain() == []


# What aiohttp does ----------------------------------------------------------------------------------------------


# One library over another ---------------------------------------------------------------------------------------
