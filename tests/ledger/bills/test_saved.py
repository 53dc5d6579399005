"""Reconciliations in the ledger's file: read back as they were, one for each day, and only where a bill has money."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.rigs.ledger_rows import rows
from tests.rigs.planted_bills import ALIYUN, PLANTS, Bill
from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger.bills.reconcile import Reconciliation
from tokenmeter.ledger.bills.saved import SavedBill, save_bills, saved_bills
from tokenmeter.ledger.copying import migrate
from tokenmeter.ledger.schema import LedgerError


@pytest.fixture
def answer(tmp_path: Path) -> Reconciliation:
    bill = Bill(ALIYUN)
    for plant, _ in PLANTS.values():
        plant(bill)
    return ALIYUN.reconciled(tmp_path, bill.records, bill.lines)


def read(path: Path) -> list[SavedBill]:
    with closing(sqlite3.connect(path)) as connection:
        return list(saved_bills(connection))


def test_what_is_saved_is_read_back_and_calls_are_not_touched(answer: Reconciliation, tmp_path: Path) -> None:
    ledger = tmp_path / "spend.db"
    calls = rows(ledger)
    assert read(ledger) == []
    save_bills(str(ledger), [answer], invoice="INV-7")
    (saved,) = read(ledger)
    assert (saved.provider, saved.currency, saved.invoice, saved.zone) == ("alibaba", "CNY", "INV-7", "Asia/Shanghai")
    assert (saved.days, saved.until_us) == (answer.days, answer.until_us)
    assert len(saved.days) == 14
    kept = [replace(one, tokens={}, count=1) for one in answer.differences]
    assert list(saved.differences) == kept
    assert rows(ledger) == calls


def test_days_have_one_bill_unless_it_is_replaced(answer: Reconciliation, tmp_path: Path) -> None:
    ledger = str(tmp_path / "spend.db")
    save_bills(ledger, [answer], invoice="first")
    with pytest.raises(ConfigurationError, match="a bill of alibaba in CNY for 2025-08-21 to 2025-09-03 is there"):
        save_bills(ledger, [answer])
    later = replace(answer, currency="USD")
    save_bills(ledger, [later], invoice="dollars")
    save_bills(ledger, [answer], invoice="second", replace=True)
    assert sorted(one.invoice or "" for one in read(tmp_path / "spend.db")) == ["dollars", "second"]


def test_a_bill_without_amounts_and_a_ledger_that_is_not_there(answer: Reconciliation, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="the bill has no amounts"):
        save_bills(str(tmp_path / "spend.db"), [replace(answer, cost=None, paid=None)])
    with pytest.raises(LedgerError, match="there is no ledger"):
        save_bills(str(tmp_path / "none.db"), [answer])
    assert not (tmp_path / "none.db").exists()


def test_bills_go_along_when_a_ledger_is_migrated(answer: Reconciliation, tmp_path: Path) -> None:
    save_bills(str(tmp_path / "spend.db"), [answer], invoice="INV-7")
    migrate(str(tmp_path / "spend.db"), str(tmp_path / "new.db"))
    assert read(tmp_path / "new.db") == read(tmp_path / "spend.db")
