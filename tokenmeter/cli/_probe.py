"""`tokenmeter calibration probe`: calibrate with the counts that a vendor's count endpoint returns for given requests.

The only command that sends text, and only what the user names: requests, provider, and the variable with the key.
These endpoints return the vendor's count of a prompt, which may differ from the bill by a few tokens (Anthropic calls
it an estimate); they do not count answers.
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

__all__ = ["ENDPOINTS", "CountEndpoint", "probe", "run_probe"]


class CountEndpoint(NamedTuple):
    """A vendor's token count endpoint: its path, the request fields it takes, and the field of its answer.

    `inside` names the field that wraps the request; `key` is the header for the API key and its format.
    """

    base: str
    path: str
    api: str
    takes: tuple[str, ...]
    answer: str
    key: tuple[str, str]
    headers: Mapping[str, str] = {}
    inside: str | None = None


ENDPOINTS: Final[Mapping[str, CountEndpoint]] = {
    "anthropic": CountEndpoint(
        "https://api.anthropic.com", "/v1/messages/count_tokens", "anthropic.messages",
        ("model", "messages", "system", "tools", "tool_choice", "thinking"), "input_tokens",
        ("x-api-key", "{}"), {"anthropic-version": "2023-06-01"},
    ),
    "google": CountEndpoint(
        "https://generativelanguage.googleapis.com", "/v1beta/models/{model}:countTokens", "gemini.generate",
        ("model", "contents", "systemInstruction", "tools", "toolConfig", "generationConfig"), "totalTokens",
        ("x-goog-api-key", "{}"), inside="generateContentRequest",
    ),
    "openai": CountEndpoint(
        "https://api.openai.com", "/v1/responses/input_tokens", "openai.responses",
        ("model", "input", "instructions", "tools", "tool_choice", "text", "reasoning", "parallel_tool_calls"),
        "input_tokens", ("authorization", "Bearer {}"),
    ),
}  # fmt: skip


def run_probe(args: argparse.Namespace, calibration: Calibration) -> int:
    """Probe each request of a file; returns 1 if one failed. Raises ConfigurationError for invalid flags."""
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
    """The module httpx, or httpx2, which newer SDKs install."""
    for name in ("httpx", "httpx2"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise ConfigurationError("calibration probe needs an HTTP client: pip install httpx")


def probe(
    calibration: Calibration, client: Any, requests: Iterator[tuple[int, Any]], provider: str, *, pause: float
) -> Iterator[tuple[int, str]]:
    """Send requests with an httpx client, one per `pause` seconds; yields line numbers and a result in words."""
    from tokenmeter.calls.calibrator import input_kind, own_tokens
    from tokenmeter.tokens.requests.count import explain_request

    endpoint = ENDPOINTS[provider]
    for line, body in requests:
        model = model_of(body)
        kind = input_kind(body, endpoint.api) if isinstance(body, Mapping) else None
        if model is None or kind is None:
            yield line, "not asked: a request is a body with a model, and whole"
            continue
        found = explain_request(body, provider=provider, model=model, api=endpoint.api)
        count = found.count
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
        calibration.learn(
            count, reported, provider=provider, model=model, script=script, part=part, own=own_tokens(part, found)
        )
        yield line, f"{model}: counted {count.tokens}, the vendor says {reported}"
        time.sleep(pause)


def _asked(endpoint: CountEndpoint, body: Mapping[str, Any], model: str) -> dict[str, Any]:
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
