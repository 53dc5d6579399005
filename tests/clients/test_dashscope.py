"""DashScope's own SDK: the classes with `call`, whose refusals are return values, and tasks."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.rigs.matrix import MESSAGES, Matrix, Sdk, Seen
from tokenmeter import End, Source, Tokenmeter
from tokenmeter.testing import ProviderServer, Received, Records, Reply, json_reply

dashscope = pytest.importorskip("dashscope", reason="needs dashscope; `make test-sdks` has it")
MODEL = "qwen-plus"
CONTENT: Any = [{"role": "user", "content": [{"text": "hi"}]}]
VERSION = tuple(int(part) for part in dashscope.version.__version__.split(".")[:2])
ASYNC = hasattr(dashscope, "AioGeneration")


class Instrumenting(Tokenmeter):
    """The classes have no client that could be wrapped: `instrument` stands in for `wrap`."""

    def wrap(self, client: Any, **_: Any) -> Any:
        self.instrument()
        return client


@pytest.fixture
def classes(server: ProviderServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashscope, "base_http_api_url", server.url("dashscope-native"))
    monkeypatch.setattr(dashscope, "api_key", "k")


@pytest.fixture
def meter(server: ProviderServer, classes: None) -> Iterator[Tokenmeter]:
    made = Instrumenting(spans="none", hosts={server.host: "alibaba"})
    yield made
    made.uninstrument()
    made.shutdown()


def shown(answer: Any) -> dict[str, Any]:
    """An answer without what differs from request to request."""
    return {name: value for name, value in answer.items() if name != "headers"} | {"type": type(answer).__qualname__}


def _generate(_: Any, model: str) -> Any:
    return shown(dashscope.Generation.call(model=model, messages=MESSAGES, result_format="message"))


def _generate_stream(_: Any, model: str) -> Any:
    stream = dashscope.Generation.call(model=model, messages=MESSAGES, result_format="message", stream=True)
    assert type(stream).__name__ == "generator"
    return (shown(answer) for answer in stream)


async def _generate_async(_: Any, model: str) -> Any:
    return shown(await dashscope.AioGeneration.call(model=model, messages=MESSAGES, result_format="message"))


async def _generate_async_stream(_: Any, model: str) -> Any:
    stream = await dashscope.AioGeneration.call(model=model, messages=MESSAGES, result_format="message", stream=True)
    async for answer in stream:
        yield shown(answer)


class Classes(Matrix):
    """Classes with `call`: a refusal is returned, is an error all the same, and is not tried again."""

    def _refused(self, records: Records, seen: Seen) -> None:
        assert seen.error is None
        assert "InvalidApiKey" in seen.shown[-1]
        record = records.only()
        assert (record.end, record.status_code) == (End.ERROR, 401)
        assert len(record.attempts) == seen.requests == 1
        assert record.cost.total is None

    def _tried_again(self, records: Records, server: ProviderServer, seen: Seen) -> None:
        assert seen.requests == 1
        assert (records.only().end, len(records[0].attempts)) == (End.ERROR, 1)


class TestGeneration(Classes):
    """`Generation.call` and `AioGeneration.call`."""

    sdk = Sdk(
        "dashscope Generation",
        provider="alibaba",
        model=MODEL,
        api="dashscope.generation",
        make=lambda server: None,
        amake=(lambda server: None) if ASYNC else None,
        ask=_generate,
        aask=_generate_async,
        stream=_generate_stream,
        astream=_generate_async_stream,
        closed=(End.CLOSED_EARLY, End.DROPPED),
        unseen=("bad=null", "async bad=null"),  # raised by the public classes, which read what `HttpRequest.call` gives
        early=(Source.PARTIAL, Source.COUNTED),
    )


def _converse(_: Any, model: str) -> Any:
    return shown(dashscope.MultiModalConversation.call(model=model, messages=CONTENT))


def _converse_stream(_: Any, model: str) -> Any:
    return map(shown, dashscope.MultiModalConversation.call(model=model, messages=CONTENT, stream=True))


async def _converse_async(_: Any, model: str) -> Any:
    return shown(await dashscope.AioMultiModalConversation.call(model=model, messages=CONTENT))


async def _converse_async_stream(_: Any, model: str) -> Any:
    stream = await dashscope.AioMultiModalConversation.call(model=model, messages=CONTENT, stream=True)
    async for answer in stream:
        yield shown(answer)


class TestMultiModalConversation(Classes):
    sdk = Sdk(
        "dashscope MultiModalConversation",
        provider="alibaba",
        model="qwen-vl-plus",
        api="dashscope.multimodal",
        make=lambda server: None,
        amake=(lambda server: None) if hasattr(dashscope, "AioMultiModalConversation") else None,
        ask=_converse,
        aask=_converse_async,
        stream=_converse_stream,
        astream=_converse_async_stream,
        closed=(End.CLOSED_EARLY, End.DROPPED),
        unseen=("bad=null", "async bad=null"),  # raised by the public classes, which read what `HttpRequest.call` gives
        early=(Source.PARTIAL, Source.COUNTED),
    )


def test_a_cut_connection_is_tried_again_in_the_same_call(
    meter: Tokenmeter, records: Records, server: ProviderServer
) -> None:
    if VERSION < (1, 27):
        pytest.skip("older versions of the SDK do not send again")
    cut = iter((True, False))

    def answer(request: Received) -> Reply:
        if next(cut):
            raise ConnectionResetError
        return json_reply({"output": {"text": "hi"}, "usage": {"input_tokens": 24, "output_tokens": 12}})

    server.serve(answer)
    meter.instrument()
    assert dashscope.Generation.call(model=MODEL, prompt="hi").status_code == 200
    record = records.only()
    assert [attempt.status for attempt in record.attempts] == [None, 200]
    assert (record.end, record.usage.output_tokens, len(server.requests)) == (End.COMPLETE, 12, 2)


def test_running_totals_and_texts_are_not_added_up(meter: Tokenmeter, records: Records) -> None:
    meter.instrument()
    for incremental in (False, True):
        stream = dashscope.Generation.call(
            model=f"{MODEL};chunks=40;out=80", prompt="hi", stream=True, incremental_output=incremental
        )
        assert len(list(stream)) == 40
    assert [record.usage.output_tokens for record in records.drain()] == [80, 80]


@pytest.mark.parametrize(
    ("call", "api", "operation"),
    [
        pytest.param(
            lambda: dashscope.TextEmbedding.call(model="text-embedding-v4", input=["a", "b"]),
            "dashscope.embeddings",
            "embeddings",
            id="TextEmbedding",
            marks=pytest.mark.form("dashscope TextEmbedding", "plain"),
        ),
        pytest.param(
            lambda: dashscope.TextReRank.call(model="gte-rerank-v2", query="q", documents=["a", "b"]),
            "dashscope.rerank",
            "rerank",
            id="TextReRank",
            marks=pytest.mark.form("dashscope TextReRank", "plain"),
        ),
        pytest.param(
            lambda: asyncio.run(dashscope.AioTextReRank.call(model="gte-rerank-v2", query="q", documents=["a", "b"])),
            "dashscope.rerank",
            "rerank",
            id="AioTextReRank",
            marks=pytest.mark.form("dashscope TextReRank", "async"),
        ),
    ],
)
@pytest.mark.usefixtures("note")
def test_the_other_classes(
    request: pytest.FixtureRequest,
    call: Callable[[], Any],
    api: str,
    operation: str,
    meter: Tokenmeter,
    records: Records,
    server: ProviderServer,
) -> None:
    if api == "dashscope.rerank":
        name = request.node.callspec.id
        if not hasattr(dashscope, name):
            pytest.skip(f"this dashscope has no {name}")
        results = [{"index": 0, "relevance_score": 0.9}]
        server.serve(lambda request: json_reply({"output": {"results": results}, "usage": {"total_tokens": 24}}))
    meter.instrument()
    assert call().status_code == 200
    record = records.only()
    assert (record.api, record.operation, record.end) == (api, operation, End.COMPLETE)
    assert (record.usage.input_tokens, record.usage.output_tokens) == (24, 0)
    assert len(server.requests) == 1


# Tasks ----------------------------------------------------------------------------------------------------------


def studio(steps: int, status: str = "SUCCEEDED") -> Callable[[Received], Reply]:
    """Takes an order for an image, and has it ready after so many questions."""
    asked = iter(range(1000))

    def answer(request: Received) -> Reply:
        if request.method == "POST":
            return json_reply({"output": {"task_id": "t-1", "task_status": "PENDING"}, "request_id": "r"})
        output: dict[str, Any] = {"task_id": "t-1", "task_status": "RUNNING"}
        if next(asked) + 1 < steps:
            return json_reply({"output": output, "request_id": "r"})
        if status == "SUCCEEDED":
            output |= {"task_status": status, "results": [{"url": "http://127.0.0.1/a.png"}]}
            return json_reply({"output": output, "usage": {"image_count": 2}, "request_id": "r"})
        return json_reply({"output": output | {"task_status": status, "code": "DataInspection"}, "request_id": "r"})

    return answer


@pytest.mark.form("dashscope ImageSynthesis", "task")
@pytest.mark.usefixtures("note")
def test_a_task_is_one_call_with_the_usage_of_its_end(
    meter: Tokenmeter, records: Records, server: ProviderServer
) -> None:
    server.serve(studio(1))
    meter.instrument()
    with meter.scope("poster") as scope:
        done = dashscope.ImageSynthesis.call(model="wanx-v1", prompt="a cat")
    assert done.usage.image_count == 2
    record = records.only()
    assert (record.api, record.request_model, record.end) == ("dashscope.images", "wanx-v1", End.COMPLETE)
    assert dict(record.usage.quantities) == {"images": 2}
    assert (scope.calls, scope.pending) == (1, 0)


def test_a_task_fetched_twice_is_counted_once(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    server.serve(studio(2))
    meter.instrument()
    task = dashscope.ImageSynthesis.async_call(model="wanx-v1", prompt="a cat")
    assert records.drain() == []
    for _ in range(4):
        dashscope.ImageSynthesis.fetch(task)
    assert dict(records.only().usage.quantities) == {"images": 2}


@pytest.mark.form("dashscope ImageSynthesis", "async task")
@pytest.mark.usefixtures("note")
def test_an_async_task_is_one_call(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    synthesis = importlib.import_module("dashscope.aigc.image_synthesis")
    if not hasattr(synthesis, "AioImageSynthesis"):
        pytest.skip("this dashscope has no AioImageSynthesis")
    server.serve(studio(1))
    meter.instrument()
    asyncio.run(synthesis.AioImageSynthesis.call(model="wanx-v1", prompt="a cat"))
    record = records.only()
    assert (record.end, dict(record.usage.quantities)) == (End.COMPLETE, {"images": 2})


def test_a_task_that_fails_is_an_error(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    server.serve(studio(1, "FAILED"))
    meter.instrument()
    dashscope.ImageSynthesis.call(model="wanx-v1", prompt="a cat")
    record = records.only()
    assert (record.end, record.error_type) == (End.ERROR, "DataInspection")


def test_a_refused_task_is_an_error_at_once(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    server.serve(lambda request: json_reply({"code": "InvalidApiKey", "message": "no", "request_id": "r"}, 401))
    meter.instrument()
    assert dashscope.ImageSynthesis.async_call(model="wanx-v1", prompt="a cat").status_code == 401
    assert records.only().end is End.ERROR
