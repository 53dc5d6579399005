"""Count a streamed answer while it arrives, holding back only what may still join the next delta."""

from __future__ import annotations

from tokenmeter.usage import TokenCount

__all__ = ["OutputCounter"]


class OutputCounter:
    """Feed it the deltas of a stream; ask it for the count at any time. Not thread safe, as a stream is not."""

    __slots__ = ("_api", "_model", "_parts", "_provider")

    def __init__(self, *, model: str, provider: str | None = None, api: str | None = None) -> None:
        self._model = model
        self._provider = provider
        self._api = api
        self._parts: dict[str, list[str]] = {}

    def feed(self, kind: str, delta: str) -> None:
        """Add a delta of `text`, `reasoning` or `tool_calls`."""
        self._parts.setdefault(kind, []).append(delta)

    def count(self) -> TokenCount:
        """Tokens so far."""
        from tokenmeter.tokens.counter import counter

        text = "".join(part for parts in self._parts.values() for part in parts)
        return counter(self._model, self._provider).estimate(text)
