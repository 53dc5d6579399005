"""Counts the text of one model: with which vocabulary, how exactly, and in which range.

`counter(model, provider, at)` is what request counting, streams and the command line build on. It finds the model's
family by data (`tokenizers/models.toml`), and loads a vocabulary when something is counted, not before. Where the
family has no vocabulary another stands in, and the family's own file says how many true tokens one of the stand-in's is
worth, by script; where a vocabulary cannot be loaded the text's script alone decides.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from tokenmeter.errors import CatalogError
from tokenmeter.token_count import TokenCount
from tokenmeter.tokens.engine import BytePairs, CountText, Tokenizer, build_core, load_tokenizer
from tokenmeter.tokens.families import Family, FamilyMatch, Scale, family_names, load_family, match_model
from tokenmeter.tokens.long_words import any_forced_cut, forced_cuts
from tokenmeter.tokens.ratio import RatioTally, Script, script_of

__all__ = ["Counter", "counter"]

logger: Final = logging.getLogger("tokenmeter")

GUESSED: Final[Scale] = (1.0, 0.85, 1.25)
"""For a model counted with another vocabulary of its vendor: as far as a vendor's vocabularies differ."""

_AT_ONCE: Final = 1_000
_PER_CUT: Final = 2
"""Tokens by which a count may be off for each place where a long word was cut; 0.8 was the most in trials."""
_CUT: Final = (
    "a word of over 2,048 characters was cut for this version of tiktoken, which is slow on it: upgrade tiktoken"
)


class Counter:
    """Counts text of one model. Cheap to make; the vocabulary is loaded by the first `count`.

    `count(text, markers=False)` gives the tokens of a text, the best guess where the method is not exact. With
    `markers` the family's special tokens (`<|im_start|>`) are one token each, as a rendered template needs; otherwise
    they are counted as the family's server counts them in what a user typed. It is an attribute, so that the
    tokenizer's own function can take its place where nothing is to be scaled.

    `family_name` is the family the model belongs to, which chat templates are chosen by (`claude`); `family` is the one
    whose vocabulary counts (`cl100k` for Claude). `method` is `exact`, `stand-in` or, where the vocabulary cannot be
    loaded, `ratio`. `found_by` says how the family was found, as `FamilyMatch.by`.
    """

    __slots__ = (
        "_scale",
        "_tokenizer",
        "count",
        "family",
        "family_name",
        "found_by",
        "method",
        "model",
        "provider",
        "reason",
    )

    def __init__(self, model: str, provider: str | None, match: FamilyMatch) -> None:
        family = load_family(match.family)
        self.model = model
        self.provider = provider
        self.family_name = family.name
        self.family = family.counted_with
        self.found_by = match.by
        self.method = "exact" if self.family == family.name and match.by == "model" else "stand-in"
        self.reason = _reason(model, self.family, match)
        self._scale = _scale(family, match)
        self._tokenizer: Tokenizer | None = None
        self.count: CountText = self._count

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The tokenizer counted with, loaded by the first use; None where it cannot be, which is logged once."""
        if self._tokenizer is None and self.method != "ratio":
            try:
                self._tokenizer = load_tokenizer(self.family)
            except CatalogError as error:
                self.method = "ratio"
                self.reason = str(error)
                logger.warning("tokenmeter counts %s by the script of its text: %s", self.model, error)
        return self._tokenizer

    def _count(self, text: str, markers: bool = False) -> int:
        tokenizer = self._tokenizer or self.tokenizer
        if tokenizer is None:
            return _by_ratio(text)[0]
        tokens = tokenizer.count(text, markers)
        if self._scale is not None:
            return self.scaled(tokens, script_of(text)) if tokens else 0
        if isinstance(tokenizer, BytePairs) and tokenizer.quick is not None:
            self.count = tokenizer.quick
        return tokens

    def scaled(self, tokens: int, script: Script) -> int:
        """The best guess of true tokens for tokens of the vocabulary counted with."""
        return tokens if self._scale is None or not tokens else max(1, round(tokens * self._scale[script][0]))

    def band(self, tokens: int, text: str = "", *, script: Script | None = None) -> tuple[int, int]:
        """Low and high around a count of this counter, for that text or script; for any script where none is given."""
        if self.method == "ratio":
            return int(tokens * 0.5), math.ceil(tokens * 2.0)
        if self._scale is None or not tokens:
            return tokens, tokens
        script = script or (script_of(text) if text else None)
        scales = [self._scale[script]] if script else list(self._scale.values())
        low = min(scale[1] / scale[0] for scale in scales)
        high = max(scale[2] / scale[0] for scale in scales)
        # A few characters are off by a whole token, whatever the ratio.
        return max(1, math.floor(tokens * low) - 1), math.ceil(tokens * high) + 1

    def estimate(self, text: str) -> TokenCount:
        """Tokens of a text with low, high, method and family."""
        tokens = self.count(text)
        if self.method == "ratio":
            tokens, low, high = _by_ratio(text)
        else:
            low, high = self.band(tokens, text)
            if cuts := forced_cuts(text):
                off = cuts * _PER_CUT
                return TokenCount(tokens, max(1, low - off), high + off, "stand-in", self.family_name, (), _CUT)
        return TokenCount(tokens, low, high, self.method, self.family_name, (), self.reason)

    def estimate_all(self, texts: Sequence[str]) -> tuple[Sequence[int], Sequence[int], Sequence[int]] | None:
        """Tokens, low and high of many texts, as `estimate` gives them; `method` and `reason` are the same for all.

        None where these depend on the text: without a vocabulary, and where an old tiktoken cuts long words.
        """
        if self.tokenizer is None or any_forced_cut(texts):
            return None
        tokens: list[int] = []
        for start in range(0, len(texts), _AT_ONCE):
            count = self.count if self._scale is None else self._raw()  # the first texts may have built a faster one
            tokens += map(count, texts[start : start + _AT_ONCE])
        if self._scale is None:
            return tokens, tokens, tokens
        known: dict[tuple[int, Script], tuple[int, int, int]] = {}  # short texts have few numbers of tokens
        bounds = []
        for number, text in zip(tokens, texts, strict=True):
            key = number, script_of(text)
            found = known.get(key)
            if found is None:
                found = known[key] = self._around(*key)
            bounds.append(found)
        best, low, high = zip(*bounds, strict=True) if bounds else ((), (), ())
        return best, low, high

    def _raw(self) -> CountText:
        """Counts by the vocabulary, before anything is scaled."""
        tokenizer = self._tokenizer
        assert tokenizer is not None  # its callers have looked
        return (tokenizer.quick if isinstance(tokenizer, BytePairs) else None) or tokenizer.count

    def _around(self, tokens: int, script: Script) -> tuple[int, int, int]:
        """The best guess, low and high for tokens of the vocabulary counted with."""
        best = self.scaled(tokens, script)
        return (best, *self.band(best, script=script))


def _reason(model: str, vocabulary: str, match: FamilyMatch) -> str | None:
    if match.by == "model":
        return None
    if match.by == "similar":
        return f"the vocabulary of {model!r} is not published: counted with {vocabulary}, which is similar"
    return f"model {model!r} is not known: counted with {vocabulary}"


def _scale(family: Family, match: FamilyMatch) -> dict[Script, Scale] | None:
    if family.counted_with != family.name:
        return dict(family.scale)
    return None if match.by == "model" else dict.fromkeys(("zh", "en", "mixed", "other"), GUESSED)


def _by_ratio(text: str) -> tuple[int, int, int]:
    tally = RatioTally()
    tally.feed(text)
    return tally.ratio()


def counter(model: str, provider: str | None = None, at: str | None = None) -> Counter:
    """The counter of a model on an ISO day or now, cached.

    Never raises on an unknown model: it gets a stated stand-in, widely ranged.
    """
    return _counter(model, provider, match_model(model, provider, at))


@lru_cache(maxsize=4096)
def _counter(model: str, provider: str | None, match: FamilyMatch) -> Counter:
    return Counter(model, provider, match)


def forget_counters() -> None:
    """Drop the cached counters, once the families they were made of have changed."""
    _counter.cache_clear()


def load_for(name: str) -> None:
    """Load the vocabulary of a family or a model now. Raises CatalogError where it cannot be."""
    if name in family_names():
        build_core(load_family(name).counted_with)
    else:
        build_core(counter(name).family)
