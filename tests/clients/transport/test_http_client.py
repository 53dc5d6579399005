"""No SDK and no HTTP library: the standard library's `http.client`, and what sends through it."""

from __future__ import annotations

import gzip
import http.client
import io
import json
import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.rigs.matrix import MESSAGES, Matrix, Sdk
from tokenmeter import End, Source, Tokenmeter
from tokenmeter.testing import ProviderServer, Records, capture

urllib3 = pytest.importorskip("urllib3")
MODEL = "gpt-4o"
PATH = "/v/openai/v1/chat/completions"


def body(model: str, *, stream: bool = False) -> bytes:
    options = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    return json.dumps({"model": model, "messages": MESSAGES, **options}).encode()


class Api(http.client.HTTPConnection):
    """A program's own little client."""

    def ask(self, model: str, *, stream: bool = False) -> http.client.HTTPResponse:
        self.request("POST", PATH, body(model, stream=stream), {"content-type": "application/json"})
        answer = self.getresponse()
        if answer.status >= 400:
            raise ConnectionRefusedError(answer.read())
        return answer


def _ask(client: Api, model: str) -> Any:
    return json.loads(client.ask(model).read())


def _stream(client: Api, model: str) -> Iterator[bytes]:
    with client.ask(model, stream=True) as answer:
        yield from iter(lambda: answer.read1(4096), b"")  # by lines, a cut answer is no error of http.client's


class TestHttpClient(Matrix):
    sdk = Sdk(
        "http.client",
        provider="openai",
        model=MODEL,
        make=lambda server: Api(server.host),
        ask=_ask,
        stream=_stream,
        closed=(End.CLOSED_EARLY, End.DROPPED),
        unseen=("bad=1", "bad=null"),  # nothing here reads events
    )


# However a program sends and reads -------------------------------------------------------------------------------


@pytest.fixture
def instrumented(server: ProviderServer) -> Iterator[Records]:
    meter = Tokenmeter(spans="none", hosts={server.host: "openai"})
    meter.instrument()
    with capture(meter) as records:
        yield records
    meter.uninstrument()
    meter.shutdown()


def by_urllib(server: ProviderServer, model: str, *, stream: bool) -> bytes:
    request = urllib.request.Request(server.origin + PATH, body(model, stream=stream))
    with urllib.request.urlopen(request) as answer:
        found: bytes = answer.read()
    return found


def by_urllib3(server: ProviderServer, model: str, *, stream: bool) -> bytes:
    answer = urllib3.PoolManager().request("POST", server.origin + PATH, body=body(model, stream=stream))
    return bytes(answer.data)


def by_urllib3_in_pieces(server: ProviderServer, model: str, *, stream: bool) -> bytes:
    answer = urllib3.PoolManager().request(
        "POST", server.origin + PATH, body=body(model, stream=stream), preload_content=False
    )
    return b"".join(answer.stream(7))


def by_chunks(server: ProviderServer, model: str, *, stream: bool) -> bytes:
    connection = http.client.HTTPConnection(server.host)
    sent = body(model, stream=stream)
    connection.request("POST", PATH, iter([sent[:9], sent[9:]]), encode_chunked=True)
    return connection.getresponse().read()


def by_hand(server: ProviderServer, model: str, *, stream: bool) -> bytes:
    connection = http.client.HTTPConnection(server.host)
    sent = body(model, stream=stream)
    connection.putrequest("POST", PATH)
    connection.putheader("Content-Length", str(len(sent)))
    connection.endheaders()
    connection.send(sent[:10])
    connection.send(sent[10:])
    return connection.getresponse().read()


def through_a_proxy(server: ProviderServer, model: str, *, stream: bool) -> bytes:
    """A plain proxy is sent the whole URL; the server takes it as well as a path."""
    connection = http.client.HTTPConnection(server.host)
    connection.request("POST", server.origin + PATH, body(model, stream=stream))
    return connection.getresponse().read()


SENDERS = [by_urllib, by_urllib3, by_urllib3_in_pieces, by_chunks, by_hand, through_a_proxy]
READERS: list[Callable[[http.client.HTTPResponse], bytes]] = [
    lambda answer: answer.read(),
    lambda answer: b"".join(iter(lambda: answer.read(11), b"")),
    lambda answer: b"".join(iter(lambda: answer.read1(64), b"")),
    lambda answer: b"".join(answer),
    lambda answer: b"".join(iter(answer.readline, b"")),
    lambda answer: b"".join(answer.readlines()),
    lambda answer: io.BufferedReader(answer).read(),  # by readinto
    lambda answer: b"".join(iter(lambda: answer.peek(8)[:0] + answer.read(5), b"")),
]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("send", SENDERS, ids=lambda send: send.__name__)
def test_whatever_sends(
    send: Callable[..., bytes], stream: bool, instrumented: Records, server: ProviderServer
) -> None:
    answer = send(server, MODEL, stream=stream)
    assert answer
    record = instrumented.only()
    assert (record.end, record.provider, record.request_model) == (End.COMPLETE, "openai", MODEL)
    assert (record.usage.input_tokens, record.usage.output_tokens) == (24, 12)
    assert record.usage_source is Source.REPORTED
    assert len(server.requests) == 1
    assert [attempt.status for attempt in record.attempts] == [200]


@pytest.mark.parametrize("number", range(len(READERS)))
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_however_an_answer_is_read(number: int, stream: bool, instrumented: Records, server: ProviderServer) -> None:
    def read() -> bytes:
        connection = http.client.HTTPConnection(server.host)
        connection.request("POST", PATH, body(f"{MODEL};lang=mixed", stream=stream))
        answer = connection.getresponse()
        assert type(answer) is http.client.HTTPResponse
        return READERS[number](answer)

    found = read()
    record = instrumented.only()
    assert (record.end, record.usage.input_tokens, record.usage.output_tokens) == (End.COMPLETE, 24, 12)
    assert (record.time_to_first_chunk is not None) == stream
    assert b"usage" in found


def test_a_packed_answer_is_read(instrumented: Records, server: ProviderServer) -> None:
    request = urllib.request.Request(server.origin + PATH, body(f"{MODEL};gzip=1"), {"accept-encoding": "gzip"})
    with urllib.request.urlopen(request) as answer:
        assert json.loads(gzip.decompress(answer.read()))["usage"]
    assert instrumented.only().usage.output_tokens == 12


def test_requests_are_metered_once(instrumented: Records, server: ProviderServer) -> None:
    """`requests` sends through urllib3, which sends through `http.client`."""
    requests = pytest.importorskip("requests")
    assert requests.post(server.origin + PATH, data=body(MODEL)).json()["usage"]
    assert instrumented.only().usage.output_tokens == 12


def test_a_refused_connection_is_an_attempt_without_an_answer(instrumented: Records, server: ProviderServer) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    meter = Tokenmeter(spans="none", hosts={f"127.0.0.1:{port}": "openai"})
    meter.instrument()
    try:
        with capture(meter) as records, pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}{PATH}", body(MODEL))
    finally:
        meter.uninstrument()
        meter.shutdown()
    record = records.only()
    assert (record.end, record.error_type) == (End.ERROR, "ConnectionRefusedError")
    assert [attempt.status for attempt in record.attempts] == [None]
    assert record.cost.amount is None


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
def test_other_methods_are_no_calls(method: str, instrumented: Records, server: ProviderServer) -> None:
    connection = http.client.HTTPConnection(server.host)
    connection.request(method, PATH)
    connection.getresponse().read()
    assert list(instrumented) == []


def test_a_connection_is_used_again(instrumented: Records, server: ProviderServer) -> None:
    connection = http.client.HTTPConnection(server.host)
    for _ in range(3):
        connection.request("POST", PATH, body(MODEL))
        connection.getresponse().read()
    assert [record.usage.output_tokens for record in instrumented] == [12, 12, 12]
    assert not [name for name in vars(connection) if name.startswith("_tokenmeter")]


def test_a_cut_answer_raises_as_it_would_and_is_an_error(instrumented: Records, server: ProviderServer) -> None:
    connection = http.client.HTTPConnection(server.host)
    connection.request("POST", PATH, body(f"{MODEL};drop=4", stream=True))
    with pytest.raises((http.client.IncompleteRead, ConnectionError)) as raised:
        connection.getresponse().read()
    record = instrumented.only()
    assert (record.end, record.error_type) == (End.ERROR, type(raised.value).__name__)
    assert (record.usage.output_tokens or 0) > 0, "what arrived is counted"
