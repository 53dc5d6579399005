"""What `doctor` knows of each SDK: the package to look for, the majors that the test matrix runs, what to import.

A row for each root of `tokenmeter.clients.ADAPTERS`; the versions are those of `make test-sdks`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final, NamedTuple

__all__ = ["SDKS", "look"]


class Sdk(NamedTuple):
    """One SDK. `loads` is the module that brings the hooked classes, if importing the root does not."""

    distribution: str
    majors: tuple[int, ...]
    loads: str | None = None


SDKS: Final[Mapping[str, Sdk]] = {
    "openai": Sdk("openai", (1, 2, 3)),
    "anthropic": Sdk("anthropic", (0, 1, 2)),
    "google.genai": Sdk("google-genai", (1, 2, 3)),
    "dashscope": Sdk("dashscope", (1, 2)),
    "volcenginesdkarkruntime": Sdk("volcengine-ark-runtime", (5,)),
    "zai": Sdk("zai-sdk", (0,)),
    "zhipuai": Sdk("zhipuai", (2,)),
    "qianfan": Sdk("qianfan", (0,)),
    "tencentcloud": Sdk("tencentcloud-sdk-python-hunyuan", (3,), "tencentcloud.hunyuan.v20230901.hunyuan_client"),
    "groq": Sdk("groq", (0, 1)),
    "mistralai": Sdk("mistralai", (1, 2, 3)),
    "cohere": Sdk("cohere", (5, 7)),
    "ollama": Sdk("ollama", (0,)),
    "huggingface_hub": Sdk("huggingface-hub", (1, 2), "huggingface_hub.inference._client"),
    "botocore": Sdk("botocore", (1,), "botocore.client"),
    "httpx": Sdk("httpx", (0,)),
    "httpx2": Sdk("httpx2", (2,)),
    "requests": Sdk("requests", (2,)),
    "aiohttp": Sdk("aiohttp", (3,)),
}
_ON_THE_WIRE: Final = ("ollama",)
"""SDKs that need no hook of their own: their HTTP library's sees all."""


def look() -> tuple[dict[str, Any], list[str]]:
    """Install every adapter and find its hooks again: what is there by package, and the problems."""
    from tokenmeter.clients import install_all

    install_all()
    found: dict[str, Any] = {}
    problems = []
    for root, sdk in SDKS.items():
        found[root], problem = _one(root, sdk)
        problems += [problem] if problem else []
    if not any(part["version"] for part in found.values()):
        problems.append("no supported SDK is installed here: run this in your application's environment")
    return found, problems


def _one(root: str, sdk: Sdk) -> tuple[dict[str, Any], str | None]:
    try:
        there = version(sdk.distribution)
    except PackageNotFoundError:
        return {"version": None, "tested": None, "hooks": []}, None
    from tokenmeter.clients.support import hooks as _hooks

    try:
        importlib.import_module(sdk.loads or root)
    except ImportError as error:
        return {
            "version": there,
            "tested": None,
            "hooks": [],
        }, f"{sdk.distribution} {there} cannot be imported: {error}"
    hooks = _hooks.patched(root)
    tested = int(there.partition(".")[0]) in sdk.majors
    problem: str | None = None
    if not hooks and root not in _ON_THE_WIRE:
        problem = f"{sdk.distribution} {there}: no hook could be put in; its calls are metered on the wire at best"
    elif not tested:
        majors = ", ".join(map(str, sdk.majors))
        problem = f"{sdk.distribution} {there} is untested: tested are major versions {majors}"
    return {"version": there, "tested": tested, "hooks": hooks or ["its HTTP requests"]}, problem
