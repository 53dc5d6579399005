"""The words by which the text of an event shows that it may say usage, an error, a reason to end, or the end.

Most events of a stream hold text alone, and need not be decoded where nobody wants that text. Each word begins with a
quotation mark, so that the expression which looks for all of them at once has a common beginning: without one, Python
tries every word at every character.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from tokenmeter.wire.element_counts import ElementCounts
from tokenmeter.wire.formats import Api

__all__ = ["TellingWords"]

_OF_ERRORS: Final = ('"error', '"code"', '"Error', '"base_resp"', '"detail"')
"""What refusals of any vendor hold, whatever the format."""


class TellingWords:
    """The telling words of one wire format.

    `in_text` and `in_bytes` find any of them. `between` are those, as serializers write them, that no event holds which
    is passed over unread: all but the reasons to end, of which a later one replaces an earlier. `tiers` are the
    beginnings of a service tier. `after_mark` is how many characters stand at most after the last quotation mark of a
    word.
    """

    __slots__ = ("after_mark", "between", "in_bytes", "in_text", "tiers")

    def __init__(self, api: Api) -> None:
        names = {place.split(".")[-1] for place in (*api.usage, *api.spare)} - {""}
        objects = sorted(f'"{name}":{{' for name in names)
        words = _shortest((*_OF_ERRORS, *_signs(api), *_elements(api), *_bare_counts(api), *objects))
        finish = sorted({f'"{path.split(".")[-1]}":"' for path in api.finish})
        self.tiers = tuple(_spellings(f'"{path.split(".")[-1]}":"' for path in api.tier))
        self.between = tuple(_spellings(words))
        self.after_mark = max(len(word) - 1 - word.rfind(b'"') for word in self.between)
        pattern = f'"(?:{"|".join(map(_expression, (*words, *finish)))})'
        self.in_text = re.compile(pattern)
        self.in_bytes = re.compile(pattern.encode())


def _signs(api: Api) -> Iterator[str]:
    """Words of the signs that an answer begins, turns, ends or is an error."""
    for sign in (*api.ends, *api.begins, *api.turns, *api.error):
        path, _, word = sign.partition("=")
        name = path.split(".")[-1]
        if word in ("true", "false") or word.isdigit():
            yield f'"{name}":{word}'
        else:
            yield f'"{word or name}"'


def _elements(api: Api) -> Iterator[str]:
    for declared in (api.elements, *api.elements_of.values()):
        for word in ElementCounts(declared).needles:
            yield word if word.startswith('"') else f'"{word}"'


def _bare_counts(api: Api) -> Iterator[str]:
    """The names of counts that stand in the answer itself."""
    if "." in api.usage:
        for path in api.counts:
            yield f'"{path.split(".")[0].split("[")[0]}"'


def _shortest(words: Iterable[str]) -> list[str]:
    """The words without those that begin with another of them."""
    kept: list[str] = []
    for word in sorted(set(words)):
        if not kept or not word.startswith(kept[-1]):
            kept.append(word)
    return kept


def _spellings(words: Iterable[str]) -> Iterator[bytes]:
    """The words as serializers write them, with a space after a colon or without."""
    for word in words:
        yield word.encode()
        if '":' in word:
            yield word.replace('":', '": ', 1).encode()


def _expression(word: str) -> str:
    return re.escape(word[1:]).replace('":', r'"\s*:\s*', 1)
