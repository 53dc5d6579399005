"""JSON texts divided into shape and filling come back as they were, in Python and in SQL alone."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmeter.ledger.shapes import CHARGES, NUMBERS, divided, encode, restore_sql, restored

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


def in_sql(shape: str, values: str) -> str:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE texts (id INTEGER PRIMARY KEY, text TEXT)")
        connection.execute("INSERT INTO texts VALUES (7, ?)", (shape,))
        connection.execute("CREATE TABLE c (shape INTEGER, filling TEXT)")
        connection.execute("INSERT INTO c VALUES (7, ?)", (values,))
        text: str = connection.execute(f"SELECT {restore_sql('c.shape', 'c.filling')} FROM c").fetchone()[0]  # noqa: S608
    return text


@given(VALUES)
def test_any_json_comes_back_as_it_was(value: Any) -> None:
    text = encode(value).encode("utf-8", "replace").decode()
    shape, values = divided(text, NUMBERS)
    assert restored(shape, values) == text
    if "\0" not in text:
        assert in_sql(shape, values) == text


@pytest.mark.parametrize(
    ("text", "filling"),
    [
        pytest.param('{"prompt_tokens":1200,"total":{"n":[1,-2,0]}}', [1200, 1, -2, 0], id="usage"),
        pytest.param('{"n":1234567890123456789,"x":1.5}', [], id="more digits than readers of JSON keep"),
        pytest.param('{"id":"a:12","n":01}', [], id="numbers inside texts stay there"),
    ],
)
def test_whole_numbers_are_holes(text: str, filling: list[int]) -> None:
    shape, values = divided(text, NUMBERS)
    assert json.loads(values) == filling
    assert restored(shape, values) == text


def test_charges_keep_their_exact_texts() -> None:
    text = '[{"component":"input","quantity":1000,"rate":"2","per":"1000000","amount":"0.002"},{"component":"audio_seconds","quantity":"1.5","rate":"1","per":"1","amount":"1.5"}]'  # noqa: E501
    shape, values = divided(text, CHARGES)
    assert json.loads(values) == [1000, "0.002", "1.5", "1.5"]
    assert restored(shape, values) == in_sql(shape, values) == text
