"""Wire formats of the provider server, one module each; a new one is a module with four names and a row in `WIRES`.

Called by `testing/server.py`. Read `openai_chat.py` first.

`API` is the format's name in tokenmeter, `PATH` a pattern searched in the request's path (its group `model`, if
any, holds the model's name), `answer(ask)` makes the reply and `refuse(status, message)` the body of an
error.
"""

from __future__ import annotations

import importlib
import re
from typing import Any, Final, Protocol, cast

from tokenmeter.testing.ask import Ask
from tokenmeter.testing.reply import Reply

__all__ = ["WIRES", "Wire", "wire_for"]


class Wire(Protocol):
    """The four names of a wire format module."""

    API: str
    PATH: re.Pattern[str]

    def answer(self, ask: Ask) -> Reply:
        """The whole reply, without faults."""

    def refuse(self, status: int, message: str) -> Any:
        """The JSON body of an error."""


WIRES: Final = (
    "openai_chat",
    "openai_completions",
    "openai_responses",
    "openai_embeddings",
    "openai_media",
    "anthropic_messages",
    "gemini",
    "dashscope",
    "cohere",
    "ollama",
    "bedrock",
    "tencent",
    "wenxin",
)
_loaded: list[Wire] = []


def wire_for(path: str) -> tuple[Wire, re.Match[str]] | None:
    """The format for a path, with the match; None where no format serves it."""
    if not _loaded:
        _loaded.extend(cast("Wire", importlib.import_module(f"{__name__}.{name}")) for name in WIRES)
    for wire in _loaded:
        match = wire.PATH.search(path)
        if match:
            return wire, match
    return None
