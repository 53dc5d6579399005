"""Holds the items of one count, and counts the pieces that requests and answers share: marks, calls, blocks of tools.

Blocks of tools repeat from call to call, so their counts are kept by a digest of the block, never its text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, Protocol

from tokenmeter.tokens.requests import block_cache, render
from tokenmeter.tokens.requests.prompt import Item, Tool, ToolCall
from tokenmeter.tokens.requests.rules import Pattern, Rule
from tokenmeter.tokens.requests.typescript import uncommented

__all__ = ["CounterLike", "Items"]


class CounterLike(Protocol):
    """The part of `tokens.counter.Counter` that itemizing needs."""

    @property
    def family_name(self) -> str: ...

    @property
    def method(self) -> str: ...

    def count(self, text: str, *, markers: bool = False) -> int: ...

    def band(self, tokens: int, text: str = "") -> tuple[int, int]: ...


class Items:
    """The items of one count under one rule, and how shared pieces are counted."""

    __slots__ = ("_counts", "_rule", "items")

    def __init__(self, counts: CounterLike, rule: Rule) -> None:
        self._counts = counts
        self._rule = rule
        self.items: list[Item] = []

    def add(self, part: str, tokens: int, note: str = "") -> None:
        if tokens:
            self.items.append(Item(part, tokens, note))

    def marked(self, text: str) -> int:
        """Tokens of rendered text: `\\0` is one mark, `\\1` none, and neither merges with anything."""
        if "\0" not in text and "\1" not in text:
            return self._counts.count(text, markers=True) if text else 0
        pieces = text.replace("\0", "\1").split("\1")
        return text.count("\0") + sum(self._counts.count(piece, markers=True) for piece in pieces if piece)

    def count_calls(self, pattern: Pattern, calls: Sequence[ToolCall]) -> int:
        texts = [
            pattern.text.replace("{name}", call.name).replace(
                "{body}", render.arguments(pattern.style, call, pattern.options)
            )
            for call in calls
        ]
        tokens = pattern.constant + pattern.each * len(calls)
        if pattern.options.stored:
            tokens += pattern.options.stored * sum(call.stored for call in calls)
        if pattern.parallel and (len(calls) > 1 or (pattern.options.spaced_alone and _spaced(calls[0].arguments))):
            tokens = pattern.parallel + pattern.parallel_each * len(calls)
            tokens += pattern.options.parallel_empty * sum(call.arguments in _EMPTY for call in calls)
        if pattern.join:
            return tokens + self.marked(pattern.intro + pattern.join.join(texts) + pattern.outro)
        return tokens + self.marked(pattern.intro) + sum(map(self.marked, texts)) + self.marked(pattern.outro)

    def count_block(self, part: str, pattern: Pattern, offered: Sequence[Tool]) -> int:
        key = block_cache.digest(self._rule.id, self._counts.family_name, part, [tool.raw for tool in offered])
        known = block_cache.recall(key)
        if known is not None:
            return known
        texts = render.tools(pattern.style, offered, pattern.options)
        if pattern.text != "{body}":
            texts = [pattern.text.replace("{body}", text) for text in texts]
        if pattern.join:
            tokens = self.marked(pattern.intro + pattern.join.join(texts) + pattern.outro)
        else:
            tokens = self.marked(pattern.intro) + sum(map(self.marked, texts)) + self.marked(pattern.outro)
        tokens = round(tokens * pattern.scale) + pattern.constant + pattern.each * len(offered)
        if pattern.options.uncommented:
            tokens += pattern.options.uncommented * sum(map(uncommented, offered))
        block_cache.remember(key, tokens)
        return tokens


_EMPTY: Final[tuple[Any, ...]] = ("", "{}", {})
_SPACED: Final = re.compile(r'^\{"[^"]*": ')


def _spaced(arguments: object) -> bool:
    """Whether arguments are one line of JSON with a space behind the colon."""
    return isinstance(arguments, str) and _SPACED.match(arguments) is not None
