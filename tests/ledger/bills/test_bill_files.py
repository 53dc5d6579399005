"""The files of a bill: encodings, archives, pages of JSON, and what cannot be read."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger.bills.bill_files import open_bill

ROWS = '模型,用量\r\nqwen-plus,"1,000"\r\n\r\nqwen-max,2\r\n'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk", "utf-16"])
def test_a_csv_file_in_any_of_its_encodings(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "bill.csv").write_bytes(ROWS.encode(encoding))
    (table,), problems, notes = open_bill([str(tmp_path / "bill.csv")])
    rows = list(table.under(frozenset(["模型", "用量"])))
    assert rows == [(2, {"模型": "qwen-plus", "用量": "1,000"}), (4, {"模型": "qwen-max", "用量": "2"})]
    assert (problems, notes) == ([], [])


def test_a_title_above_the_header(tmp_path: Path) -> None:
    (tmp_path / "bill.csv").write_text("账单 2026-11,,\n,,\n" + ROWS, encoding="utf-8")
    (table,), _, _ = open_bill([str(tmp_path)])
    assert frozenset(["模型", "用量"]) in list(table.headers())
    assert next(table.under(frozenset(["模型", "用量"])))[0] == 4


def test_pages_of_json_are_rows_of_their_innermost_objects(tmp_path: Path) -> None:
    bucket = {"start_time": 1, "results": [{"amount": {"value": 0.10}}, {"amount": {"value": 2}}]}
    empty = {"start_time": 2, "results": []}
    page = json.dumps({"object": "page", "data": [bucket, empty], "has_more": True})
    (tmp_path / "costs.jsonl").write_text(page + "\n" + page.replace("0.1", "1e-7"))
    (table,), problems, notes = open_bill([str(tmp_path)])
    values = [row["amount.value"] for _, row in table.under(frozenset())]
    assert values == ["0.1", "2", "1E-7", "2"]
    assert problems == []
    assert notes == ["costs.jsonl is not the last page (has_more): days may be missing"]


def test_an_archive_with_a_file_twice_and_others_beside(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bill.zip", "w") as archive:
        archive.writestr("a.csv", ROWS)
        archive.writestr("b.csv", ROWS)
        archive.writestr("readme.pdf", b"%PDF")
    tables, problems, notes = open_bill([str(tmp_path / "bill.zip")])
    assert [table.name for table in tables] == ["bill.zip/a.csv"]
    assert problems == []
    assert notes == ["bill.zip/b.csv repeats bill.zip/a.csv: read once"]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "is empty"), (b"\xff\xfe\xfa\x81\xff\xff\xff", "text"), (b"{not json", "is not JSON")],
)
def test_a_broken_file_is_named_and_the_others_are_read(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    (tmp_path / "b.csv").write_text(ROWS, encoding="utf-8")
    tables, problems, _ = open_bill([str(tmp_path)])
    assert [table.name for table in tables] == ["b.csv"]
    (problem,) = problems
    assert problem.file == "a.csv"
    assert message in problem.message or "codec" in problem.message


def test_a_bill_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no bill at"):
        open_bill([str(tmp_path / "none.csv")])
