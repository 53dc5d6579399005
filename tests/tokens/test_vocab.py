"""Packed vocabularies: unpacking undoes packing, fingerprints tell them apart, damage is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmeter.errors import CatalogError
from tokenmeter.tokens.build import __main__ as build
from tokenmeter.tokens.families import family_names, load_family
from tokenmeter.tokens.vocab import fingerprint, pack, unpack


@given(st.lists(st.binary(max_size=600), max_size=50))
def test_unpacking_undoes_packing(tokens: list[bytes]) -> None:
    assert list(unpack(pack(tokens))) == tokens


@given(st.lists(st.binary(min_size=1, max_size=4), min_size=2, max_size=9, unique=True))
def test_a_fingerprint_tells_order_and_content(tokens: list[bytes]) -> None:
    assert fingerprint(tokens) == fingerprint(tuple(tokens))
    assert fingerprint(tokens) != fingerprint(tokens[::-1])
    assert fingerprint(tokens) != fingerprint(tokens[:-1])


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: data[:-20], id="cut short"),
        pytest.param(lambda data: b"", id="empty"),
        pytest.param(lambda data: b"PK" + data, id="something else"),
    ],
)
def test_a_damaged_vocabulary_names_its_file_and_the_way_out(damage: object) -> None:
    with pytest.raises(CatalogError, match=r"qwen\.vocab: damaged .* tokenmeter\.tokens\.build"):
        unpack(damage(pack([b"a", b"bc"])), "qwen.vocab")  # type: ignore[operator]


@pytest.mark.parametrize("name", [name for name in family_names() if load_family(name).shipped])
def test_shipped_vocabularies_have_their_fingerprints(name: str) -> None:
    assert build.check(load_family(name)) is None


def test_licences_are_beside_the_data() -> None:
    folder = Path(build.__file__).parents[3] / "tokenizers"
    said = (folder / "LICENCES.md").read_text(encoding="utf-8")
    for name in family_names():
        family = load_family(name)
        if family.vocabulary == name and family.path and family.path.parent == folder:
            assert f"`{name}`" in said
            assert family.source["package"] in said
