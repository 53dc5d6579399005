"""Each way in × each form of call: the caller sees what a bare call shows, one request goes out, one record comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import openai
import pytest

from tests.rigs.forms import MEDIA, TEXT, Form
from tokenmeter import End, Source, Tokenmeter
from tokenmeter.testing import ProviderServer, Records

Make = Callable[..., Any]


@contextmanager
def _wrapped(meter: Tokenmeter, make: Make) -> Iterator[Any]:
    yield meter.wrap(make(), provider="openai")


@contextmanager
def _instrumented(meter: Tokenmeter, make: Make) -> Iterator[Any]:
    meter.instrument()
    try:
        yield make()
    finally:
        meter.uninstrument()


@contextmanager
def _copied(meter: Tokenmeter, make: Make) -> Iterator[Any]:
    yield meter.wrap(make(), provider="openai").with_options(max_retries=1).copy()


@contextmanager
def _azure(meter: Tokenmeter, make: Make) -> Iterator[Any]:
    client = make()
    root = str(client.base_url).partition("/v/")[0]
    azure = openai.AzureOpenAI(
        azure_endpoint=root, api_key="k", api_version="2025-04-01-preview", http_client=client._client
    )
    yield meter.wrap(azure, provider="openai")


WAYS = {"wrap": _wrapped, "instrument": _instrumented, "copy of a wrapped client": _copied}


def _cell(way: str, form: Form, kind: str) -> Any:
    mark = pytest.mark.cell(way=way, form=f"{form.name}, {kind}")
    return pytest.param(way, form, kind, id=f"{way}, {form.name}, {kind}", marks=mark)


def _run(form: Form, client: Any, model: str) -> list[str]:
    if isinstance(client, openai.OpenAI):
        return form.sync(client, model)

    async def once() -> list[str]:
        async with client:
            return await form.aio(client, model)

    return asyncio.run(once())


@pytest.mark.parametrize(
    ("way", "form", "kind"), [_cell(way, form, kind) for way in WAYS for form in TEXT for kind in ("sync", "async")]
)
def test_a_metered_call_is_a_bare_call_and_one_record(
    way: str,
    form: Form,
    kind: str,
    meter: Tokenmeter,
    records: Records,
    server: ProviderServer,
    bare: Make,
    bare_async: Make,
) -> None:
    make = bare if kind == "sync" else bare_async
    expected = _run(form, make(), "gpt-4o")
    (plain,) = server.requests
    server.clear()
    with WAYS[way](meter, make) as client:
        seen = _run(form, client, "gpt-4o")
    assert seen == expected
    (sent,) = server.requests
    assert _without_question(sent.json) == _without_question(plain.json)
    assert _headers(sent.headers) == _headers(plain.headers)
    record = records.only()
    assert (record.end, record.api, record.stream) == (End.COMPLETE, form.api, form.stream)
    assert (record.request_model, record.response_model) == ("gpt-4o", "gpt-4o")
    assert [attempt.status for attempt in record.attempts] == [200]
    if form.reported:
        assert (record.usage.input_tokens, record.usage.output_tokens) == (24, 12 if form.output else 0)
        assert record.usage.source_of("input_tokens") is Source.REPORTED
        assert record.usage.source_of("output_tokens") is Source.REPORTED
    else:
        assert record.usage.source_of("output_tokens") in (Source.COUNTED, Source.ESTIMATED)
        assert record.usage.output_tokens


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("form", [pytest.param(form, id=form.name) for form in MEDIA])
def test_images_and_sound_pass_unharmed_and_at_most_once(
    form: Form, kind: str, meter: Tokenmeter, records: Records, server: ProviderServer, bare: Make, bare_async: Make
) -> None:
    make = bare if kind == "sync" else bare_async
    expected = _run(form, make(), "gpt-4o-transcribe")
    assert _run(form, meter.wrap(make(), provider="openai"), "gpt-4o-transcribe") == expected
    assert len(server.requests) == 2
    for record in records.drain():
        assert record.end is End.COMPLETE
    assert len(records) <= 1


@pytest.mark.parametrize("form", [pytest.param(form, id=form.name) for form in TEXT if form.api == "openai.chat"])
def test_azure_deployments_in_the_path(
    form: Form, meter: Tokenmeter, records: Records, server: ProviderServer, bare: Make
) -> None:
    with _azure(meter, bare) as client:
        assert form.sync(client, "gpt-4o")
    assert len(server.requests) == 1
    record = records.only()
    assert (record.end, record.request_model) == (End.COMPLETE, "gpt-4o")
    if form.reported:
        assert record.usage.output_tokens == 12


def test_the_module_level_client(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    meter.instrument()
    openai.api_key, openai.base_url = "any", server.url() + "/"
    try:
        openai.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "hi"}])
    finally:
        openai.api_key = openai.base_url = None
        if hasattr(openai, "_reset_client"):
            openai._reset_client()
    assert records.only().usage.output_tokens == 12


def _without_question(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name != "stream_options"}


def _headers(headers: Any) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name != "content-length"}
