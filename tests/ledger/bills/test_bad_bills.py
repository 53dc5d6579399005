"""Bills of every format as they come out of spreadsheets and consoles, and bills that are broken."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable
from datetime import UTC
from pathlib import Path

import pytest

from tests.rigs.bills import ledger_of
from tests.rigs.planted_bills import BOOK, VENDORS, Bill, Vendor
from tokenmeter.ledger.bills.bill_files import open_bill
from tokenmeter.ledger.bills.bill_format import load_format
from tokenmeter.ledger.bills.bill_lines import read_lines
from tokenmeter.ledger.bills.reconcile import Reconciliation, reconcile


def written(bill: Bill, folder: Path, change: Callable[[str], bytes]) -> list[str]:
    """The vendor's files in a folder, each changed."""
    vendor = bill.vendor
    made = vendor.export(folder / "made", bill.lines, vendor.currency)
    target = folder / "bill"
    target.mkdir()
    for name, text in _texts(made):
        (target / name).write_bytes(change(text))
    return [str(one) for one in sorted(target.iterdir())]


def _texts(made: Path) -> list[tuple[str, str]]:
    if made.is_dir():
        return [(one.name, one.read_text("utf-8")) for one in sorted(made.iterdir())]
    content = made.read_bytes()
    if content[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return [(name, archive.read(name).decode("utf-8-sig")) for name in archive.namelist()]
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("gb18030")
    return [("bill.json" if text[0] == "{" else "bill.csv", text.replace("\r\n", "\n"))]


def compared(bill: Bill, folder: Path, files: list[str]) -> Reconciliation:
    vendor = bill.vendor
    ledger = ledger_of(folder / "spend.db", bill.records)
    (answer,) = reconcile(ledger, files, load_format(vendor.format), provider=vendor.provider, book=BOOK)
    return answer


@pytest.mark.parametrize("encoding", ["utf-8-sig", "gb18030", "utf-16"])
@pytest.mark.parametrize("vendor", VENDORS, ids=lambda one: one.format)
def test_any_encoding_and_line_ending_reads_the_same(vendor: Vendor, encoding: str, tmp_path: Path) -> None:
    bill = Bill(vendor)
    files = written(bill, tmp_path, lambda text: text.replace("\n", "\r\n").encode(encoding))
    answer = compared(bill, tmp_path, files)
    assert (answer.differences, answer.problems) == ([], [])


@pytest.mark.parametrize("vendor", VENDORS, ids=lambda one: one.format)
def test_files_that_repeat_count_once(vendor: Vendor, tmp_path: Path) -> None:
    bill = Bill(vendor)
    files = written(bill, tmp_path, str.encode)
    answer = compared(bill, tmp_path, files * 2)
    assert answer.differences == []
    assert len(answer.notes) == len(files)


RENAMED = {
    "deepseek": ("utc_date", "day"),
    "aliyun": ("官网目录价", "amount"),
    "volcengine": ("PayableAmount", "paid"),
    "openai": ("value", "amount"),
    "anthropic": ("starting_at", "day"),
    "openrouter": ("cost_total", "amount"),
    "focus": ("BilledCost", "paid"),
    "baidu": ("financePrice", "paid"),
    "tencent": ("UsedAmount", "quantity"),
    "google": ("usage_start_time", "day"),
}


@pytest.mark.parametrize("vendor", VENDORS, ids=lambda one: one.format)
def test_a_column_of_another_name_is_named_with_its_field(vendor: Vendor, tmp_path: Path) -> None:
    column, field = RENAMED[vendor.format]
    bill = Bill(vendor)
    files = written(bill, tmp_path, lambda text: text.replace(column, f"old {column}").encode())
    reading = read_lines(open_bill(files)[0], load_format(vendor.format), UTC, fixed=True)
    assert field in {one.field for one in reading.problems if one.line == 1}
    assert all("name yours with --map" in one.message for one in reading.problems)


@pytest.mark.parametrize("vendor", VENDORS, ids=lambda one: one.format)
def test_a_number_that_is_none_is_named_with_line_and_field_and_the_others_go_on(
    vendor: Vendor, tmp_path: Path
) -> None:
    """The output of the first day: 3 x 901 tokens, or 901 of a call."""

    def broken(text: str) -> bytes:
        found = re.search(r'(?<![0-9.])("?)(2\.?703|901)("?)(?=[,}\s])', text)
        if found is None:
            return text.encode()
        word = "many" if found[1] or text[0] not in "{[" else '"many"'
        return f"{text[: found.start()]}{found[1]}{word}{found[3]}{text[found.end() :]}".encode()

    bill = Bill(vendor)
    answer = compared(bill, tmp_path, written(bill, tmp_path, broken))
    (problem,) = answer.problems
    assert (problem.message, problem.field in FIELDS) == ("'many' is not a number", True)
    assert problem.line is not None
    assert {one.day for one in answer.differences} <= {vendor.day(0)}


FIELDS = {"quantity", "before", "output"}
