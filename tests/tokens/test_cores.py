"""The core of a short text encodes it as the core of all tokens does."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenmeter.tokens.cores import SHORT_TEXT, SMALL_CORES, Cores
from tokenmeter.tokens.engine import BytePairs, build_tokenizer, load_tokenizer
from tokenmeter.tokens.families import Family, family_names, load_family
from tokenmeter.tokens.vocab import unpack

SHIPPED = [name for name in family_names() if (family := load_family(name)).vocabulary and family.shipped]
TEXTS = st.text(
    st.sampled_from(
        "the of ing价格模型调用，。\n\t  'sSé😀👩🏽‍💻٣한글カナ{}[]<|im_end|>=-_/\\\"0123456789abcdefXYZ\u2581"
    ),
    max_size=60,
) | st.text(max_size=40)


def cores_of(name: str) -> tuple[Family, Cores]:
    family = load_family(name)
    assert family.vocabulary_path is not None
    return family, Cores(family, unpack(family.vocabulary_path.read_bytes())[: family.tokens])


@pytest.mark.parametrize("name", SHIPPED)
def test_a_short_text_is_encoded_as_by_the_whole_core(name: str) -> None:
    _, cores = cores_of(name)
    whole = load_tokenizer(name)
    assert isinstance(whole, BytePairs)
    whole.build()

    @settings(max_examples=40, deadline=None)
    @given(text=TEXTS)
    def alike(text: str) -> None:
        data = text.encode("utf-8", "replace")[:SHORT_TEXT]
        short = data.decode("utf-8", "ignore")
        assert cores._small(short.encode()).encode_ordinary(short) == whole._core(short)

    alike()


def test_few_texts_get_a_core_of_their_own_and_the_next_builds_the_whole() -> None:
    _, cores = cores_of("tekken")
    small = [cores.of("你好，world") for _ in range(SMALL_CORES)]
    assert len(set(map(id, small))) == SMALL_CORES
    assert not cores.built
    whole = cores.of("你好，world")
    assert cores.built
    assert cores.of("another") is whole
    assert cores.whole() is whole
    assert [core.encode_ordinary("你好，world") for core in small] == [whole.encode_ordinary("你好，world")] * 3


def test_a_long_text_has_the_whole_core_at_once() -> None:
    tokenizer = build_tokenizer(load_family("tekken"))
    assert tokenizer.count("word " * SHORT_TEXT) == load_tokenizer("tekken").count("word " * SHORT_TEXT)
    assert tokenizer._cores.built  # type: ignore[attr-defined]


@pytest.mark.parametrize("text", ["", "\ud800lone", "a\udfffb", "<|endoftext|>", "[INST]"])
def test_first_texts_of_every_kind_count_as_later_ones(text: str) -> None:
    for name in ("o200k", "tekken", "gemma"):
        first = build_tokenizer(load_family(name)).count(text)
        later = load_tokenizer(name)
        assert isinstance(later, BytePairs)
        later.build()
        assert first == later.count(text)
