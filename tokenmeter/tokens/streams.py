"""Counts a streamed answer while it arrives, keeping only the text that may still join the next delta.

Deltas gather until there are about a thousand characters; the text before the last safe point (`split_points`) is
counted and dropped, so the sum equals the count of the whole text, memory stays small and a delta costs about a
microsecond. The overhead of an answer (end marks, wrappers of calls) comes from request counting at the end.
"""

from __future__ import annotations

from math import inf
from typing import Final

from tokenmeter.token_count import TokenCount
from tokenmeter.tokens.counter import Counter, counter
from tokenmeter.tokens.ratio import RatioTally, Script
from tokenmeter.tokens.split_points import FORCED, last_split_point

__all__ = ["OutputCounter", "TextCounter"]

_BATCH: Final = 1024
"""Characters gathered before they are counted: encoding is cheapest per character from here on."""


class TextCounter:
    """Counts one text that comes in parts. `tokens()` equals the count of the parts joined."""

    __slots__ = ("_counted", "_counter", "_due", "_length", "_parts", "tally")

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._parts: list[str] = []
        self._length = 0
        self._due: float = _BATCH
        self._counted = 0
        self.tally = RatioTally()

    def feed(self, delta: str) -> None:
        """Add a part."""
        self._parts.append(delta)
        self._length += len(delta)
        if self._length >= self._due:
            self._settle()

    def _settle(self) -> None:
        tokenizer = self._counter.tokenizer
        if tokenizer is not None and not tokenizer.adds_up:
            self._due = inf
            return
        text = "".join(self._parts)
        point = last_split_point(text)
        if not point and len(text) < FORCED:
            # Looked for again only when the text has doubled, so a text without safe points costs linear time.
            self._parts, self._due = [text], 2 * len(text)
            return
        point = point or len(text)
        self._counted += self._raw(text[:point])
        self.tally.feed(text[:point])
        self._parts, self._length, self._due = [text[point:]], len(text) - point, len(text) - point + _BATCH

    def _raw(self, text: str) -> int:
        tokenizer = self._counter.tokenizer
        return tokenizer.count(text) if tokenizer is not None else 0

    def raw(self) -> tuple[int, RatioTally]:
        """Tokens of the vocabulary counted with, so far, and the characters seen."""
        rest = "".join(self._parts)
        seen = RatioTally(self.tally.han, self.tally.cjk, self.tally.ascii, self.tally.other)
        seen.feed(rest)
        return self._counted + self._raw(rest), seen

    def tokens(self) -> int:
        """Tokens so far; may be asked for at any time."""
        raw, seen = self.raw()
        return self._counter.scaled(raw, seen.script()) if self._counter.method != "ratio" else seen.ratio()[0]

    def count(self) -> TokenCount:
        """Tokens so far with low and high."""
        counts = self._counter
        raw, seen = self.raw()
        if counts.method == "ratio":
            tokens, low, high = seen.ratio()
        else:
            tokens = counts.scaled(raw, seen.script())
            low, high = counts.band(tokens, script=seen.script())
        return TokenCount(tokens, low, high, counts.method, counts.family_name, (), counts.reason)


class OutputCounter:
    """Feed it the deltas of a stream; ask it for the count at any time. Not thread safe, as a stream is not."""

    __slots__ = ("_api", "_counter", "_kinds")

    def __init__(self, *, model: str, provider: str | None = None, api: str | None = None) -> None:
        self._counter = counter(model, provider)
        self._api = api
        self._kinds: dict[str, TextCounter] = {}

    def feed(self, kind: str, delta: str) -> None:
        """Add a delta of `text`, `reasoning` or `tool_calls`."""
        if delta:
            part = self._kinds.get(kind)
            if part is None:
                part = self._kinds[kind] = TextCounter(self._counter)
            part.feed(delta)

    def text_kinds(self) -> tuple[Script, set[str]]:
        """The script of what was fed so far, and its kinds."""
        seen = RatioTally()
        for part in self._kinds.values():
            seen.add(part.raw()[1])
        return seen.script(), set(self._kinds)

    def count(self) -> TokenCount:
        """Tokens so far with low and high, end marks and wrappers of calls included."""
        counts = self._counter
        tokens = sum(part.tokens() for part in self._kinds.values())
        seen = RatioTally()
        for part in self._kinds.values():
            seen.add(part.raw()[1])
        low, high = seen.ratio()[1:] if counts.method == "ratio" else counts.band(tokens, script=seen.script())
        overhead = self._overhead()
        if overhead is None or overhead.tokens is None or overhead.low is None or overhead.high is None:
            return TokenCount(tokens, low, high, counts.method, counts.family_name, (), counts.reason)
        return TokenCount(
            tokens + overhead.tokens,
            low + overhead.low,
            high + overhead.high,
            overhead.method,
            counts.family_name,
            (),
            counts.reason,
        )

    def _overhead(self) -> TokenCount | None:
        """What an answer with these parts costs beyond its text: that of a one-letter answer, less its letters."""
        if not self._kinds:
            return None
        from tokenmeter.tokens.requests.count import explain_output

        calls = [{"id": "a", "type": "function", "function": {"name": "a", "arguments": "{}"}}]
        least = explain_output(
            model=self._counter.model,
            provider=self._counter.provider,
            api=self._api,
            text="a" if "text" in self._kinds else "",
            reasoning="a" if "reasoning" in self._kinds else "",
            tool_calls=calls if "tool_calls" in self._kinds else (),
        ).count
        letters = {"text": "a", "reasoning": "a", "tool_calls": "a{}"}
        known = sum(self._counter.count(letters.get(kind, "")) for kind in self._kinds)
        if least.tokens is None or least.low is None or least.high is None:
            return None
        return TokenCount(least.tokens - known, least.low - known, least.high - known, least.method, least.family)
