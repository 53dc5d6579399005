"""Parquet files: exact decimals of the scale that they need, whole or in pages."""

from __future__ import annotations

import io
import sys
from decimal import Decimal

import pytest

from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger.report.parquet import write_parquet, write_parquet_pages


def test_pages_have_the_scale_that_all_of_them_need() -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    pages = [[[Decimal(5), None], ["a", None]], [[Decimal("123456.000001")], ["b"]]]
    target = io.BytesIO()
    write_parquet_pages(target, [("cost", "Decimal"), ("team", "String")], lambda: pages, {"note": "n"})
    read = parquet.ParquetFile(target)
    assert (read.num_row_groups, read.schema_arrow.field("cost").type) == (2, pa.decimal128(38, 6))
    assert read.read().to_pydict() == {"cost": [5, None, Decimal("123456.000001")], "team": ["a", None, "b"]}
    assert read.schema_arrow.metadata[b"note"] == b"n"


def test_no_pages_are_a_file_without_rows() -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    target = io.BytesIO()
    write_parquet_pages(target, [("cost", "Decimal")], list, {})
    assert parquet.read_table(target).num_rows == 0


def test_more_digits_than_parquet_holds_are_refused() -> None:
    pytest.importorskip("pyarrow")
    for digits, fits in ((38, True), (76, True), (77, False)):
        number = Decimal(f"1.{'0' * (digits - 2)}1")
        target = io.BytesIO()
        if fits:
            write_parquet(target, [("cost", "Decimal")], [[number]], {})
            assert target.getvalue()[:4] == b"PAR1"
        else:
            with pytest.raises(ConfigurationError, match=r"cost needs 77 digits.*write CSV"):
                write_parquet(target, [("cost", "Decimal")], [[number]], {})


def test_without_pyarrow_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'tokenmeter-sdk\[ledger-fast\]'"):
        write_parquet(io.BytesIO(), [("cost", "Decimal")], [[]], {})
