"""Count text and requests as the vendor bills them, offline.

A model belongs to a family (how text becomes tokens), by data. Where the family's vocabulary is here the count is
exact; elsewhere a stand-in or a ratio of its script gives a number with a range. Nothing is loaded before it is used
and nothing is ever downloaded.

`counter` finds the family and counts text; `requests` (imported on first use) adds what chat templates, tools and
media cost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tokenmeter.usage import TokenCount

if TYPE_CHECKING:
    from tokenmeter.tokens.streams import OutputCounter

__all__ = ["OutputCounter", "count_output", "count_request", "count_text"]


def count_text(text: str, *, model: str, provider: str | None = None) -> TokenCount:
    """Tokens of a plain text, without any chat overhead."""
    from tokenmeter.tokens.counter import counter

    return counter(model, provider).estimate(text)


def count_request(
    body: Mapping[str, Any], *, provider: str | None = None, model: str | None = None, api: str | None = None
) -> TokenCount:
    """Input tokens of a whole request body as sent: messages, roles, tools, schema and media.

    `model` and `api` are read from the body where they are not given.
    """
    from tokenmeter.tokens.requests import count_request as count

    return count(body, provider=provider, model=model, api=api)


def count_output(
    *,
    model: str,
    provider: str | None = None,
    api: str | None = None,
    text: str = "",
    reasoning: str = "",
    tool_calls: Sequence[Mapping[str, Any]] = (),
) -> TokenCount:
    """Output tokens of an answer: its text, visible reasoning and tool calls, with end marks and wrappers."""
    from tokenmeter.tokens.requests import count_output as count

    return count(model=model, provider=provider, api=api, text=text, reasoning=reasoning, tool_calls=tool_calls)


def __getattr__(name: str) -> Any:
    if name == "OutputCounter":
        from tokenmeter.tokens.streams import OutputCounter

        return OutputCounter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
