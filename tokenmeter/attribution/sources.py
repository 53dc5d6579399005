"""Which tags a web request gives, and the answer to one whose call a budget refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from tokenmeter._support.guard import guard
from tokenmeter.errors import BudgetExceeded, ConfigurationError
from tokenmeter.otel.baggage import VALUE_MOST

__all__ = ["TAGS_MOST", "VALUE_MOST", "TagSource", "refused_answer"]

TAGS_MOST: Final = 8
"""Tags of one request."""


class TagSource:
    """Tags from headers by an allow-list (`{"x-user": "user"}`), and from a function of the framework's request.

    Values of headers are cut to 64 characters; at most 8 headers are read. Raises ConfigurationError for others.
    """

    def __init__(self, headers: Mapping[str, str] | None, tags: Callable[[Any], Mapping[str, Any]] | None) -> None:
        given = dict(headers or {})
        if len(given) > TAGS_MOST:
            raise ConfigurationError(f"headers: {len(given)} headers are named; at most {TAGS_MOST} give tags")
        for header, tag in given.items():
            if not isinstance(header, str) or not isinstance(tag, str) or not header or not tag:
                raise ConfigurationError(f'headers={given!r}: map a header to a tag, such as {{"x-user": "user"}}')
        if tags is not None and not callable(tags):
            raise ConfigurationError(f"tags={tags!r}: give a function of the request that returns a mapping")
        self._headers = {header.lower(): tag for header, tag in given.items()}
        self._tags = tags

    def of(self, request: Any, headers: Iterable[tuple[str, str]]) -> dict[str, Any]:
        """The tags of a request. A function that fails gives none, and the request goes on."""
        found: dict[str, Any] = {}
        for name, value in headers:
            tag = self._headers.get(name.lower())
            if tag is not None and tag not in found and value:
                found[tag] = value[:VALUE_MOST]
        if self._tags is not None:
            with guard("reading the tags of a request"):
                found.update(self._tags(request) or {})
        return found

    @property
    def names(self) -> frozenset[str]:
        """The headers that are read, in lower case."""
        return frozenset(self._headers)


def refused_answer(error: BudgetExceeded) -> tuple[list[tuple[str, str]], bytes]:
    """Headers and body of the answer 429 to a request whose call a budget refused. The body names no amount."""
    headers = [("content-type", "application/json")]
    if error.retry_after is not None:
        headers.append(("retry-after", str(max(1, math.ceil(error.retry_after)))))
    resets = error.resets_at.isoformat() if error.resets_at is not None else None
    body = {"error": {"type": "budget_exceeded", "budget": error.budget, "kind": error.kind, "resets_at": resets}}
    return headers, json.dumps(body).encode()
