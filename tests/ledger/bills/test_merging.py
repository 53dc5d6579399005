"""Ledgers that were reconciled with one bill, merged: the bill is there once, and what is billed adds up to it."""

from __future__ import annotations

import itertools
import shutil
from decimal import Decimal
from pathlib import Path

import pytest

from tests.rigs.bills import ledger_of
from tests.rigs.planted_bills import ALIYUN, PLANTS, Bill, sum_of
from tokenmeter.ledger.bills.merging import OTHER_CALLS
from tokenmeter.ledger.bills.reconcile import Reconciliation
from tokenmeter.ledger.bills.saved import save_bills, saved_bills
from tokenmeter.ledger.copying import merge
from tokenmeter.ledger.focus.charges import export
from tokenmeter.ledger.report.periods import Zone
from tokenmeter.ledger.report.query import Question
from tokenmeter.ledger.schema import open_for_reading

ALL = Question(by=(), zone=Zone.named("UTC"))


def billed(path: Path) -> Decimal:
    return sum_of(value for row in export(str(path), ALL) if isinstance(value := row["BilledCost"], Decimal))


def corrections(path: Path) -> list[Decimal]:
    connection = open_for_reading(str(path))
    try:
        return [
            one.money for bill in saved_bills(connection) for one in bill.differences if one.evidence == OTHER_CALLS
        ]
    finally:
        connection.close()


def bills(path: Path) -> list[str | None]:
    connection = open_for_reading(str(path))
    try:
        return [bill.invoice for bill in saved_bills(connection)]
    finally:
        connection.close()


class Machines:
    """Ledgers that each have a part of the calls that one bill charges."""

    def __init__(self, folder: Path, parts: int = 3) -> None:
        self.folder = folder
        bill = Bill(ALIYUN)
        for plant, _ in PLANTS.values():
            plant(bill)
        self.total: Decimal | None = None
        self.paths = []
        for number in range(parts):
            home = folder / str(number)
            home.mkdir()
            records = [one._replace(id=f"{at:032x}") for at, one in enumerate(bill.records)][number::parts]
            answer = ALIYUN.reconciled(home, records, bill.lines)
            self.paths.append(home / "spend.db")
            self.answer: Reconciliation = answer
            self.total = answer.paid if answer.paid is not None else answer.cost
            save_bills(str(self.paths[-1]), [answer], invoice=f"from {number}")

    def merged(self, *numbers: int, name: str = "all.db") -> Path:
        for number in numbers:
            merge([str(self.paths[number])], str(self.folder / name))
        return self.folder / name


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Machines:
    return Machines(tmp_path_factory.mktemp("machines"))


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_bill_is_there_once_and_adds_up_in_every_order(machines: Machines, order: tuple[int, ...]) -> None:
    path = machines.merged(*order, name=f"{order}.db")
    assert bills(path) == ["from 2"], "the one that was made last"
    assert billed(path) == machines.total
    again = machines.merged(*order, *order, name=f"{order}.db")
    assert (billed(again), bills(again)) == (machines.total, ["from 2"])


def test_calls_that_are_there_already_change_no_bill(machines: Machines) -> None:
    path = machines.merged(0, 0, name="same.db")
    assert (billed(path), corrections(path)) == (machines.total, [])


def test_a_ledger_without_a_bill_adds_its_calls_to_the_days_of_one(machines: Machines, tmp_path: Path) -> None:
    plain_ledger = ledger_of(tmp_path / "plain.db", [one._replace(id="ab" * 16) for one in Bill(ALIYUN).records[:1]])
    path = machines.merged(1, name="one.db")
    (copied,) = merge([str(plain_ledger)], str(path))
    assert (copied.new, copied.bills_left_out) == (1, 0)
    assert billed(path) == machines.total
    assert len(corrections(path)) == 1


def test_a_bill_of_other_days_is_kept_beside(machines: Machines, tmp_path: Path) -> None:
    from dataclasses import replace

    path = tmp_path / "other.db"
    shutil.copy(machines.paths[0], path)
    day = 86_400_000_000
    later = replace(
        machines.answer, differences=[], until_us=machines.answer.until_us + 90 * day,
        days=tuple((f"x{at}", start + 90 * day) for at, (_, start) in enumerate(machines.answer.days)),
    )  # fmt: skip
    save_bills(str(path), [later], invoice="later")
    merge([str(machines.paths[1])], str(path))
    assert sorted(filter(None, bills(path))) == ["from 1", "later"]


def test_a_copy_that_was_stopped_goes_on_with_what_the_bill_was_about(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tokenmeter.ledger import copying

    path = machines.merged(2, name="stopped.db")
    monkeypatch.setattr(copying, "_PAGE", 5)

    def stop(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(copying, "merge_bills", stop)
    with pytest.raises(KeyboardInterrupt):
        merge([str(machines.paths[0])], str(path))
    monkeypatch.undo()
    merge([str(machines.paths[0])], str(path))
    assert billed(path) == machines.total
