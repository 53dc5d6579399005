"""The supported SDKs: one row for each, with its package, its distribution, its adapter and what the adapter must know.

`doctor`, `wrap`, the adapters, the body tee and the matrix tools read this table; the README's list and the extras of
`pyproject.toml` are checked against it. An SDK of a known shape is added by a row here, its extra and its tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tokenmeter._support.value import Value

__all__ = ["LM15_HOMES", "READERS", "SDKS", "UNSEEN", "Method", "Stainless", "SupportedSdk", "WireOnly"]


class Stainless(Value):
    """How an SDK that Stainless generated differs from the others (`stainless.py`)."""

    body: str = "json_data"
    """The attribute of the request options that holds the body, and the one with the caller's additions to it."""
    extra: str = "extra_json"
    address: str = "base_url"
    """The client's attribute with its base URL, as a URL object."""
    own_spans: bool = False
    """Newer versions may start a span inside `request`: the owner of the call's span is decided below it."""


class Method(Value):
    """A method that every call of its kind passes once."""

    module: str
    owner: str
    name: str
    is_async: bool = False


class WireOnly(Value):
    """An SDK that is metered by its HTTP requests (`by_wire.py`). Paths are attributes with dots from the client
    object; "" is the object itself.
    """

    methods: tuple[Method, ...] = ()
    carrier: str = ""
    """From the object whose method runs to the one that carries the client's mark."""
    marked: tuple[str, ...] = ("",)
    """From the client to what carries its mark: the carrier, and the HTTP clients, for calls outside any method."""
    streams: tuple[Method, ...] = ()
    """The methods of its stream classes that give the next event or make the iterator, and raise at a bad one. The
    stream has the HTTP response in its attribute `response`."""


class SupportedSdk(Value):
    """One SDK or HTTP library."""

    adapter: str
    """The module of `tokenmeter.clients` that meters it."""
    distribution: str | None
    """None for a module of the standard library."""
    majors: tuple[int, ...]
    """The major versions that `make test-sdks` runs."""
    tests: tuple[str, ...]
    """The files of `tests/clients` with its cases: `groq` is `test_groq.py`."""
    extra: str | None = None
    """The extra of `pyproject.toml` that installs it; None for HTTP libraries."""
    listed_as: tuple[str, str] | None = None
    """Its name in README.md and in README.zh-CN.md, where that is not its package."""
    loads: str | None = None
    """The module that brings the hooked classes, where importing the package does not."""
    readers: tuple[str, ...] = ()
    """Further packages whose code reads its streams; its own always does."""
    shape: Stainless | WireOnly | None = None
    homes: tuple[str, ...] = ()
    """The modules of the hooked classes, where `shape` does not say them and they are not the package itself."""

    def hooked_modules(self, root: str) -> tuple[str, ...]:
        """The modules whose import puts hooks in place; `root` is the package."""
        if isinstance(self.shape, Stainless):
            return (f"{root}._base_client",)
        if isinstance(self.shape, WireOnly):
            return tuple(dict.fromkeys(method.module for method in (*self.shape.methods, *self.shape.streams)))
        return self.homes or (root,)

    @property
    def sends_by(self) -> tuple[str, ...]:
        """The adapters of the only HTTP libraries that it sends by; () where it may be any."""
        return ("transport.httpx",) if isinstance(self.shape, Stainless) else ()

    @property
    def hooked(self) -> bool:
        """Whether classes of its own carry hooks; the HTTP library's hooks see all of the others."""
        return not isinstance(self.shape, WireOnly) or bool(self.shape.methods)


def _both(module: str, owner: str, name: str, async_owner: str, async_name: str) -> tuple[Method, Method]:
    return Method(module, owner, name), Method(module, async_owner, async_name, is_async=True)


_HUGGINGFACE: Final = "huggingface_hub.inference"
_MISTRAL_HOMES: Final = ("mistralai", "mistralai.client", "mistralai.azure.client", "mistralai.gcp.client")

LM15_HOMES: Final = ("dspy._vendor.lm15.transports", "lm15.transports")

UNSEEN: Final[Mapping[str, str]] = {
    "curl_cffi": "libcurl",
    "niquests": "urllib3-future, a fork of urllib3 with connections of its own",
    "pycurl": "libcurl",
    "pyreqwest": "reqwest, in Rust",
    "primp": "reqwest, in Rust",
    "rnet": "wreq, in Rust",
}
"""Distributions of HTTP clients that no hook sees, with what they send by; `doctor` names the installed ones."""

SDKS: Final[Mapping[str, SupportedSdk]] = {
    "httpx": SupportedSdk("transport.httpx", "httpx", (0,), ("httpx",), readers=("httpcore",)),
    "httpx2": SupportedSdk("transport.httpx", "httpx2", (2,), ("httpx",), readers=("httpcore2",)),
    "requests": SupportedSdk("transport.requests", "requests", (2,), ("requests",), readers=("urllib3",)),
    "aiohttp": SupportedSdk("transport.aiohttp", "aiohttp", (3,), ("aiohttp",)),
    "http.client": SupportedSdk(
        "transport.http_client",
        None,
        (3,),
        ("http_client",),
        readers=("urllib", "http"),
        homes=("http.client", "urllib3.response"),
    ),
    "dspy._vendor.lm15": SupportedSdk(
        "transport.lm15",
        "dspy",
        (3,),
        ("lm15",),
        listed_as=("dspy", "dspy"),
        homes=tuple(f"{home}.{name}" for home in LM15_HOMES for name in ("_sync", "_async")),
    ),
    "openai": SupportedSdk(
        "stainless",
        "openai",
        (1, 2, 3),
        ("openai", "adapters", "stainless", "unknown_versions"),
        "openai",
        shape=Stainless(),
    ),
    "anthropic": SupportedSdk(
        "stainless", "anthropic", (0, 1, 2), ("anthropic",), "anthropic", shape=Stainless(own_spans=True)
    ),
    "groq": SupportedSdk("stainless", "groq", (0, 1), ("groq",), "groq", shape=Stainless()),
    "volcenginesdkarkruntime": SupportedSdk(
        "stainless",
        "volcengine-ark-runtime",
        (5,),
        ("ark",),
        "volcengine",
        ("volcengine ark", "火山方舟"),
        shape=Stainless("body", "extra_body", "_base_url"),
    ),
    # Every resource is a BaseSDK of its own; what they share is the configuration. The first home is that of 1.x.
    "mistralai": SupportedSdk(
        "by_wire",
        "mistralai",
        (1, 2, 3),
        ("mistralai", "adapters", "unknown_versions"),
        "mistral",
        shape=WireOnly(
            methods=tuple(
                method
                for home in _MISTRAL_HOMES
                for method in _both(f"{home}.basesdk", "BaseSDK", "do_request", "BaseSDK", "do_request_async")
            ),
            carrier="sdk_configuration",
            marked=("sdk_configuration", "sdk_configuration.client", "sdk_configuration.async_client"),
            streams=tuple(
                method
                for home in _MISTRAL_HOMES
                for method in _both(
                    f"{home}.utils.eventstreaming", "EventStream", "__next__", "EventStreamAsync", "__anext__"
                )
            ),
        ),
    ),
    "cohere": SupportedSdk(
        "by_wire",
        "cohere",
        (5, 7),
        ("cohere",),
        "cohere",
        shape=WireOnly(
            _both("cohere.core.http_client", "HttpClient", "request", "AsyncHttpClient", "request"),
            marked=("_client_wrapper.httpx_client", "_client_wrapper.httpx_client.httpx_client"),
        ),
    ),
    "zai": SupportedSdk(
        "by_wire",
        "zai-sdk",
        (0,),
        ("zhipu",),
        "zai",
        shape=WireOnly(
            (Method("zai.core._http_client", "HttpClient", "request"),),
            marked=("", "_client"),
            streams=(Method("zai.core._streaming", "StreamResponse", "__stream__"),),
        ),
    ),
    "zhipuai": SupportedSdk(
        "by_wire",
        "zhipuai",
        (2,),
        ("zhipu",),
        "zhipu",
        shape=WireOnly(
            (Method("zhipuai.core._http_client", "HttpClient", "request"),),
            marked=("", "_client"),
            streams=(Method("zhipuai.core._sse_client", "StreamResponse", "__stream__"),),
        ),
    ),
    # No retries. The hook makes a call of what it sends to a machine that is not in the map of hosts.
    "ollama": SupportedSdk(
        "by_wire",
        "ollama",
        (0,),
        ("ollama",),
        "ollama",
        shape=WireOnly(
            _both("ollama._client", "Client", "_request", "AsyncClient", "_request"), marked=("", "_client")
        ),
    ),
    # Sends through a session that the whole process shares: only the method knows whose request it is.
    "huggingface_hub": SupportedSdk(
        "by_wire",
        "huggingface-hub",
        (1, 2),
        ("huggingface",),
        "huggingface",
        loads=f"{_HUGGINGFACE}._client",
        shape=WireOnly(
            (
                Method(f"{_HUGGINGFACE}._client", "InferenceClient", "_inner_post"),
                Method(f"{_HUGGINGFACE}._generated._async_client", "AsyncInferenceClient", "_inner_post", True),
            )
        ),
    ),
    # Sends by requests and aiohttp. A stream is begun inside the method too, to see its first line.
    "qianfan": SupportedSdk(
        "by_wire",
        "qianfan",
        (0,),
        ("qianfan",),
        "qianfan",
        ("qianfan", "千帆"),
        shape=WireOnly(
            _both(
                "qianfan.resources.requestor.openapi_requestor", "QfAPIRequestor", "llm", "QfAPIRequestor", "async_llm"
            ),
            marked=("_client", "_real._client"),
        ),
    ),
    "google.genai": SupportedSdk(
        "google_genai",
        "google-genai",
        (1, 2, 3),
        ("google_genai", "unknown_versions"),
        "google",
        ("google-genai", "google-genai"),
        homes=("google.genai._api_client", "google.genai.models"),
    ),
    "dashscope": SupportedSdk(
        "dashscope",
        "dashscope",
        (1, 2),
        ("dashscope", "dashscope_client"),
        "dashscope",
        homes=(
            "dashscope.api_entities.http_request",
            "dashscope.api_entities.aiohttp_request",
            "dashscope.v2.transport.http",
            "dashscope.v2.client",
        ),
    ),
    "botocore": SupportedSdk(
        "boto3",
        "botocore",
        (1,),
        ("boto3",),
        "bedrock",
        ("boto3", "boto3"),
        loads="botocore.client",
        readers=("boto3", "urllib3"),
        homes=("botocore.client", "botocore.eventstream"),
    ),
    "tencentcloud": SupportedSdk(
        "tencentcloud",
        "tencentcloud-sdk-python-hunyuan",
        (3,),
        ("tencentcloud",),
        "tencent",
        ("tencentcloud", "腾讯云"),
        loads="tencentcloud.hunyuan.v20230901.hunyuan_client",
        homes=("tencentcloud.common.abstract_client", "tencentcloud.common.abstract_client_async"),
    ),
}
"""By package, dotted where a package is shared with other distributions."""

READERS: Final = frozenset(
    {*SDKS, *(reader for sdk in SDKS.values() for reader in sdk.readers), "litellm", "json"},
)
"""The packages that read streamed bodies: an exception that comes out of one of them is the stream's own."""
