"""Bills of every format against ledgers: planted differences are found, with their cause, and nothing else is."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.rigs import bills
from tests.rigs.bills import Export, Line, ledger_of, lines_of, metered
from tokenmeter.ledger.bills.bill_format import load_format
from tokenmeter.ledger.bills.reconcile import Reconciliation, reconcile
from tokenmeter.money import EXACT
from tokenmeter.prices.book import load_book
from tokenmeter.record import End, Record
from tokenmeter.usage import Usage


@dataclass(frozen=True)
class Vendor:
    """A format, and models of a provider to plant differences with. `changed` is a day of another price."""

    format: str
    provider: str
    model: str
    other: str
    alias: str
    first: str
    zone: str
    currency: str
    changed: str | None = None

    @property
    def export(self) -> Export:
        made: Export = getattr(bills, self.format)
        return made

    def day(self, number: int) -> str:
        return (datetime.fromisoformat(self.first) + timedelta(days=number)).date().isoformat()

    def at(self, number: int, hour: float) -> datetime:
        midnight = datetime.fromisoformat(self.day(number)).replace(tzinfo=ZoneInfo(self.zone))
        return (midnight + timedelta(hours=hour)).astimezone(UTC)

    def call(self, model: str, at: datetime, usage: Usage, **changes: object) -> Record:
        return metered(self.provider, model, at, usage, **changes)

    def lines(self, records: list[Record]) -> list[Line]:
        return lines_of(records, self.zone, by_call=self.format == "openrouter")

    def reconciled(self, path: Path, records: list[Record], lines: list[Line]) -> Reconciliation:
        ledger = ledger_of(path / "spend.db", records)
        bill = self.export(path / ("bill.zip" if self.format == "deepseek" else "bill"), lines, self.currency)
        form = load_format(self.format)
        (answer,) = reconcile(ledger, [str(bill)], form, provider=self.provider, book=load_book())
        assert answer.problems == []
        return answer


DEEPSEEK = Vendor(
    "deepseek", "deepseek", "deepseek-chat", "deepseek-reasoner", "deepseek-r1-house", "2025-10-02", "UTC", "CNY",
    "2025-09-20",
)  # fmt: skip
ALIYUN = Vendor(
    "aliyun", "alibaba", "qwen-vl-max", "qwen-vl-plus", "qwen-vl-plus-house", "2025-08-21", "Asia/Shanghai", "CNY",
    "2025-08-10",
)  # fmt: skip
VOLCENGINE = Vendor(
    "volcengine", "volcengine", "doubao-seed-1-6-flash", "deepseek-v3", "deepseek-v3-250324", "2025-10-20",
    "Asia/Shanghai", "CNY",
)  # fmt: skip
OPENAI = Vendor("openai", "openai", "gpt-4o", "gpt-4o-mini", "gpt-4o-mini-2024-07-18", "2026-10-01", "UTC", "USD")
ANTHROPIC = Vendor(
    "anthropic", "anthropic", "claude-opus-4-5", "claude-opus-4-1", "claude-opus-4-1-20250805", "2026-06-01", "UTC",
    "USD",
)  # fmt: skip
OPENROUTER = Vendor(
    "openrouter", "openrouter", "deepseek/deepseek-v3.2", "openai/gpt-4o-mini", "gpt-4o-mini-house", "2026-10-03",
    "UTC", "USD", "2026-09-29",
)  # fmt: skip
FOCUS = Vendor("focus", "openai", "gpt-4o", "gpt-4o-mini", "gpt-4o-mini-2024-07-18", "2026-10-01", "UTC", "USD")
VENDORS = [DEEPSEEK, ALIYUN, VOLCENGINE, OPENAI, ANTHROPIC, OPENROUTER, FOCUS]
DISCOUNTS = ("aliyun", "volcengine", "focus")


class Bill:
    """Calls of fourteen days, and the bill of them, into which differences are planted, one on each day."""

    def __init__(self, vendor: Vendor) -> None:
        self.vendor = vendor
        self.records = [
            vendor.call(
                vendor.model,
                vendor.at(day, 10 + hour),
                Usage(input_tokens=12_345 + day, cache_read_input_tokens=4_001 + hour, output_tokens=901 + day),
            )
            for day in range(14)
            for hour in range(3)
        ]
        self.lines = vendor.lines(self.records)

    def take(self, day: int, component: str) -> Line:
        """The first line of a day and a component, taken off the bill."""
        name = self.vendor.day(day)
        line = next(one for one in self.lines if one.day == name and one.component == component)
        self.lines.remove(line)
        return line

    def change(self, day: int, component: str, change: Callable[[Line], Line]) -> None:
        self.lines.append(change(self.take(day, component)))


def untracked(bill: Bill) -> None:
    if bill.vendor.format == "openrouter":
        call = bill.vendor.call(bill.vendor.model, bill.vendor.at(1, 9), Usage(input_tokens=5_000, output_tokens=300))
        bill.lines += bill.vendor.lines([call])
        return
    bill.change(1, "input", lambda line: line.of(line.quantity + 5_000))
    bill.change(1, "output", lambda line: line.of(line.quantity + 300))


def day_cut(bill: Bill) -> None:
    """The vendor bills a call of 23:59:57 on the next day."""
    usage = Usage(input_tokens=777, output_tokens=33)
    call = bill.vendor.call(bill.vendor.model, bill.vendor.at(2, 23.99917), usage)
    bill.records.append(call)
    later = call._replace(started_ns=call.started_ns + 10**10, ended_ns=call.ended_ns + 10**10)
    for line in bill.vendor.lines([later]):
        name = next((one for one in bill.lines if (one.day, one.component) == (line.day, line.component)), None)
        if name is None or bill.vendor.format == "openrouter":
            bill.lines.append(line)
        else:
            bill.lines[bill.lines.index(name)] = name.of(name.quantity + line.quantity)


def free_quota(bill: Bill) -> None:
    line = bill.take(4, "input")
    if bill.vendor.format == "deepseek":  # paid from the granted wallet
        bill.lines.append(replace(line, paid=Decimal(0)))
        bill.lines.append(replace(line, kind="granted"))
        return
    free = replace(line.priced(Decimal(0)).of(2_000), package="新人免费额度")
    bill.lines += [line.of(line.quantity - 2_000), free]


def promotion(bill: Bill) -> None:
    if bill.vendor.format in DISCOUNTS:
        fifth = Decimal("0.2")
        bill.change(
            5, "output", lambda line: replace(line, discount=line.amount * fifth, paid=line.amount * (1 - fifth))
        )
    else:
        parts = ("input", "cache_read", "output") if bill.vendor.format == "openrouter" else ("output",)
        for component in parts:  # the sum of a call is all that this bill says
            bill.change(5, component, lambda line: line.priced(line.price * Decimal("0.8")))


def cache_split(bill: Bill) -> None:
    cached = bill.take(6, "cache_read")
    bill.change(6, "input", lambda line: line.of(line.quantity + cached.quantity))


def own_meter(bill: Bill) -> None:
    if bill.vendor.format == "openrouter":
        line = bill.take(7, "output")
        bill.lines += [line.of(line.quantity - 100), replace(line.of(100), component="reasoning_output")]
        return
    line = bill.take(7, "output")
    searches = replace(line, component="web_search", price=Decimal("0.01")).of(3)
    bill.lines += [line, searches]


def rounding(bill: Bill) -> None:
    """One printed amount is rounded: of a line, or of the row of a day or a call where the bill has only those."""
    line = bill.take(8, "input")
    rest = [one for one in bill.lines if one.day == line.day and one.id == line.id]
    beside = sum_of(one.paid for one in rest) if bill.vendor.format in ("deepseek", "openrouter") else Decimal(0)
    places = Decimal("0.0001") if bill.vendor.format in ("volcengine", "anthropic") else Decimal("0.000001")
    amount = (line.amount + beside).quantize(places) - beside
    assert amount != line.amount
    whole = bill.vendor.format != "deepseek"  # amount-*.csv has prices, cost-*.csv what is paid
    bill.lines.append(replace(line, amount=amount if whole else line.amount, paid=amount))


def price_change(bill: Bill) -> None:
    vendor = bill.vendor
    assert vendor.changed is not None
    at = datetime.fromisoformat(vendor.changed).replace(hour=12, tzinfo=UTC)
    cost = load_book().price(
        Usage(input_tokens=1_000, output_tokens=1_000), provider=vendor.provider, model=vendor.model, at=at
    )
    before = {one.component: EXACT.divide(one.rate, Decimal(one.per)) for one in cost.charges}
    bill.change(9, "input", lambda line: line.priced(before["input"]))


def alias(bill: Bill) -> None:
    vendor = bill.vendor
    call = vendor.call(vendor.other, vendor.at(10, 9), Usage(input_tokens=3_001, output_tokens=57))
    bill.records.append(call)
    bill.lines += [replace(line, model=vendor.alias) for line in vendor.lines([call])]


def tax(bill: Bill) -> None:
    if bill.vendor.format == "focus":
        line = bill.take(11, "output")
        bill.lines += [line, replace(line, kind="tax", amount=Decimal(0), paid=Decimal("0.06"), quantity=Decimal(0))]
    else:
        bill.change(11, "output", lambda line: replace(line, paid=line.amount * Decimal("1.06")))


def failed(bill: Bill) -> None:
    vendor = bill.vendor
    usage = Usage(input_tokens=2_222, output_tokens=11)
    bill.records.append(vendor.call(vendor.model, vendor.at(12, 9), usage, end=End.CLOSED_EARLY))


PLANTS: dict[str, tuple[Callable[[Bill], None], int]] = {
    "untracked traffic": (untracked, 1),
    "day cut": (day_cut, 2),
    "free quota or package": (free_quota, 4),
    "promotion or contract": (promotion, 5),
    "cache split": (cache_split, 6),
    "own meter": (own_meter, 7),
    "rounding": (rounding, 8),
    "price change": (price_change, 9),
    "alias": (alias, 10),
    "tax": (tax, 11),
    "failed calls": (failed, 12),
}
NOT_SAID = {
    # What these exports have no way of saying.
    "deepseek": {"own meter", "tax"},
    "volcengine": {"own meter", "price change"},
    "openai": {"free quota or package", "price change", "tax"},
    "anthropic": {"free quota or package", "price change", "tax"},
    "openrouter": {"day cut", "free quota or package", "price change", "tax"},
    "focus": {"price change"},
}
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


def sum_of(numbers: object) -> Decimal:
    total = Decimal(0)
    for number in numbers:  # type: ignore[attr-defined]
        total = EXACT.add(total, number)
    return total


@pytest.mark.parametrize("vendor", VENDORS, ids=lambda one: one.format)
def test_a_bill_without_differences_gives_none(vendor: Vendor, tmp_path: Path) -> None:
    bill = Bill(vendor)
    answer = vendor.reconciled(tmp_path, bill.records, bill.lines)
    assert answer.differences == []
    assert answer.gap == 0
    assert answer.proposal is None


_numbers = itertools.count()
CALLS = st.lists(
    st.tuples(
        st.integers(0, 5),
        st.floats(0, 23.99),
        st.integers(0, 200_000),
        st.integers(0, 1),
        st.integers(0, 9_000),
        st.sampled_from(["model", "other"]),
    ),
    min_size=1,
    max_size=25,
)


@pytest.mark.parametrize("vendor", VENDORS, ids=lambda one: one.format)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=CALLS)
def test_the_bill_of_any_ledger_has_no_difference(
    vendor: Vendor, tmp_path: Path, calls: list[tuple[int, float, int, int, int, str]]
) -> None:
    records = [
        vendor.call(
            getattr(vendor, name),
            vendor.at(day, hour),
            Usage(input_tokens=tokens + 1, cache_read_input_tokens=cached * tokens // 3, output_tokens=output + 1),
        )
        for day, hour, tokens, cached, output, name in calls
    ]
    path = tmp_path / str(next(_numbers))
    path.mkdir()
    priced = [one for one in records if one.cost.status == "priced"]
    if priced:
        answer = vendor.reconciled(path, priced, vendor.lines(priced))
        assert answer.differences == []


@pytest.mark.parametrize("vendor", VENDORS, ids=lambda one: one.format)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=CALLS, data=st.data())
def test_the_causes_of_any_bill_sum_to_its_gap(
    vendor: Vendor, tmp_path: Path, calls: list[tuple[int, float, int, int, int, str]], data: st.DataObject
) -> None:
    """Lines dropped, doubled, at other prices, for other quantities, under other names: nothing is lost or doubled."""
    records = [
        vendor.call(
            getattr(vendor, name), vendor.at(day, hour), Usage(input_tokens=tokens + 1, output_tokens=output + 1)
        )
        for day, hour, tokens, _, output, name in calls
    ]
    priced = [one for one in records if one.cost.status == "priced"]
    lines = []
    for line in vendor.lines(priced):
        change = data.draw(st.sampled_from(["keep", "drop", "price", "more", "less", "name", "paid"]))
        if change == "price":
            line = line.priced(line.price * data.draw(st.sampled_from([Decimal(2), Decimal("0.7"), Decimal("0.123")])))
        elif change in ("more", "less"):
            line = line.of(line.quantity + 7 if change == "more" else (line.quantity + 1) // 2)
        elif change == "name":
            line = replace(line, model=data.draw(st.sampled_from(["unheard-of", vendor.alias, vendor.other])))
        elif change == "paid":
            line = replace(line, paid=line.paid + 1)
        if change != "drop":
            lines.append(line)
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
