"""Batches in and out: sizes, copies, and what is loaded."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

import tokenmeter

pa = pytest.importorskip("pyarrow")


def test_a_large_batch_is_answered_in_parts_and_its_columns_are_not_copied() -> None:
    ids = pa.array(range(200_000), type=pa.int64())
    texts = pa.nulls(200_000, type=pa.string())
    batch = pa.record_batch({"id": ids, "text": texts})
    parts = list(tokenmeter.batch.count(batch, model="gpt-4o"))
    assert [part.num_rows for part in parts] == [65_536, 65_536, 65_536, 3_392]
    assert {part.column("id").buffers()[1].address for part in parts} == {ids.buffers()[1].address}
    assert parts[3].column("tokens_reason")[-1].as_py() == "row 199999, column text: not known"


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"text": pa.array(["a"]), "b": pa.array([1])}, r"\['b int64'\] where the first has \[\]"),
        (
            {"text": pa.array(["a"], pa.large_string())},
            r"\['text large_string'\] where the first has \['text string'\]",
        ),
    ],
)
def test_a_later_batch_of_other_columns_is_an_error(other: dict[str, Any], said: str) -> None:
    batches = [pa.record_batch({"text": ["a"]}), pa.record_batch(other)]
    with pytest.raises(tokenmeter.ConfigurationError, match=f"a later batch has other columns: {said}"):
        tokenmeter.batch.count(batches, model="gpt-4o").read_all()


def test_a_column_alone_and_a_lazy_frame_name_the_way_out() -> None:
    polars = pytest.importorskip("polars")
    for given, way in (
        (pa.array(["a"]), "give the table or frame"),
        (pa.chunked_array([["a"]]), "give the table or frame"),
        (polars.Series(["a"]), "give the table or frame"),
        (polars.LazyFrame({"text": ["a"]}), r"collect\(\) it first"),
    ):
        with pytest.raises(tokenmeter.ConfigurationError, match=way):
            tokenmeter.batch.count(given, model="gpt-4o")


def test_columns_of_a_dictionary_and_of_large_text_are_text() -> None:
    plain = pa.array(["hello", "hello", None])
    for column in (plain.dictionary_encode(), plain.cast(pa.large_string())):
        found = tokenmeter.batch.count(pa.table({"text": column}), model="gpt-4o").read_all()
        assert found["tokens"].to_pylist() == [1, 1, None]


def test_importing_tokenmeter_loads_neither_batch_nor_pyarrow() -> None:
    code = (
        "import sys, tokenmeter; assert not {'tokenmeter.batch', 'pyarrow'} & {*sys.modules}; "
        "tokenmeter.batch; assert 'pyarrow' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_pyarrow_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(tokenmeter.ConfigurationError, match="pip install 'tokenmeter-sdk"):
        tokenmeter.batch.count([], model="gpt-4o")
