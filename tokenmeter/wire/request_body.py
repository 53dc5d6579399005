"""The JSON body of a request, and the model it names: one rule for hooks, hand-made calls, counting and the CLI."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

__all__ = ["model_of", "request_body"]


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


def model_of(body: object) -> str | None:
    """The model that a request's body names: `model`, or Tencent Cloud's `Model`; None where it names none."""
    if isinstance(body, Mapping):
        for name in ("model", "Model"):
            model = body.get(name)
            if isinstance(model, str) and model:
                return model
    return None
