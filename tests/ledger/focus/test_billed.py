"""FOCUS rows of days that a bill was reconciled with: what is billed adds up to the bill, usage to the ledger."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.rigs import bills
from tests.rigs.bills import ledger_of, lines_of
from tests.rigs.planted_bills import (
    ALIYUN,
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
from tokenmeter.ledger.bills.reconcile import Reconciliation, reconcile
from tokenmeter.ledger.bills.saved import save_bills
from tokenmeter.ledger.focus.charges import FocusExport, export
from tokenmeter.ledger.focus.row import FocusRow
from tokenmeter.ledger.report.periods import Zone
from tokenmeter.ledger.report.query import Question
from tokenmeter.ledger.report.where import parse
from tokenmeter.prices.book import load_book
from tokenmeter.usage import Usage

ALL = Question(by=(), zone=Zone.named("UTC"))
_numbers = itertools.count()


def total(rows: Iterable[FocusRow], name: str) -> Decimal:
    return sum_of(value for row in rows if isinstance(value := row[name], Decimal))


def usage(found: FocusExport) -> list[FocusRow]:
    return [row for row in found if row["ChargeCategory"] == "Usage"]


def billed(answer: Reconciliation) -> Decimal:
    money = answer.cost if answer.paid is None else answer.paid
    assert money is not None
    return money


def saved(folder: Path, vendor: Vendor, bill: Bill, *causes: str) -> tuple[str, Reconciliation]:
    for cause in causes:
        PLANTS[cause][0](bill)
    answer = vendor.reconciled(folder, bill.records, bill.lines)
    save_bills(str(folder / "spend.db"), [answer], invoice="INV-7")
    return str(folder / "spend.db"), answer


@pytest.mark.parametrize("vendor", VENDORS, ids=lambda one: one.format)
def test_what_is_billed_is_the_bill_and_what_was_used_is_the_ledger(vendor: Vendor, tmp_path: Path) -> None:
    causes = [one for one in PLANTS if one not in NOT_SAID.get(vendor.format, ())]
    path, answer = saved(tmp_path, vendor, Bill(vendor), *causes)
    found = export(path, ALL)
    assert total(found, "BilledCost") == billed(answer)
    assert total(usage(found), "ContractedCost") == total(usage(found), "ListCost") == answer.metered
    assert {row["InvoiceId"] for row in found} == {"INV-7"}
    shown = {row["x_Cause"] for row in found if row["ChargeCategory"] != "Usage"}
    charged = {cause for cause, money in answer.causes().items() if money}
    packaged = {"free quota or package"} if any(row["x_CoveredBy"] for row in usage(found)) else set()
    assert shown == charged - packaged


@pytest.mark.parametrize("vendor", VENDORS, ids=lambda one: one.format)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=CALLS, data=st.data())
def test_any_bill_is_billed_to_the_digit(
    vendor: Vendor, tmp_path: Path, calls: list[CallDrawn], data: st.DataObject
) -> None:
    priced = called(vendor, calls)
    lines = changed(vendor, vendor.lines(priced), data)
    if lines:
        path = tmp_path / str(next(_numbers))
        path.mkdir()
        answer = vendor.reconciled(path, priced, lines)
        save_bills(str(path / "spend.db"), [answer])
        found = export(str(path / "spend.db"), ALL)
        inside = [row for row in found if row["x_Bill"] is not None]
        assert total(inside, "BilledCost") == billed(answer)
        assert total(usage(found), "ContractedCost") == sum_of(
            one.cost.amount for one in priced if one.cost.amount is not None
        )


def test_a_package_pays_before_cash_for_the_first_calls_of_the_day(tmp_path: Path) -> None:
    path, _ = saved(tmp_path, ALIYUN, Bill(ALIYUN), "free quota or package")
    day = ALIYUN.at(4, 0)
    free, paid = sorted(
        (row for row in usage(export(path, ALL)) if row["SkuMeter"] == "input" and row["ChargePeriodStart"] == day),
        key=lambda row: str(row["x_CoveredBy"] is None),
    )
    names = ("ConsumedQuantity", "ListCost", "ContractedCost", "EffectiveCost", "BilledCost")
    assert [str(free[name]) for name in names] == ["2000", "0.0032000", "0.0032000", "0", "0"]
    assert (free["x_CoveredBy"], free["x_Calls"]) == ("the bill names 新人免费额度", 1)
    assert paid["ConsumedQuantity"] == 3 * 12_349 - 3 * 4_001 - 3 - 2_000  # three calls, 4,001 to 4,003 of each cached
    assert paid["BilledCost"] == paid["ListCost"]


def test_tax_and_credits_are_rows_of_their_own(tmp_path: Path) -> None:
    path, answer = saved(tmp_path, ALIYUN, Bill(ALIYUN), "tax", "promotion or contract")
    rows = {str(row["ChargeCategory"]): row for row in export(path, ALL) if row["ChargeCategory"] != "Usage"}
    assert {name: row["BilledCost"] for name, row in rows.items()} == {
        "Tax": answer.causes()["tax"], "Credit": answer.causes()["promotion or contract"],
    }  # fmt: skip
    for row in rows.values():
        assert row["ListCost"] == row["ContractedCost"] == row["EffectiveCost"] == row["BilledCost"]
        assert {row.get(name) for name in ("SkuId", "ListUnitPrice", "PricingQuantity", "ConsumedQuantity")} == {None}
    assert rows["Tax"]["x_Evidence"] == "column 税额, line bill:42"
    assert (rows["Tax"]["ChargePeriodStart"], rows["Credit"]["ChargePeriodStart"]) == (
        ALIYUN.at(11, 0),
        ALIYUN.at(5, 0),
    )


CONTRACT = """\
provider = "alibaba"
contract = true
[[discount]]
models = ["qwen-vl-max"]
multiply = {FACTORS}
from = 2025-08-01
note = "contract"
"""


@pytest.mark.parametrize("share", [{"input": "0.8", "cache_read": "0.8", "output": "0.8"}, {"output": "0.7"}])
def test_a_contract_that_the_bill_keeps_is_no_difference(share: dict[str, str], tmp_path: Path) -> None:
    """The account pays a share of the list, says so in a price file, and the bill has the list and the discount."""
    factors = ", ".join(f"{name} = {factor}" for name, factor in share.items())
    (tmp_path / "contract.toml").write_text(CONTRACT.replace("FACTORS", f" {factors} "))
    book = load_book().with_overlay(tmp_path / "contract.toml")
    at = ALIYUN.at(3, 9)
    used = Usage(input_tokens=12_000, cache_read_input_tokens=4_000, output_tokens=900)
    listed = ALIYUN.call(ALIYUN.model, at, used)
    paying = ALIYUN.call(
        ALIYUN.model, at, used, pricer=lambda one: book.price(one.usage, provider="alibaba", model=ALIYUN.model, at=at)
    )
    path = ledger_of(tmp_path / "spend.db", [paying])
    lines = [
        replace(one, discount=one.amount * (1 - factor), paid=one.amount * factor)
        for one in lines_of([listed], ALIYUN.zone)
        for factor in [Decimal(share.get(one.component, "1"))]
    ]
    bill = bills.aliyun(tmp_path / "bill", lines)
    (answer,) = reconcile(path, [str(bill)], load_format("aliyun"), provider="alibaba", book=book)
    assert set(answer.causes()) == {"promotion or contract"}
    assert {one.component for one in answer.differences} == set(share)
    assert answer.metered == answer.cost == listed.cost.amount
    save_bills(path, [answer], invoice="INV-7")
    found = export(path, ALL)
    assert {row["ChargeCategory"] for row in found} == {"Usage"}
    assert total(found, "ListCost") == listed.cost.amount
    assert total(found, "ContractedCost") == total(found, "BilledCost") == paying.cost.amount == answer.paid


def test_calls_of_a_plan_are_used_and_not_billed(tmp_path: Path) -> None:
    used = Usage(input_tokens=1_000_000, output_tokens=100_000)
    plan, own = (DEEPSEEK.call("deepseek-chat", DEEPSEEK.at(day, 9), used) for day in (1, 2))
    plan = DEEPSEEK.call("deepseek-chat", DEEPSEEK.at(1, 9), used, params={"plan": "house-plan"})
    path = ledger_of(tmp_path / "spend.db", [plan, own])
    provisional = export(path, ALL)
    assert total(provisional, "ListCost") == total(provisional, "ContractedCost") == Decimal("4.6")
    assert total(provisional, "BilledCost") == total(provisional, "EffectiveCost") == Decimal("2.3")
    bill = bills.deepseek(tmp_path / "bill.zip", DEEPSEEK.lines([own]))
    (answer,) = reconcile(path, [str(bill)], load_format("deepseek"), provider="deepseek", book=load_book())
    assert answer.differences == []  # the bill begins on the second day
    lines = DEEPSEEK.lines([DEEPSEEK.call("deepseek-chat", DEEPSEEK.at(0, 9), used), own])
    bill = bills.deepseek(tmp_path / "bill.zip", lines)
    (answer,) = reconcile(path, [str(bill)], load_format("deepseek"), provider="deepseek", book=load_book())
    causes = {one.cause: one for one in answer.differences}
    assert set(causes) == {"free quota or package", "untracked traffic"}
    assert "house-plan" in causes["free quota or package"].evidence
    save_bills(path, [answer])
    found = export(path, ALL)
    assert total(found, "BilledCost") == answer.paid == Decimal("4.6")
    assert total(usage(found), "BilledCost") == Decimal("2.3")
    assert [row["x_Cause"] for row in found if row["ChargeCategory"] != "Usage"] == ["untracked traffic"]


def test_days_that_are_cut_and_selections_by_tag_stay_provisional(tmp_path: Path) -> None:
    path, _ = saved(tmp_path, DEEPSEEK, Bill(DEEPSEEK), "price change", "untracked traffic")
    since = datetime.fromisoformat(f"{DEEPSEEK.day(5)}T11:00:00").replace(tzinfo=UTC)
    found = export(path, Question(by=(), zone=Zone.named("UTC"), since=since))
    invoiced = {row["x_Bill"] is not None for row in found if row["ChargePeriodStart"] == DEEPSEEK.at(4, 16)}
    assert invoiced == {False}  # the fifth day in UTC is cut; its noon is in the provider's day that began at 16:00
    assert [row["x_Cause"] for row in found if row["ChargeCategory"] != "Usage"] == ["price change"]
    some = export(path, Question(by=(), zone=Zone.named("UTC"), where=parse("cost > 0")))
    assert {row.get("InvoiceId") for row in some} == {None}
    assert {row["ChargeCategory"] for row in some} == {"Usage"}
