"""Turn text into tokens with a family's own vocabulary, natively and without surprises.

The work is tiktoken's, on ranks we build ourselves: its constructor only, no registry, no plugin, no download. Around
it are the traps closed that a plain `encode_ordinary` leaves open:

- special tokens typed by a user are counted as the family's servers do, and never raise;
- lone surrogates count as U+FFFD, joined ones as their character;
- long runs of white space, at which the native regular expression panics, are counted apart, with the same count;
- a long text is encoded in pieces (`cuts`), so memory does not grow with it.

A vocabulary is loaded once, by the first text counted with it; threads share it.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final, Protocol

from tokenmeter.errors import CatalogError
from tokenmeter.tokens.cuts import CHUNK, LONG_RUN, pieces, scalars, space_runs
from tokenmeter.tokens.families import Family, load_family
from tokenmeter.tokens.vocab import unpack

__all__ = ["BytePairs", "Tokenizer", "build_tokenizer", "load_tokenizer", "loaded_families", "put_tokenizer"]


class Tokenizer(Protocol):
    """What counting needs of a tokenizer."""

    family: Family
    adds_up: ClassVar[bool]
    """Whether the tokens of pieces cut at safe places add up to those of the whole."""

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
        "_core",
        "_leads",
        "_letters",
        "_looks_ahead",
        "_nfc",
        "_piece",
        "_plain",
        "_quick",
        "_specials",
        "_whole_before",
        "family",
    )

    def __init__(self, family: Family, tokens: tuple[bytes, ...]) -> None:
        tokens = tokens[: family.tokens]
        encoding = _encoding(family, tokens)
        self.family = family
        self._core: Callable[[str], list[int]] = encoding._core_bpe.encode_ordinary
        self._piece: Callable[[bytes], list[int]] = encoding._core_bpe.encode_single_piece
        self._nfc = family.normalize == "NFC"
        self._letters = _letters(tokens) if family.units == "characters" else None
        self._looks_ahead = "(?!" in family.pattern
        self._whole_before = re.compile(family.whole_space_before) if family.whole_space_before else None
        names = sorted(family.specials, key=len, reverse=True)
        self._specials = re.compile("|".join(map(re.escape, names))) if names else None
        self._leads = tuple({name[0] for name in names})
        self._plain = family.typed_specials == "text"
        self._quick = self._plain and self._letters is None

    def count(self, text: str, markers: bool = False) -> int:
        """Tokens of a text; `markers` reads special tokens as one token each."""
        if self._quick and not markers and len(text) < LONG_RUN:
            # The common case, as short as it can be: the lines below would cost a fifth of a short text's count.
            try:
                return len(self._core(text if text.isascii() or not self._nfc else unicodedata.normalize("NFC", text)))
            except UnicodeEncodeError:
                text = scalars(text)
        if (markers or not self._plain) and self._specials is not None and any(map(text.__contains__, self._leads)):
            found = len(self._specials.findall(text))
            if found:
                return found + sum(map(self._count_plain, self._specials.split(text)))
        return self._count_plain(text)

    def _count_plain(self, text: str) -> int:
        if self._letters is not None and not text.isascii():
            text = scalars(text).replace("\u2581", " ")  # the vocabulary writes a space as this letter
            return self._count_pieces(text) + self._single_bytes(text, self._letters)
        return self._count_pieces(text)

    def _count_pieces(self, text: str) -> int:
        if len(text) <= CHUNK:
            return len(self._encode(text))
        return sum(len(self._encode(piece)) for piece in pieces(text))

    def _single_bytes(self, text: str, letters: frozenset[str]) -> int:
        """Tokens to add for characters the vocabulary lacks: each of their bytes is one, merged beginnings or not."""
        missing = [letter for letter in set(text).difference(letters) if not letter.isascii()]
        times = Counter(text) if len(missing) > 8 else {letter: text.count(letter) for letter in missing}
        return sum(times[letter] * (len(letter.encode()) - len(self._piece(letter.encode()))) for letter in missing)

    def _encode(self, text: str) -> list[int]:
        try:
            if self._nfc and not text.isascii():
                text = unicodedata.normalize("NFC", text)
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


def _encoding(family: Family, tokens: tuple[bytes, ...]) -> Any:
    import tiktoken

    first = family.first_id
    ranks = dict(zip(tokens, range(first, first + len(tokens)), strict=True))
    for dead in family.dead:
        del ranks[tokens[dead - first]]
    encoding = tiktoken.Encoding(
        family.name, pat_str=family.pattern, mergeable_ranks=ranks, special_tokens=dict[str, int]()
    )
    # The native core keeps its own copy; ours would double the memory.
    encoding._mergeable_ranks = {}
    return encoding


def _letters(tokens: tuple[bytes, ...]) -> frozenset[str]:
    """The characters beyond ASCII that a vocabulary of characters has."""
    lengths = {first: 2 if first < 0xE0 else 3 if first < 0xF0 else 4 for first in range(0xC2, 0xF5)}
    return frozenset(token.decode() for token in tokens if len(token) == lengths.get(token[0], 0))


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
