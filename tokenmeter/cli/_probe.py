"""`tokenmeter calibration probe`: ask a vendor's own count endpoint about requests of the user's, and learn from it.

The one command that sends text anywhere, so it does nothing by itself: the user names the requests, the provider and
the variable that holds the key. What these endpoints say is the vendor's own count of a prompt, which bills may differ
from by a few tokens (Anthropic calls it an estimate); answers and their tokens cannot be asked for.
"""

from __future__ import annotations

import importlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tokenmeter.errors import ConfigurationError
from tokenmeter.wire.request_body import model_of

if TYPE_CHECKING:
    import argparse

    from tokenmeter.tokens.calibration.calibration import Calibration

__all__ = ["ENDPOINTS", "Endpoint", "probe", "run_probe"]


class Endpoint(NamedTuple):
    """Where a vendor counts a prompt: its path, what of a request it takes, and where the answer stands.

    `inside` names the field that the request goes under; `key` is the header of the key, `{}` its place.
    """

    base: str
    path: str
    api: str
    takes: tuple[str, ...]
    answer: str
    key: tuple[str, str]
    headers: Mapping[str, str] = {}
    inside: str | None = None


ENDPOINTS: Final[Mapping[str, Endpoint]] = {
    "anthropic": Endpoint(
        "https://api.anthropic.com", "/v1/messages/count_tokens", "anthropic.messages",
        ("model", "messages", "system", "tools", "tool_choice", "thinking"), "input_tokens",
        ("x-api-key", "{}"), {"anthropic-version": "2023-06-01"},
    ),
    "google": Endpoint(
        "https://generativelanguage.googleapis.com", "/v1beta/models/{model}:countTokens", "gemini.generate",
        ("model", "contents", "systemInstruction", "tools", "toolConfig", "generationConfig"), "totalTokens",
        ("x-goog-api-key", "{}"), inside="generateContentRequest",
    ),
    "openai": Endpoint(
        "https://api.openai.com", "/v1/responses/input_tokens", "openai.responses",
        ("model", "input", "instructions", "tools", "tool_choice", "text", "reasoning", "parallel_tool_calls"),
        "input_tokens", ("authorization", "Bearer {}"),
    ),
}  # fmt: skip


def run_probe(args: argparse.Namespace, calibration: Calibration) -> int:
    """Ask about each request of a file. Raises ConfigurationError for flags that do not fit."""
    library = _library()
    endpoint = ENDPOINTS.get(args.provider)
    if endpoint is None:
        raise ConfigurationError(
            f"--provider {args.provider}: has no count endpoint known here; {', '.join(ENDPOINTS)} have"
        )
    key = os.environ.get(args.key_env, "")
    if not key:
        raise ConfigurationError(f"--key-env {args.key_env}: this variable is not set; it holds the provider's key")
    header, form = endpoint.key
    headers = {**endpoint.headers, header: form.format(key)}
    base = args.base_url or endpoint.base
    failed = 0
    with library.Client(base_url=base, headers=headers, timeout=30.0) as client:
        for line, said in probe(calibration, client, _requests(args.requests), args.provider, pause=args.pause):
            failed += said.startswith("not")
            print(f"line {line}: {said}")
    return 1 if failed else 0


def _library() -> Any:
    """httpx, or the successor that newer SDKs bring along."""
    for name in ("httpx", "httpx2"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise ConfigurationError("calibration probe needs an HTTP client: pip install httpx")


def probe(
    calibration: Calibration, client: Any, requests: Iterator[tuple[int, Any]], provider: str, *, pause: float
) -> Iterator[tuple[int, str]]:
    """Ask about requests with a client of httpx, at most one in `pause` seconds; what came of each, in words."""
    from tokenmeter.calls.calibrator import input_kind
    from tokenmeter.tokens import count_request

    endpoint = ENDPOINTS[provider]
    for line, body in requests:
        model = model_of(body)
        kind = input_kind(body, endpoint.api) if isinstance(body, Mapping) else None
        if model is None or kind is None:
            yield line, "not asked: a request is a body with a model, in text only and whole"
            continue
        count = count_request(body, provider=provider, model=model, api=endpoint.api)
        if not count.tokens or count.skipped:
            yield line, f"not asked: {'; '.join(count.skipped) or count.reason or 'nothing to count'}"
            continue
        try:
            reply = client.post(endpoint.path.format(model=model), json=_asked(endpoint, body, model))
            reported = reply.json().get(endpoint.answer) if reply.status_code == 200 else None
        except (_library().HTTPError, ValueError, AttributeError) as error:
            yield line, f"not answered: {type(error).__name__}: {error}"
            continue
        if type(reported) is not int or reported <= 0:
            yield line, f"not answered: status {reply.status_code}"
            continue
        script, part = kind
        calibration.learn(count, reported, provider=provider, model=model, script=script, part=part)
        yield line, f"{model}: counted {count.tokens}, the vendor says {reported}"
        time.sleep(pause)


def _asked(endpoint: Endpoint, body: Mapping[str, Any], model: str) -> dict[str, Any]:
    taken = {name: body[name] for name in endpoint.takes if name in body}
    return taken if endpoint.inside is None else {endpoint.inside: {**taken, "model": f"models/{model}"}}


def _requests(path: str) -> Iterator[tuple[int, Any]]:
    try:
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    try:
                        yield number, json.loads(line)
                    except (ValueError, RecursionError):
                        yield number, None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"--requests {path}: {error}") from None
