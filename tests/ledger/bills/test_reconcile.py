"""Bills of every format against ledgers: planted differences are found, with their cause, and nothing else is."""

from __future__ import annotations

import itertools
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.rigs import bills
from tests.rigs.bills import ledger_of
from tests.rigs.planted_bills import (
    CALLS,
    DEEPSEEK,
    NOT_SAID,
    PLANTS,
    VENDORS,
    Bill,
    CallDrawn,
    Vendor,
    called,
    changed,
    sum_of,
)  # fmt: skip
from tokenmeter.ledger.bills.bill_format import load_format
from tokenmeter.ledger.bills.reconcile import reconcile
from tokenmeter.prices.book import load_book
from tokenmeter.record import End
from tokenmeter.usage import Usage

CASES = [
    pytest.param(vendor, (cause,), id=f"{vendor.format}-{cause}")
    for vendor in VENDORS
    for cause in PLANTS
    if cause not in NOT_SAID.get(vendor.format, ())
]
ALL = [
    pytest.param(vendor, tuple(one for one in PLANTS if one not in NOT_SAID.get(vendor.format, ())), id=vendor.format)
    for vendor in VENDORS
]


@pytest.mark.parametrize(("vendor", "causes"), [*CASES, *ALL])
def test_planted_differences_are_found_and_no_other(vendor: Vendor, causes: tuple[str, ...], tmp_path: Path) -> None:
    bill = Bill(vendor)
    for cause in causes:
        PLANTS[cause][0](bill)
    answer = vendor.reconciled(tmp_path, bill.records, bill.lines)
    found = sorted({(one.cause, one.day) for one in answer.differences})
    assert found == sorted((cause, vendor.day(PLANTS[cause][1])) for cause in causes), answer.differences
    assert sum_of(answer.causes().values()) == answer.gap
    tokens: dict[str, Decimal] = {}
    for one in answer.differences:
        for component, quantity in one.tokens.items():
            tokens[component] = tokens.get(component, Decimal(0)) + quantity
    gaps = {name: theirs - ours for name, (ours, theirs) in answer.usage.items() if theirs != ours}
    assert {name: one for name, one in tokens.items() if one} == gaps
    assert all(one.evidence for one in answer.differences)


@pytest.mark.parametrize("vendor", VENDORS, ids=lambda one: one.format)
def test_a_bill_without_differences_gives_none(vendor: Vendor, tmp_path: Path) -> None:
    bill = Bill(vendor)
    answer = vendor.reconciled(tmp_path, bill.records, bill.lines)
    assert answer.differences == []
    assert answer.gap == 0
    assert answer.proposal is None


_numbers = itertools.count()


@pytest.mark.parametrize("vendor", VENDORS, ids=lambda one: one.format)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=CALLS)
def test_the_bill_of_any_ledger_has_no_difference(vendor: Vendor, tmp_path: Path, calls: list[CallDrawn]) -> None:
    path = tmp_path / str(next(_numbers))
    path.mkdir()
    priced = called(vendor, calls)
    if priced:
        answer = vendor.reconciled(path, priced, vendor.lines(priced))
        assert answer.differences == []


@pytest.mark.parametrize("vendor", VENDORS, ids=lambda one: one.format)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=CALLS, data=st.data())
def test_the_causes_of_any_bill_sum_to_its_gap(
    vendor: Vendor, tmp_path: Path, calls: list[CallDrawn], data: st.DataObject
) -> None:
    """Lines dropped, doubled, at other prices, for other quantities, under other names: nothing is lost or doubled."""
    priced = called(vendor, calls)
    lines = changed(vendor, vendor.lines(priced), data)
    if not lines:
        return
    path = tmp_path / str(next(_numbers))
    path.mkdir()
    answer = vendor.reconciled(path, priced, lines)
    assert sum_of(answer.causes().values()) == answer.gap
    for name, (ours, theirs) in answer.usage.items():
        assert sum_of(one.tokens.get(name, Decimal(0)) for one in answer.differences) == theirs - ours


def test_a_contract_is_proposed_as_rates_that_price_the_same_calls_as_the_bill(tmp_path: Path) -> None:
    bill = Bill(DEEPSEEK)
    for day in (5, 6, 8):
        bill.change(day, "output", lambda line: line.priced(line.price * Decimal("0.8")))
    answer = DEEPSEEK.reconciled(tmp_path, bill.records, bill.lines)
    assert {one.cause for one in answer.differences} == {"promotion or contract"}
    assert answer.proposal is not None
    assert answer.proposal.count("[[discount]]") == 2  # two runs of days
    overlay = tmp_path / "contract.toml"
    overlay.write_text(answer.proposal)
    book = load_book().with_overlay(overlay)
    usage = Usage(input_tokens=1_000_000, output_tokens=1_000_000)
    outputs = {}
    for day in (4, 5, 6, 7, 8, 9):
        cost = book.price(usage, provider="deepseek", model="deepseek-chat", at=DEEPSEEK.at(day, 12))
        outputs[day] = [one.rate for one in cost.charges if one.component == "output"]
    listed, contract = [Decimal(3)], [Decimal("2.4")]
    assert outputs == {4: listed, 5: contract, 6: contract, 7: listed, 8: contract, 9: listed}


def test_calls_in_flight_at_midnight_that_the_vendor_counts_by_their_start(tmp_path: Path) -> None:
    bill = Bill(DEEPSEEK)
    late = DEEPSEEK.call("deepseek-chat", DEEPSEEK.at(3, 0.0002), Usage(input_tokens=640, output_tokens=3))
    bill.records.append(late)
    for line in DEEPSEEK.lines([late]):
        bill.change(2, line.component, lambda one, line=line: one.of(one.quantity + line.quantity))  # type: ignore[misc]
    (found,) = DEEPSEEK.reconciled(tmp_path, bill.records, bill.lines).differences
    assert (found.cause, found.count, found.cost) == ("day cut", 1, 0)
    assert "the earlier day" in found.evidence


def test_lines_that_are_not_on_the_bill_yet(tmp_path: Path) -> None:
    bill = Bill(DEEPSEEK)
    late = DEEPSEEK.call("deepseek-chat", DEEPSEEK.at(13, 23.9), Usage(input_tokens=640, output_tokens=3))
    bill.records.append(late)
    answer = DEEPSEEK.reconciled(tmp_path, bill.records, bill.lines)
    (found,) = answer.differences
    assert found.cause == "day cut"
    assert "outside this bill" in found.evidence
    assert late.cost.amount is not None
    assert found.cost == answer.gap == -late.cost.amount


def test_failed_calls_without_a_usage_that_the_vendor_billed_for_input(tmp_path: Path) -> None:
    bill = Bill(DEEPSEEK)
    bill.records.append(DEEPSEEK.call("deepseek-chat", DEEPSEEK.at(3, 4), Usage(), end=End.ERROR))
    bill.change(3, "input", lambda line: line.of(line.quantity + 512))
    (found,) = DEEPSEEK.reconciled(tmp_path, bill.records, bill.lines).differences
    assert (found.cause, found.tokens) == ("failed calls", {"input": 512})


def test_what_has_no_evidence_is_unexplained(tmp_path: Path) -> None:
    bill = Bill(DEEPSEEK)
    bill.change(3, "output", lambda line: line.of(line.quantity - 100))
    bill.change(9, "output", lambda line: line.of(line.quantity + 100))
    answer = DEEPSEEK.reconciled(tmp_path, bill.records, bill.lines)
    assert [(one.cause, one.day) for one in answer.differences] == [
        ("unexplained", DEEPSEEK.day(3)),
        ("unexplained", DEEPSEEK.day(9)),
    ]
    assert answer.gap == 0


def test_the_new_deepseek_schema_has_the_account_s_clock(tmp_path: Path) -> None:
    bill = Bill(DEEPSEEK)
    ledger = ledger_of(tmp_path / "spend.db", bill.records)
    path = bills.deepseek(tmp_path / "bill.zip", bill.lines, new=True)
    (answer,) = reconcile(ledger, [str(path)], load_format("deepseek"), provider="deepseek", book=load_book())
    assert answer.differences == []
    assert answer.zone == "UTC"


def test_a_file_that_is_given_twice_counts_once(tmp_path: Path) -> None:
    bill = Bill(DEEPSEEK)
    ledger = ledger_of(tmp_path / "spend.db", bill.records)
    path = str(bills.deepseek(tmp_path / "bill.zip", bill.lines))
    (answer,) = reconcile(ledger, [path, path], load_format("deepseek"), provider="deepseek", book=load_book())
    assert answer.differences == []
    assert len(answer.notes) == 2


def test_prices_that_are_no_share_of_the_list_are_proposed_as_a_rate(tmp_path: Path) -> None:
    bill = Bill(DEEPSEEK)
    bill.change(5, "output", lambda line: line.priced(Decimal("0.00000187351")))
    answer = DEEPSEEK.reconciled(tmp_path, bill.records, bill.lines)
    assert [one.cause for one in answer.differences] == ["promotion or contract"]
    overlay = tmp_path / "contract.toml"
    overlay.write_text(answer.proposal or "")
    usage = Usage(input_tokens=1_000_000, cache_read_input_tokens=0, output_tokens=1_000_000)
    book = load_book().with_overlay(overlay)
    cost = book.price(usage, provider="deepseek", model="deepseek-chat", at=DEEPSEEK.at(5, 12))
    assert {one.component: one.rate for one in cost.charges} == {"input": 2, "output": Decimal("1.87351")}


def test_a_contract_that_the_price_file_has_is_not_proposed_again(tmp_path: Path) -> None:
    bill = Bill(DEEPSEEK)
    bill.change(5, "output", lambda line: line.priced(line.price * Decimal("0.8")))
    proposal = DEEPSEEK.reconciled(tmp_path, bill.records, bill.lines).proposal
    assert proposal is not None
    (tmp_path / "contract.toml").write_text(proposal)
    book = load_book().with_overlay(tmp_path / "contract.toml")
    files = [str(tmp_path / "bill.zip")]
    (again,) = reconcile(str(tmp_path / "spend.db"), files, load_format("deepseek"), provider="deepseek", book=book)
    (found,) = again.differences
    assert found.cause == "promotion or contract"
    assert found.evidence.endswith("(0.8 of it), as your price file has it")
    assert again.proposal is None
