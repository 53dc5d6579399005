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
from collections.abc import Callable, Sequence
from typing import ClassVar, Final, Protocol
from unicodedata import normalize

from tokenmeter.errors import CatalogError
from tokenmeter.tokens.cores import Cores
from tokenmeter.tokens.families import Family, load_family
from tokenmeter.tokens.long_words import limits
from tokenmeter.tokens.split_points import LONG_RUN, pieces, scalars, space_runs
from tokenmeter.tokens.vocab import unpack

__all__ = [
    "BytePairs",
    "CountText",
    "Tokenizer",
    "build_core",
    "build_tokenizer",
    "load_tokenizer",
    "loaded_families",
    "put_tokenizer",
]


_MANY_PARTS: Final = 64
"""Texts between special tokens from which on it pays to look for those that are alike."""


class CountText(Protocol):
    """Counts the tokens of a text; `markers` reads special tokens as one token each."""

    def __call__(self, text: str, markers: bool = False) -> int: ...


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
        "_broken",
        "_chunk",
        "_core",
        "_cores",
        "_count_part",
        "_forced",
        "_leads",
        "_looks_ahead",
        "_nfc",
        "_openings",
        "_piece",
        "_plain",
        "_specials",
        "_whole_before",
        "family",
        "quick",
    )

    def __init__(self, family: Family, tokens: tuple[bytes, ...]) -> None:
        tokens = tokens[: family.tokens]
        self.family = family
        self._chunk, self._forced = limits()
        self._cores = Cores(family, tokens)
        self._core: Callable[[str], list[int]] = self._first_core
        self._piece: Callable[[bytes], list[int]] = self._first_piece
        self._nfc = family.normalize == "NFC"
        self._broken = _broken(tokens, family.first_id) if family.units == "characters" else None
        self._looks_ahead = "(?!" in family.pattern
        self._whole_before = re.compile(family.whole_space_before) if family.whole_space_before else None
        names = sorted(family.specials)
        self._specials = re.compile(f"({_any_of(names)})") if names else None
        # Two looks that nearly every text passes before the pattern need see it: first characters, then first two.
        leads = sorted({name[0] for name in names}) or ["\ud800"]  # which no text that can be sent holds
        self._openings = [(lead, sorted({name[:2] for name in names if name[0] == lead})) for lead in leads]
        one, two, three = [*leads, *leads, *leads][:3] if len(leads) <= 3 else ("", "", "")  # "" is in every text
        self._leads = one, two, three
        self._plain = family.typed_specials == "text"
        self._count_part: Callable[[str], int] = self._count_plain
        self.quick: CountText | None = None
        """Counts as `count` does, with less around the engine; there once the whole core is."""

    def build(self) -> None:
        """Build the whole core now, which the first texts would otherwise wait for."""
        whole = self._cores.whole()
        self._core, self._piece = whole.encode_ordinary, whole.encode_single_piece
        self._count_part = self._plain_counter()
        self.quick = self._quick_counter(self._count_part)

    def _plain_counter(self) -> Callable[[str], int]:
        """Counts text between special tokens, in as few steps around the engine as there can be."""
        core, slow, long, nfc, broken = self._core, self._count_plain, LONG_RUN, self._nfc, self._broken

        def count(text: str) -> int:
            if len(text) >= long:
                return slow(text)
            try:
                ids = core(normalize("NFC", text) if nfc and not text.isascii() else text)
            except UnicodeEncodeError:
                return slow(text)
            return len(ids) if broken is None or text.isascii() or broken.isdisjoint(ids) else slow(text)

        return count

    def _quick_counter(self, plain: Callable[[str], int]) -> CountText:
        """Counts any text; what it needs is at hand, since each look-up and call shows on a text of ten characters."""
        core, count, slow, long = self._core, self.count, self._count_plain, LONG_RUN
        (first, second, third), opens = self._leads, self._opens
        two, three = second != first or not first, third not in (first, second) or not first
        typed, nfc, broken = not self._plain, self._nfc, self._broken

        def quick(text: str, markers: bool = False) -> int:
            if (
                (markers or typed)
                and (first in text or (two and second in text) or (three and third in text))
                and opens(text)
            ):
                return count(text, markers)
            if len(text) >= long:
                return slow(text)
            try:
                ids = core(normalize("NFC", text) if nfc and not text.isascii() else text)
            except UnicodeEncodeError:
                return slow(text)
            return len(ids) if broken is None or text.isascii() or broken.isdisjoint(ids) else slow(text)

        return quick

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
        first, second, third = self._leads
        if (markers or not self._plain) and (first in text or second in text or third in text) and self._opens(text):
            return self._count_marked(text)
        return self._count_plain(text)

    def _opens(self, text: str) -> bool:
        """Whether a text holds the first two characters of a special token."""
        return any(lead in text and any(map(text.__contains__, openings)) for lead, openings in self._openings)

    def _count_marked(self, text: str) -> int:
        # The pattern is one group, so every other part is a special token.
        parts = self._specials.split(text) if self._specials else [text]
        texts = parts[::2]
        if len(texts) < _MANY_PARTS:
            return len(parts) // 2 + sum(map(self._count_part, filter(None, texts)))
        # Between the tags of a page the same few texts return, mostly white space: each is counted once.
        count = self._count_part
        return len(parts) // 2 + sum(times * count(one) for one, times in Counter(texts).items() if one)

    def _count_plain(self, text: str) -> int:
        if self._broken is not None and "\u2581" in text:
            text = text.replace("\u2581", " ")  # the vocabulary writes a space as this letter
        if len(text) <= self._chunk:
            return self._count_piece(text)
        return sum(map(self._count_piece, pieces(text, self._chunk, self._forced)))

    def _count_piece(self, text: str) -> int:
        ids = self._encode(text)
        lacks = self._broken is not None and not text.isascii() and not self._broken.isdisjoint(ids)
        return len(ids) + self._single_bytes(text) if lacks else len(ids)

    def _single_bytes(self, text: str) -> int:
        """Tokens to add for characters the vocabulary lacks: each of their bytes is one, merged beginnings or not."""
        more = 0
        for letter, times in Counter(scalars(text)).items():
            data = letter.encode()
            tokens = len(self._piece(data))
            if tokens > 1:
                more += times * (len(data) - tokens)
        return more

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


def _any_of(names: Sequence[str]) -> str:
    """A pattern of these names that looks at each character once; of two that begin alike it takes the longer."""
    nexts: dict[str, list[str]] = {}
    for name in names:
        if name:
            nexts.setdefault(name[0], []).append(name[1:])
    branches = [re.escape(first) + _any_of(rests) for first, rests in nexts.items()]
    pattern = branches[0] if len(branches) == 1 and "" not in names else f"(?:{'|'.join(branches)})"
    return f"{pattern}?" if branches and "" in names else pattern if branches else ""


def _broken(tokens: tuple[bytes, ...], first: int) -> frozenset[int]:
    """The ids of tokens that are a part of a character: a vocabulary of characters has them for those that it lacks."""
    short = (pair for pair in enumerate(tokens, first) if len(pair[1]) < 4 and pair[1][0] >= 0x80)
    return frozenset(number for number, token in short if len(token.decode(errors="ignore").encode()) < len(token))


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
