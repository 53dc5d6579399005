"""The engine against the definition of byte pairs in plain Python."""

from __future__ import annotations

import pytest

from tokenmeter.tokens.build.verify import Slow, fuzz
from tokenmeter.tokens.engine import load_tokenizer
from tokenmeter.tokens.families import family_names, load_family

SHIPPED = [name for name in family_names() if load_family(name).vocabulary and load_family(name).shipped]


@pytest.mark.parametrize("family", SHIPPED)
def test_counts_equal_the_definition_in_plain_python(family: str) -> None:
    definition = load_family(family)
    slow, tokenizer = Slow(definition), load_tokenizer(family)
    for text in fuzz(300, seed=3):
        if any(special in text for special in definition.specials):
            continue
        if definition.units == "characters":
            text = "".join(letter for letter in text if len(tokenizer._piece(letter.encode())) == 1)  # type: ignore[attr-defined]
        assert tokenizer.count(text) == slow.count(text), repr(text)
