"""Unwraps lines of batch result files: which answer a line holds, or why it holds none.

The shapes are data: `formats/_batch.toml`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from tokenmeter.wire.formats import load_apis
from tokenmeter.wire.vendor_errors import error_code

__all__ = ["BatchLine", "unwrap"]


class BatchLine(NamedTuple):
    """The answers of one line, or of one batch object that holds them all; `error` is the code of a failed line."""

    answers: tuple[dict[str, Any], ...]
    error: str | None = None


def unwrap(body: Mapping[str, Any]) -> BatchLine | None:
    """The answers inside a line of a batch's result; None where the body is no such line."""
    apis = load_apis()
    if apis.line_heads.isdisjoint(body):
        return None
    for head, lines in apis.lines.items():
        if head not in body:
            continue
        for line in lines:
            if not all(test(body) for test in line.tests):
                continue
            answers = tuple(answer for answer in line.answers(body) if type(answer) is dict)
            codes = (error_code(read(body), apis.success) for read in line.error)
            error = next((code for code in codes if code is not None), None)
            if answers or error is not None:
                return BatchLine(answers, error)
    return None
