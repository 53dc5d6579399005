"""An SDK of a later version that renames what we hook: its calls go on, are metered by their requests, and one warning
is given. The real SDK is renamed in a process of its own, before anything of ours looks at it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from typing import Any

import pytest

from tokenmeter.testing import ProviderServer

MISSING = 77
"""The exit status of a process that could not import its SDK."""
SCRIPT = """
import asyncio, importlib, json, logging, sys
from tokenmeter import Tokenmeter
from tokenmeter.testing import capture

def renamed(module, owner, *names):
    found = getattr(importlib.import_module(module), owner)
    before = vars(found).get("__getattr__")
    later = {name: f"{name}_of_a_later_version" for name in names}

    def missing(self, name):
        if name in later:
            return getattr(self, later[name])
        if before is None:
            raise AttributeError(name)
        return before(self, name)

    for name in names:
        setattr(found, later[name], vars(found)[name])
        for base in found.__mro__:
            if name in vars(base):
                delattr(base, name)
    found.__getattr__ = missing

said = []
handler = logging.Handler(logging.WARNING)
handler.emit = lambda line: said.append(line.getMessage())
logging.getLogger("tokenmeter").addHandler(handler)
origin, provider, ways, package = sys.argv[1:]
try:
    importlib.import_module(package)
except ImportError:
    sys.exit(77)
MESSAGES = [{"role": "user", "content": "hi"}]
# RENAME
meter = Tokenmeter(spans="none", hosts={origin.partition("//")[2]: provider})
from tokenmeter.clients import install_all
install_all()
hooked = []  # calls that only `instrument` meters: no client below them can be wrapped
# SDK
answers, found = [], []
for way in ways.split():
    client = make()
    meter.wrap(client, provider=provider) if way == "wrap" else meter.instrument()
    with capture(meter) as records:
        answers += [[way, call(client)] for call in (*calls, *(hooked if way == "instrument" else ()))]
        found += [
            [way, r.provider, r.request_model, r.usage.input_tokens, r.usage.output_tokens, str(r.end), len(r.attempts)]
            for r in records.drain()
        ]
print(json.dumps({"said": said, "answers": answers, "records": found}))
"""


def run(server: ProviderServer, package: str, provider: str, ways: str, rename: str, sdk: str) -> dict[str, Any]:
    """What was said, answered and recorded in a process whose SDK is renamed; skips where the SDK is not installed."""
    script = SCRIPT.replace("# RENAME", rename).replace("# SDK", textwrap.dedent(sdk))
    command = [sys.executable, "-W", "ignore", "-c", script, server.origin, provider, ways, package]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == MISSING:
        pytest.skip(f"needs {package}; `make test-sdks` has it")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


GENAI = """
    from google import genai
    make = lambda: genai.Client(api_key="k", vertexai=False, http_options={"base_url": f"{origin}/v/google"})
    asked = {"model": "gemini-2.5-flash", "contents": "hi"}
    async def ask(client):
        return (await client.aio.models.generate_content(**asked)).usage_metadata.candidates_token_count
    calls = [
        lambda client: client.models.generate_content(**asked).usage_metadata.candidates_token_count,
        lambda client: len(list(client.models.generate_content_stream(**asked))) * 2,
    ]
    hooked = [lambda client: asyncio.run(ask(client))]
"""
DASHSCOPE = """
    import dashscope
    dashscope.base_http_api_url, dashscope.api_key = f"{origin}/v/dashscope-native/api/v1", "k"
    make = lambda: None
    asked = {"model": "qwen-plus", "messages": MESSAGES}
    calls = [
        lambda _: dashscope.Generation.call(**asked).usage["output_tokens"],
        lambda _: len(list(dashscope.Generation.call(stream=True, **asked))) * 2,
    ]
"""
DASHSCOPE_CLIENT = """
    import dashscope
    make = lambda: dashscope.Client(api_key="k", base_url=f"{origin}/v/dashscope-native/api/v1")
    asked = {"model": "qwen-plus", "messages": MESSAGES}
    calls = [
        lambda client: client.chat.completions.create(**asked).usage.output_tokens,
        lambda client: len(list(client.chat.completions.create(stream=True, **asked))) * 2,
    ]
"""
BOTO3 = """
    import boto3
    keys = {"aws_access_key_id": "any", "aws_secret_access_key": "any", "region_name": "us-east-1"}
    make = lambda: boto3.client("bedrock-runtime", endpoint_url=f"{origin}/v/bedrock", **keys)
    model = "anthropic.claude-3-5-sonnet-20241022-v2:0"
    turns = [{"role": "user", "content": [{"text": "hi"}]}]
    body = json.dumps({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": MESSAGES})
    calls = [
        lambda client: client.converse(modelId=model, messages=turns)["usage"]["outputTokens"],
        lambda client: len(list(client.converse_stream(modelId=model, messages=turns)["stream"])) and 12,
        lambda client: json.load(client.invoke_model(modelId=model, body=body)["body"])["usage"]["output_tokens"],
    ]
"""
HUNYUAN = """
    from tencentcloud.common.credential import Credential
    from tencentcloud.common.profile.client_profile import ClientProfile
    from tencentcloud.hunyuan.v20230901 import hunyuan_client, models
    def make():
        profile = ClientProfile()
        profile.httpProfile.scheme, profile.httpProfile.endpoint = "http", "hunyuan.tencentcloudapi.com"
        profile.httpProfile.proxy = origin
        return hunyuan_client.HunyuanClient(Credential("id", "key"), "ap-guangzhou", profile)
    def ask(client, stream):
        made = models.ChatCompletionsRequest()
        words = [{"Role": "user", "Content": "hi"}]
        made.from_json_string(json.dumps({"Model": "hunyuan-turbos-latest", "Stream": stream, "Messages": words}))
        return client.ChatCompletions(made)
    calls = [
        lambda client: ask(client, False).Usage.CompletionTokens,
        lambda client: len(list(ask(client, True))) * 2,
    ]
"""
REQUESTS = """
    import requests
    make = requests.Session
    asking = {"stream": True, "stream_options": {"include_usage": True}}
    def post(client, **more):
        url = f"{origin}/v/openai/v1/chat/completions"
        return client.post(url, json={"model": "gpt-4o", "messages": MESSAGES, **more}, stream=bool(more))
    calls = [
        lambda client: post(client).json()["usage"]["completion_tokens"],
        lambda client: len([line for line in post(client, **asking).iter_lines() if line]) and 12,
    ]
"""
OPENAI = """
    import openai
    make = lambda: openai.OpenAI(base_url=f"{origin}/v/openai/v1", api_key="k")
    asked = {"model": "gpt-4o", "messages": MESSAGES}
    calls = [lambda client: client.chat.completions.create(**asked).usage.completion_tokens]
"""
MISTRAL = """
    from mistralai.client import Mistral
    make = lambda: Mistral(server_url=f"{origin}/v/mistral", api_key="k")
    asked = {"model": "mistral-large-2512", "messages": MESSAGES}
    calls = [lambda client: client.chat.complete(**asked).usage.completion_tokens]
"""
REQUESTED = '"request", "request_streamed", "async_request", "async_request_streamed"'


@pytest.mark.parametrize(
    ("package", "provider", "model", "ways", "rename", "sdk"),
    [
        pytest.param(
            "google.genai",
            "google",
            "gemini-2.5-flash",
            "wrap instrument",
            f'renamed("google.genai._api_client", "BaseApiClient", {REQUESTED})',
            GENAI,
            id="google-genai",
        ),
        # The classes have no client that could be wrapped.
        pytest.param(
            "dashscope",
            "alibaba",
            "qwen-plus",
            "instrument",
            'renamed("dashscope.api_entities.http_request", "HttpRequest", "call")',
            DASHSCOPE,
            id="dashscope",
        ),
        pytest.param(
            "dashscope.v2.transport.http",
            "alibaba",
            "qwen-plus",
            "wrap instrument",
            'renamed("dashscope.v2.transport.http", "SyncTransport", "request", "open_stream")',
            DASHSCOPE_CLIENT,
            id="dashscope Client",
        ),
        pytest.param(
            "boto3",
            "aws-bedrock",
            "anthropic.claude-3-5-sonnet-20241022-v2:0",
            "wrap instrument",
            'renamed("botocore.client", "BaseClient", "_make_api_call")',
            BOTO3,
            id="boto3",
        ),
        pytest.param(
            "tencentcloud.hunyuan.v20230901.hunyuan_client",
            "tencent",
            "hunyuan-turbos-latest",
            "wrap instrument",
            'renamed("tencentcloud.common.abstract_client", "AbstractClient", "_call_and_deserialize")',
            HUNYUAN,
            id="tencentcloud",
        ),
        pytest.param(
            "requests",
            "openai",
            "gpt-4o",
            "wrap instrument",
            'renamed("requests", "Session", "send")',
            REQUESTS,
            id="requests",
        ),
        pytest.param(
            "openai",
            "openai",
            "gpt-4o",
            "wrap instrument",
            'renamed("openai._base_client", "SyncAPIClient", "request")',
            OPENAI,
            id="openai",
        ),
        pytest.param(
            "mistralai.client.basesdk",
            "mistral",
            "mistral-large-2512",
            "wrap instrument",
            'renamed("mistralai.client.basesdk", "BaseSDK", "do_request")',
            MISTRAL,
            id="mistralai",
        ),
        pytest.param(
            "mistralai.basesdk",
            "mistral",
            "mistral-large-2512",
            "wrap instrument",
            'renamed("mistralai.basesdk", "BaseSDK", "do_request")',
            MISTRAL.replace("mistralai.client", "mistralai"),
            id="mistralai 1",
        ),
    ],
)
def test_a_renamed_sdk_is_metered_by_its_requests(
    package: str, provider: str, model: str, ways: str, rename: str, sdk: str, server: ProviderServer
) -> None:
    found = run(server, package, provider, ways, rename, sdk)
    assert [[way, 12] for way, _ in found["answers"]] == found["answers"]
    assert {way for way, _ in found["answers"]} == set(ways.split())
    assert found["records"] == [[way, provider, model, 24, 12, "complete", 1] for way, _ in found["answers"]]
    assert len(server.requests) == len(found["answers"])
    (only,) = found["said"]
    assert "this version of" in only
    assert "metered by their HTTP requests" in only


def test_what_has_no_layer_below_is_said_to_be_unmetered(server: ProviderServer) -> None:
    sdk = """
        import aiohttp
        make = lambda: asyncio.run(session())
        async def session():
            return aiohttp.ClientSession()
        async def ask():
            async with meter.wrap(aiohttp.ClientSession(), provider=provider) as made, made.post(
                f"{origin}/v/openai/v1/chat/completions", json={"model": "gpt-4o", "messages": MESSAGES}
            ) as answer:
                return (await answer.json())["usage"]["completion_tokens"]
        calls = [lambda _: asyncio.run(ask())]
    """
    renamed = 'renamed("aiohttp", "ClientSession", "_request")'
    found = run(server, "aiohttp", "openai", "wrap instrument", renamed, sdk)
    assert found["answers"] == [["wrap", 12], ["instrument", 12]]
    assert (found["records"], len(server.requests)) == ([], 2)
    (only,) = found["said"]
    assert "aiohttp" in only
    assert "tokenmeter.call" in only
