"""Tokenizes text with a family's vocabulary, on tiktoken's native engine.

The work is tiktoken's, on ranks we build ourselves (`cores`): its constructor only, no registry, no plugin, no
download. Around it are the traps closed that a plain `encode_ordinary` leaves open:

- special tokens typed by a user are counted as the family's servers do, and never raise;
- lone surrogates count as U+FFFD, joined ones as their character;
- long runs of white space, at which the native regular expression panics, are counted apart, with the same count;
- a long text is encoded in pieces (`split_points`), so memory does not grow with it;
- a version of tiktoken that takes quadratic time for one long word gets it cut, and the count is not called exact.

A vocabulary is loaded once, by the first texts counted with it; threads share it.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import ClassVar, Final, Protocol
from unicodedata import normalize

from tokenmeter.errors import CatalogError
from tokenmeter.tokens.cores import Cores
from tokenmeter.tokens.families import Family, load_family
from tokenmeter.tokens.split_points import CHUNK, FORCED, LONG_RUN, last_split_point, pieces, scalars, space_runs
from tokenmeter.tokens.vocab import unpack

__all__ = [
    "BytePairs",
    "Tokenizer",
    "any_forced_cut",
    "build_core",
    "build_tokenizer",
    "forced_cuts",
    "load_tokenizer",
    "loaded_families",
    "put_tokenizer",
]

_LINEAR_SINCE: Final = (0, 13)
"""The first version of tiktoken that merges a long piece in less than quadratic time."""
_SHORT: Final = 1 << 11
"""Characters without a safe split point that an older tiktoken gets at once: a few milliseconds; 120,000 take 6 s."""


@cache
def _limits() -> tuple[int, int]:
    """Characters encoded at once, and those without a safe split point that are split anyway."""
    from tiktoken import __version__ as version  # importlib.metadata would take 35 ms to import

    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    return (CHUNK, FORCED) if numbers >= _LINEAR_SINCE else (_SHORT, _SHORT)


def forced_cuts(text: str) -> int:
    """How often a text is cut where tokens may cross, because the installed tiktoken is slow on long pieces."""
    chunk, forced = _limits()
    if forced == FORCED or len(text) < LONG_RUN:
        return 0
    cuts = at = 0
    for piece in pieces(text, chunk, forced):
        at += len(piece)
        if len(piece) >= forced and at < len(text) and last_split_point(text, at - 1, at) != at:
            cuts += 1
    return cuts


def any_forced_cut(value: object) -> bool:
    """Whether one of the texts in a JSON value is cut so."""
    if _limits()[1] == FORCED:
        return False
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            if forced_cuts(one):
                return True
        elif isinstance(one, Mapping):
            waiting += one.values()
        elif isinstance(one, list | tuple):
            waiting += one
    return False


class Tokenizer(Protocol):
    """What counting needs of a tokenizer."""

    family: Family
    adds_up: ClassVar[bool]
    """Whether the tokens of pieces split at safe points add up to those of the whole."""

    def count(self, text: str, markers: bool = False) -> int:
        """Tokens of a text; `markers` reads special tokens as one token each."""
        ...

    def encode(self, text: str, markers: bool = False) -> list[int]:
        """Token ids of a text; for verification, not for long texts."""
        ...


class BytePairs:
    """A byte-pair vocabulary in tiktoken's engine."""

    adds_up: ClassVar[bool] = True

    __slots__ = (
        "_chunk",
        "_core",
        "_cores",
        "_forced",
        "_leads",
        "_letters",
        "_looks_ahead",
        "_missing",
        "_nfc",
        "_openings",
        "_piece",
        "_plain",
        "_specials",
        "_unchanged",
        "_whole_before",
        "family",
    )

    def __init__(self, family: Family, tokens: tuple[bytes, ...]) -> None:
        tokens = tokens[: family.tokens]
        self.family = family
        self._chunk, self._forced = _limits()
        self._cores = Cores(family, tokens)
        self._core: Callable[[str], list[int]] = self._first_core
        self._piece: Callable[[bytes], list[int]] = self._first_piece
        self._nfc = family.normalize == "NFC"
        self._missing: re.Pattern[str] | None = None
        self._letters = _letters(tokens) if family.units == "characters" else None
        self._looks_ahead = "(?!" in family.pattern
        self._whole_before = re.compile(family.whole_space_before) if family.whole_space_before else None
        names = sorted(family.specials, key=len, reverse=True)
        self._specials = re.compile(f"({'|'.join(map(re.escape, names))})") if names else None
        # Two looks that nearly every text passes before the pattern need see it: first characters, then first two.
        self._openings = sorted({name[:2] for name in names})
        leads = sorted({name[0] for name in names}) or ["\ud800"]  # which no text that can be sent holds
        one, two, three = [*leads, *leads, *leads][:3] if len(leads) <= 3 else ("", "", "")  # "" is in every text
        self._leads = one, two, three
        self._plain = family.typed_specials == "text"
        self._unchanged = not self._nfc and self._letters is None

    def build(self) -> None:
        """Build the whole core now, which the first texts would otherwise wait for."""
        whole = self._cores.whole()
        self._core, self._piece = whole.encode_ordinary, whole.encode_single_piece

    def _first_core(self, text: str) -> list[int]:
        core = self._cores.of(text)
        if self._cores.built:
            self.build()
        ids: list[int] = core.encode_ordinary(text)
        return ids

    def _first_piece(self, piece: bytes) -> list[int]:
        self.build()
        return self._piece(piece)

    def count(self, text: str, markers: bool = False) -> int:
        """Tokens of a text; `markers` reads special tokens as one token each."""
        # A short text is counted here, in as few steps as there can be: a call and a loop more would cost it a tenth.
        first, second, third = self._leads
        if (
            (first in text or second in text or third in text)
            and (markers or not self._plain)
            and any(map(text.__contains__, self._openings))
        ):
            return self._count_marked(text)
        if len(text) < LONG_RUN:
            try:
                if self._unchanged or text.isascii():
                    return len(self._core(text))
                if self._nfc:
                    return len(self._core(normalize("NFC", text)))
                if self._letters is not None and self._letters.issuperset(text):
                    return len(self._core(text))
            except UnicodeEncodeError:
                text = scalars(text)
        return self._count_plain(text)

    def _count_marked(self, text: str) -> int:
        # The pattern is one group, so every other part is a special token.
        parts = self._specials.split(text) if self._specials else [text]
        return len(parts) // 2 + sum(map(self._count_plain, parts[::2]))

    def _count_plain(self, text: str) -> int:
        if self._letters is None or text.isascii():
            return self._count_pieces(text)
        if "\u2581" in text:
            text = text.replace("\u2581", " ")  # the vocabulary writes a space as this letter
        tokens = self._count_pieces(text)
        return tokens + self._single_bytes(text, self._letters) if self._lacks(text, self._letters) else tokens

    def _lacks(self, text: str, letters: frozenset[str]) -> bool:
        """Whether the vocabulary lacks a character of the text."""
        if len(text) < LONG_RUN:
            return not letters.issuperset(text)
        if self._missing is None:
            # Ten times faster than the set over a long text, and 50 ms to compile, which a short one never needs.
            self._missing = re.compile(f"[^{_ranges(letters)}]")
        return self._missing.search(text) is not None

    def _count_pieces(self, text: str) -> int:
        if len(text) <= self._chunk:
            return len(self._encode(text))
        return sum(len(self._encode(piece)) for piece in pieces(text, self._chunk, self._forced))

    def _single_bytes(self, text: str, letters: frozenset[str]) -> int:
        """Tokens to add for characters the vocabulary lacks: each of their bytes is one, merged beginnings or not."""
        times = Counter(scalars(text))
        lost = [letter for letter in times if letter not in letters]
        return sum(times[letter] * (len(letter.encode()) - len(self._piece(letter.encode()))) for letter in lost)

    def _encode(self, text: str) -> list[int]:
        try:
            if self._nfc and not text.isascii():
                text = normalize("NFC", text)
            runs = space_runs(text) if self._looks_ahead else ()
            return self._around(text, runs) if runs else self._core(text)
        except UnicodeEncodeError:
            return self._encode(scalars(text))

    def _around(self, text: str, runs: Sequence[tuple[int, int]]) -> list[int]:
        """Encode with long runs of white space as the single pieces that the pattern would make of them."""
        ids: list[int] = []
        done = 0
        for start, end in runs:
            if end < len(text) and text[end] in "\r\n":
                continue  # taken whole by the branch for newlines, which keeps no state
            joins = end < len(text) and not (self._whole_before and self._whole_before.match(text, end))
            ids += self._core(text[done:start])
            # The last one goes with what follows (` word`), unless the family ends the piece there.
            done = end - 1 if joins else end
            ids += self._piece(text[start:done].encode())
        return ids + self._core(text[done:])

    def encode(self, text: str, markers: bool = False) -> list[int]:
        """Token ids of a text; for verification, not for long texts."""
        if self._specials is None or (self._plain and not markers):
            return self._encode(text)
        ids: list[int] = []
        done = 0
        for match in self._specials.finditer(text):
            ids += self._encode(text[done : match.start()])
            ids.append(self.family.specials[match[0]])
            done = match.end()
        return ids + self._encode(text[done:])


def _letters(tokens: tuple[bytes, ...]) -> frozenset[str]:
    """The characters that a vocabulary of characters has; those of ASCII are one token in any case."""
    lengths = {first: 2 if first < 0xE0 else 3 if first < 0xF0 else 4 for first in range(0xC2, 0xF5)}
    beyond = (token.decode() for token in tokens if len(token) == lengths.get(token[0], 0))
    return frozenset((*map(chr, range(128)), *beyond))


def _ranges(letters: frozenset[str]) -> str:
    """The inside of a character class for these letters."""
    codes = sorted(map(ord, letters))
    starts = [code for code, before in zip(codes, [-2, *codes], strict=False) if code != before + 1]
    ends = [code for code, after in zip(codes, [*codes[1:], -2], strict=True) if after != code + 1]
    return "".join(f"\\U{start:08x}-\\U{end:08x}" for start, end in zip(starts, ends, strict=True))


_loaded: dict[str, Tokenizer] = {}
_loading: dict[str, threading.Lock] = {}
_lock: Final = threading.Lock()


def loaded_families() -> tuple[str, ...]:
    """The families whose vocabulary this process has loaded."""
    return tuple(_loaded)


def load_tokenizer(name: str) -> Tokenizer:
    """The tokenizer of a family with a vocabulary, loaded once. Raises CatalogError where it cannot be."""
    found = _loaded.get(name)
    if found is not None:
        return found
    with _lock:
        lock = _loading.setdefault(name, threading.Lock())
    with lock:
        if name not in _loaded:
            _loaded[name] = build_tokenizer(load_family(name))
    return _loaded[name]


def build_core(name: str) -> None:
    """Load the tokenizer of a family whole, before a text asks for it. Raises CatalogError where it cannot be."""
    tokenizer = load_tokenizer(name)
    if isinstance(tokenizer, BytePairs):
        tokenizer.build()


def put_tokenizer(name: str, tokenizer: Tokenizer) -> None:
    """Count a family with this tokenizer from now on."""
    _loaded[name] = tokenizer


def build_tokenizer(family: Family) -> Tokenizer:
    """Load a family's vocabulary, from beside its own file. Raises CatalogError where it cannot be read."""
    path = family.vocabulary_path
    if path is None:
        raise CatalogError([f"{family.name}: has no vocabulary; it is counted with {family.stand_in}"])
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CatalogError(
            [f"{path.name}: cannot be read ({error.strerror}); build it: python -m tokenmeter.tokens.build"]
        ) from None
    tokens = unpack(data, path.name)
    if len(tokens) < family.tokens:
        raise CatalogError([f"{path.name}: holds {len(tokens)} tokens, {family.name}.toml says {family.tokens}"])
    return BytePairs(family, tokens)
