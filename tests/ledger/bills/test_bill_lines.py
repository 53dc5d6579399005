"""Files of a bill as lines: the part of the format that a file is of, and what is missing."""

from __future__ import annotations

from datetime import UTC
from pathlib import Path

from tests.ledger.bills.test_bill_rows import HEAD, read
from tokenmeter.ledger.bills.bill_files import open_bill
from tokenmeter.ledger.bills.bill_format import load_format
from tokenmeter.ledger.bills.bill_lines import read_lines, recognized


def test_a_renamed_column_is_named_with_the_columns_there_are(tmp_path: Path) -> None:
    reading = read(tmp_path, HEAD.replace("price", "unit_price") + "u,20260902,m,k,sk,output_tokens,1e-6,1\n")
    (problem,) = reading.problems
    assert (problem.line, problem.field) == (1, "price")
    assert "no column 'price'" in problem.message
    assert "unit_price" in problem.message
    assert reading.lines == []


def test_each_file_is_read_by_the_part_that_has_its_columns(tmp_path: Path) -> None:
    (tmp_path / "amount.csv").write_text(HEAD + "u,20260902,m,k,sk,output_tokens,1e-6,1000\n")
    (tmp_path / "cost.csv").write_text(
        "user_id,utc_date,model,wallet_type,cost,currency\nu,20260902,m,Paid,0.001,CNY\n"
    )
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    tables, _, _ = open_bill([str(tmp_path)])
    form = load_format("deepseek")
    assert recognized(tables, form)
    assert not recognized(tables[-1:], form)
    reading = read_lines(tables, form, UTC, fixed=False)
    assert [one.component for one in reading.lines] == ["output", "total"]
    assert [(one.file, one.line, one.field) for one in reading.problems] == [("other.csv", 1, "day")]
