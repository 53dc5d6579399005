"""Counting what a vendor did not report, at settle: the request's tokens, and those of the text that came back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tokenmeter.usage import Source, TokenCount, Usage

if TYPE_CHECKING:
    from tokenmeter.calls.lifecycle import OpenCall
    from tokenmeter.calls.response import Reading
    from tokenmeter.tokens.calibration.sampler import Calibrator

__all__ = ["fill", "request_body"]


def fill(call: OpenCall, usage: Usage, reading: Reading | None, calibrator: Calibrator | None = None) -> Usage:
    """The usage with missing totals counted, each with its own source and range; what is reported stays."""
    counts: dict[str, TokenCount | None] = {}
    body = None
    if usage.input_tokens is None:
        body = request_body(call.request)
        if body is not None:
            from tokenmeter.tokens import count_request

            counts["input_tokens"] = count_request(body, provider=call.provider, model=call.request_model, api=call.api)
    unfinished = usage.output_tokens is None or usage.source_of("output_tokens") is Source.PARTIAL
    if unfinished and reading is not None:
        counts["output_tokens"] = reading.output()
    if calibrator is not None:
        counts = calibrator.corrected(
            counts, provider=call.provider, model=call.request_model, api=call.api, body=body, reading=reading
        )
        call.calibrated = tuple(name for name, count in counts.items() if count is not None and count.calibrated)
    return usage.with_counts(**counts)


def request_body(request: object) -> Mapping[str, Any] | None:
    """The JSON body of a request that was kept for counting: a mapping, bytes, text, or an HTTP library's request."""
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
