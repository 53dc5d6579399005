"""Counting what a vendor did not report, at settle: the request's tokens, and those of the text that came back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenmeter.usage import Source, TokenCount, Usage
from tokenmeter.wire.request_body import request_body

if TYPE_CHECKING:
    from tokenmeter.calls.calibrator import Calibrator
    from tokenmeter.calls.opencall import OpenCall
    from tokenmeter.calls.response import Reading

__all__ = ["fill"]


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
