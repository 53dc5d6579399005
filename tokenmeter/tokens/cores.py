"""Builds tiktoken's native core of a vocabulary: of the tokens that a short text may hold at first, then of all.

The core of 200,000 tokens takes 0.2 s and 40 MB, most of it inside tiktoken, which a program that counts one question
need not spend. A token comes only of merges of tokens inside it, so a text is encoded alike by a core that has no more
than the tokens which are part of the text. The first few short texts get such a core each; the next text, or a longer
one, has the whole core built, which stays.
"""

from __future__ import annotations

import threading
from itertools import compress
from typing import Any, Final

from tokenmeter.tokens.families import Family

__all__ = ["SHORT_TEXT", "SMALL_CORES", "Cores"]

SMALL_CORES: Final = 3
"""Texts that get a core of their own: together they cost a quarter of what the whole one does."""
SHORT_TEXT: Final = 192
"""Bytes of a text that gets one: all its substrings are looked for, half the square of this."""


class Cores:
    """Makes the cores of one vocabulary, whose tokens it keeps until the whole core has been built."""

    __slots__ = ("_family", "_left", "_lock", "_tokens", "_whole")

    def __init__(self, family: Family, tokens: tuple[bytes, ...]) -> None:
        self._family = family
        self._tokens = tokens
        self._left = SMALL_CORES
        self._lock = threading.Lock()
        self._whole: Any = None

    def of(self, text: str) -> Any:
        """A core that encodes this text as the whole one does. Raises UnicodeEncodeError on lone surrogates."""
        data = text.encode()
        with self._lock:
            if self._whole is None and self._left and len(data) <= SHORT_TEXT:
                self._left -= 1
                return self._small(data)
        return self.whole()

    @property
    def built(self) -> bool:
        """Whether there is the whole core."""
        return self._whole is not None

    def _small(self, data: bytes) -> Any:
        ends = range(1, len(data) + 1)
        parts = {data[start:end] for end in ends for start in range(end)}
        parts.update(map(bytes, zip(range(256))))  # the engine asks for every byte
        first = self._family.first_id
        found = compress(range(len(self._tokens)), map(parts.__contains__, self._tokens))
        return self._core({self._tokens[index]: first + index for index in found})

    def whole(self) -> Any:
        """The core of all tokens; built once."""
        with self._lock:
            if self._whole is None:
                first = self._family.first_id
                self._whole = self._core(dict(zip(self._tokens, range(first, first + len(self._tokens)), strict=True)))
                self._tokens = ()
        return self._whole

    def _core(self, ranks: dict[bytes, int]) -> Any:
        from tiktoken._tiktoken import CoreBPE  # type: ignore[import-not-found]  # compiled, without stubs

        for dead in self._family.dead:
            ranks.pop(self._tokens[dead - self._family.first_id], None)
        return CoreBPE(ranks, {}, self._family.pattern)
