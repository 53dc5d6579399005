"""Where providers put the usage of a stream, and who gets to see the chunk that only we asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import openai
import pytest

from tests.rigs.forms import ASKED, MESSAGES, shown
from tokenmeter import Source, Tokenmeter
from tokenmeter.testing import ProviderServer, Records, capture

Make = Callable[..., Any]

# Dialect of the server, provider of the catalog, whether the provider may be asked for stream usage.
PLACES = [
    pytest.param("openai", "openai", True, id="openai: extra chunk, if asked"),
    pytest.param("dashscope", "alibaba", True, id="dashscope: extra chunk, if asked"),
    pytest.param("ark", "volcengine", True, id="ark: extra chunk, if asked"),
    pytest.param("deepseek", "deepseek", None, id="deepseek: last chunk, always"),
    pytest.param("zhipu", "zhipu", None, id="zhipu: last chunk, always"),
    pytest.param("moonshot", "moonshot", None, id="moonshot: in the choice"),
    pytest.param("groq", "groq", None, id="groq: x_groq and top level, once"),
    pytest.param("stepfun", "stepfun", None, id="stepfun: every chunk, cumulative"),
    pytest.param("siliconflow", "siliconflow", None, id="siliconflow: every chunk, cumulative"),
    pytest.param("xai", "xai", None, id="xai: reasoning beside the completion"),
    pytest.param("mistral", "mistral", False, id="mistral: refuses to be asked"),
    pytest.param("openrouter", "openrouter", None, id="openrouter: extra chunk unasked, to be seen"),
]


@pytest.mark.parametrize(("dialect", "provider", "asked"), PLACES)
@pytest.mark.parametrize("caller_asks", [False, True], ids=["silent", "caller asks"])
def test_usage_of_a_stream(
    dialect: str,
    provider: str,
    asked: bool | None,
    caller_asks: bool,
    meter: Tokenmeter,
    records: Records,
    server: ProviderServer,
    bare: Make,
) -> None:
    if caller_asks and asked is False:
        pytest.skip("the provider refuses stream_options from anybody")
    extra = ASKED if caller_asks else {}
    model = "m;in=100;out=40;cached=30;reasoning=5"
    arguments: dict[str, Any] = {"model": model, "messages": MESSAGES, "stream": True, **extra}
    expected = [shown(chunk) for chunk in bare(dialect).chat.completions.create(**arguments)]
    server.clear()
    client = meter.wrap(bare(dialect), provider=provider)
    assert [shown(chunk) for chunk in client.chat.completions.create(**arguments)] == expected
    record = records.only()
    assert record.provider == provider
    assert (record.usage.input_tokens, record.usage.output_tokens) == (100, 40)
    assert record.usage.source_of("output_tokens") is Source.REPORTED
    (request,) = server.requests
    if asked is not None:
        assert ("stream_options" in request.json) == (asked or caller_asks)


@pytest.mark.parametrize("dialect", ["openai", "deepseek", "moonshot", "xai", "groq"])
def test_usage_of_a_whole_answer(
    dialect: str, meter: Tokenmeter, records: Records, server: ProviderServer, bare: Make
) -> None:
    client = meter.wrap(bare(dialect), provider=dialect)
    client.chat.completions.create(model="m;in=100;out=40;cached=30;reasoning=5", messages=MESSAGES)
    usage = records.only().usage
    assert (usage.input_tokens, usage.output_tokens, usage.cache_read_input_tokens) == (100, 40, 30)


@pytest.mark.parametrize("dialect", ["openai", "azure"])
@pytest.mark.parametrize("model", ["m", "m;usage=null"])
def test_chunks_do_not_show_that_we_asked(dialect: str, model: str, meter: Tokenmeter, bare: Make) -> None:
    """A provider that is asked adds `usage: null` to every chunk; a caller who forwards chunks would send it on.

    Some gateways have null in the last one too, which is there for the usage only.
    """
    arguments: dict[str, Any] = {"model": model, "messages": MESSAGES, "stream": True}
    expected = [chunk.to_json() for chunk in bare(dialect).chat.completions.create(**arguments)]
    client = meter.wrap(bare(dialect), provider="azure-openai" if dialect == "azure" else dialect)
    assert [chunk.to_json() for chunk in client.chat.completions.create(**arguments)] == expected


def test_a_null_of_the_servers_own_is_shown(meter: Tokenmeter, bare: Make) -> None:
    """A server that was asked and begins without usage has a reason of its own for the null in its last chunk."""
    arguments: dict[str, Any] = {"model": "m;usage=null", "messages": MESSAGES, "stream": True}
    expected = [chunk.to_json() for chunk in bare("groq").chat.completions.create(**arguments)]
    assert '"usage": null' in expected[-1]
    client = meter.wrap(bare("groq"), provider="openai")
    assert [chunk.to_json() for chunk in client.chat.completions.create(**arguments)] == expected


def test_asking_can_be_switched_off(server: ProviderServer, bare: Make) -> None:
    silent = Tokenmeter(spans="none", ask_usage=False)
    with capture(silent) as records:
        list(silent.wrap(bare(), provider="openai").chat.completions.create(model="m", messages=MESSAGES, stream=True))
        record = records.only()
    assert "stream_options" not in server.requests[0].json
    assert record.usage.source_of("output_tokens") in (Source.COUNTED, Source.ESTIMATED)
    assert record.usage.output_tokens is not None


def test_what_the_caller_says_about_usage_stands(
    meter: Tokenmeter, records: Records, server: ProviderServer, bare: Make
) -> None:
    client = meter.wrap(bare(), provider="openai")
    said: dict[str, Any] = {"include_usage": False, "include_obfuscation": False}
    options = dict(said)
    list(client.chat.completions.create(model="m", messages=MESSAGES, stream=True, stream_options=options))
    list(client.chat.completions.create(model="m", messages=MESSAGES, stream=True, extra_body={"stream_options": said}))
    assert [request.json["stream_options"] for request in server.requests] == [said, said]
    assert options == said
    assert len(records.drain()) == 2


def test_old_azure_is_not_asked(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    azure = openai.AzureOpenAI(azure_endpoint=server.origin, api_key="k", api_version="2023-05-15")
    stream = meter.wrap(azure, provider="azure-openai").chat.completions.create(
        model="gpt-4o", messages=MESSAGES, stream=True
    )
    assert len(list(stream)) > 3
    assert "stream_options" not in server.requests[0].json
    assert records.only().usage.output_tokens is not None


def test_a_first_chunk_without_choices_is_not_ours_to_hide(
    meter: Tokenmeter, records: Records, server: ProviderServer, bare: Make
) -> None:
    arguments: dict[str, Any] = {"model": "m", "messages": MESSAGES, "stream": True}
    expected = [shown(chunk) for chunk in bare("azure").chat.completions.create(**arguments)]
    client = meter.wrap(bare("azure"), provider="azure-openai")
    seen = [shown(chunk) for chunk in client.chat.completions.create(**arguments)]
    assert seen == expected
    assert "choices=[]" in seen[0]
    assert records.only().usage.output_tokens == 12


@pytest.mark.parametrize(
    ("wish", "flagged", "stream"),
    [
        pytest.param("usage=strings", None, False, id="strings for numbers"),
        pytest.param("usage=strings", None, True, id="strings for numbers, stream"),
        pytest.param("usage=negative", True, False, id="negative"),
        pytest.param("usage=negative", True, True, id="negative, stream"),
        pytest.param("usage=null", False, False, id="null"),
        pytest.param("usage=none", False, False, id="missing"),
        pytest.param("usage=none", False, True, id="missing, stream"),
    ],
)
def test_usage_nobody_can_trust(
    wish: str, flagged: bool | None, stream: bool, meter: Tokenmeter, records: Records, bare: Make
) -> None:
    arguments: dict[str, Any] = {"model": f"gpt-4o;{wish}", "messages": MESSAGES, "stream": stream}

    def see(client: Any) -> list[str]:
        got = client.chat.completions.create(**arguments)
        return list(map(shown, got)) if stream else [shown(got)]

    expected = see(bare())
    assert see(meter.wrap(bare(), provider="openai")) == expected
    record = records.only()
    if flagged is None:  # as good as numbers
        assert record.flags == ()
        assert record.usage.source_of("output_tokens") is Source.REPORTED
    elif flagged:
        assert record.flags
    else:
        assert record.usage.source_of("output_tokens") in (Source.COUNTED, Source.ESTIMATED)
        assert record.reason


def test_a_model_nobody_knows_is_recorded_without_a_cost(
    meter: Tokenmeter, records: Records, server: ProviderServer, bare: Make
) -> None:
    meter.wrap(bare(), provider="openai").chat.completions.create(model="no-such-model-9", messages=MESSAGES)
    record = records.only()
    assert record.usage.output_tokens == 12
    assert (record.cost.total, record.cost.status) == (None, "unpriced")
    assert record.cost.reason
