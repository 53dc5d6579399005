"""The JSON body of a request, its model, its length and its limit: for hooks, hand-made calls, counting and the CLI."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["exceeds", "json_copy", "limit_of", "model_of", "request_body", "request_headers"]

_DEEPEST: Final = 16
_LIMITS: Final = (
    "max_completion_tokens", "max_output_tokens", "max_tokens", "maxOutputTokens", "max_tokens_to_sample", "maxTokens",
    "num_predict", "maxTokenCount", "max_new_tokens",
)  # fmt: skip
_LIMIT_NAMES: Final = frozenset(_LIMITS)
_PARTS: Final = (
    "parameters", "generationConfig", "generation_config", "inferenceConfig", "textGenerationConfig", "options",
)  # fmt: skip
_PART_NAMES: Final = frozenset(_PARTS)


def request_body(request: object) -> Mapping[str, Any] | None:
    """The JSON object that is a request's body: of a mapping, bytes, text, or an HTTP library's request.

    None where there is no body, where it is a stream that has not been read, and where it is not a JSON object.
    """
    if isinstance(request, Mapping):
        return request
    content = request if isinstance(request, str | bytes) else getattr(request, "_content", None)
    if not isinstance(content, str | bytes) or not content:
        return None
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, Mapping) else None


def request_headers(request: object) -> Mapping[str, Any] | None:
    """The headers of an HTTP library's request; None where it has none, and where they are no mapping."""
    headers = None if isinstance(request, Mapping) else getattr(request, "headers", None)
    return headers if isinstance(headers, Mapping) else None


def model_of(body: object) -> str | None:
    """The model that a request's body names: `model`, or Tencent Cloud's `Model`; None where it names none."""
    if isinstance(body, Mapping):
        for name in ("model", "Model"):
            model = body.get(name)
            if isinstance(model, str) and model:
                return model
    return None


def json_copy(value: object, depth: int = 0) -> Any:
    """The same JSON value in lists of its own, its texts shared: callers add to their messages after a call."""
    if depth < _DEEPEST:
        if type(value) is dict:
            return {name: json_copy(item, depth + 1) for name, item in value.items()}
        if type(value) is list:
            return [json_copy(item, depth + 1) for item in value]
    return value


def exceeds(value: object, most: int) -> bool:
    """Whether the texts of a request or an answer have more than `most` characters; it stops at the first beyond."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, str | bytes):
            most -= len(one)
            if most < 0:
                return True
        elif isinstance(one, Mapping):
            left.extend(one.values())
        elif isinstance(one, list | tuple):
            left.extend(one)
        else:
            content = getattr(one, "_content", None)  # an HTTP library's request
            if isinstance(content, str | bytes):
                left.append(content)
    return False


def limit_of(body: Mapping[str, Any]) -> int | None:
    """The most output tokens that a request's body allows, under any vendor's name; None where it sets no limit."""
    if not _LIMIT_NAMES.isdisjoint(body) and (limit := _limit_in(body)) is not None:
        return limit
    for name in () if _PART_NAMES.isdisjoint(body) else _PARTS:
        part = body.get(name)
        if isinstance(part, Mapping) and (limit := _limit_in(part)) is not None:
            return limit
    return None


def _limit_in(place: Mapping[str, Any]) -> int | None:
    for name in _LIMITS:
        value = place.get(name)
        if type(value) is int and value >= 0:
            return value
    return None
