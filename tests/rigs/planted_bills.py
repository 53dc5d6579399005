"""Bills of every format with planted differences: one cause on each day, and the ledgers they are compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from tests.rigs import bills
from tests.rigs.bills import Export, Line, ledger_of, lines_of, metered
from tokenmeter.ledger.bills.bill_format import load_format
from tokenmeter.ledger.bills.reconcile import Reconciliation, reconcile
from tokenmeter.money import EXACT
from tokenmeter.prices.book import load_book
from tokenmeter.record import End, Record
from tokenmeter.usage import Usage

CallDrawn = tuple[int, float, int, int, int, str]
"""Day, hour, input, thirds of it that are cached, output, and which of the vendor's two models."""


def _house(provider: str, day: str) -> dict[str, object]:
    """A price file with a model whose price fell on a day."""
    rates = [
        {"model": "house-model", "effective": date.fromisoformat(at), "input": price, "output": 8, "source": "contract"}
        for at, price in (("2024-01-01", Decimal("4.6912")), (day, Decimal("2.3456")))
    ]
    return {"provider": provider, "rate": [{**one, "confidence": "official"} for one in rates]}


BOOK = load_book().with_overlay(_house("volcengine", "2025-10-10"), _house("tencent", "2026-09-15"))
"""The shipped book, with models of the user's own where no price of the vendor changed."""


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
    changing: str | None = None
    """The model with another price on that day, where it is none of the two."""

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
        return metered(self.provider, model, at, usage, book=BOOK, **changes)

    def lines(self, records: list[Record]) -> list[Line]:
        return lines_of(records, self.zone, by_call=self.format == "openrouter")

    def reconciled(self, path: Path, records: list[Record], lines: list[Line]) -> Reconciliation:
        ledger = ledger_of(path / "spend.db", records)
        bill = self.export(path / ("bill.zip" if self.format == "deepseek" else "bill"), lines, self.currency)
        form = load_format(self.format)
        (answer,) = reconcile(ledger, [str(bill)], form, provider=self.provider, book=BOOK)
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
    "Asia/Shanghai", "CNY", "2025-10-01", "house-model",
)  # fmt: skip
OPENAI = Vendor(
    "openai", "openai", "o3", "gpt-4o-mini", "gpt-4o-mini-2024-07-18", "2025-06-14", "UTC", "USD", "2025-06-01"
)
ANTHROPIC = Vendor(
    "anthropic", "anthropic", "claude-3-5-haiku-20241022", "claude-3-5-sonnet-20241022", "claude-3.5-sonnet-latest",
    "2024-12-12", "UTC", "USD", "2024-12-01",
)  # fmt: skip
OPENROUTER = Vendor(
    "openrouter", "openrouter", "deepseek/deepseek-v3.2", "openai/gpt-4o-mini", "gpt-4o-mini-house", "2026-10-03",
    "UTC", "USD", "2026-09-29",
)  # fmt: skip
FOCUS = Vendor(
    "focus", "openai", "o3", "gpt-4o-mini", "gpt-4o-mini-2024-07-18", "2025-06-14", "UTC", "USD", "2025-06-01"
)
BAIDU = Vendor(
    "baidu", "baidu", "ernie-4.5-turbo-128k", "ernie-4.5-turbo-32k", "ernie-4.5-turbo-32k-house", "2025-11-20",
    "Asia/Shanghai", "CNY", "2025-11-10", "deepseek-r1",
)  # fmt: skip
TENCENT = Vendor(
    "tencent", "tencent", "deepseek-v4-flash", "glm-5", "glm-5-house", "2026-09-20", "Asia/Shanghai", "CNY",
    "2026-09-10", "house-model",
)  # fmt: skip
GOOGLE = Vendor(
    "google", "google", "gemini-3.6-flash", "gemini-2.5-pro", "gemini-9.9-pro", "2026-08-24", "UTC", "USD",
    "2026-08-10",
)  # fmt: skip
VENDORS = [DEEPSEEK, ALIYUN, VOLCENGINE, OPENAI, ANTHROPIC, OPENROUTER, FOCUS, BAIDU, TENCENT, GOOGLE]
DISCOUNTS = ("aliyun", "volcengine", "focus", "baidu", "tencent", "google")
TAX_LINES = ("focus", "google")


def sum_of(numbers: Iterable[Decimal]) -> Decimal:
    """The exact sum."""
    total = Decimal(0)
    for number in numbers:
        total = EXACT.add(total, number)
    return total


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

    def take(self, day: int, component: str, model: str | None = None) -> Line:
        """The first line of a day and a component (and a model), taken off the bill."""
        name = self.vendor.day(day)
        line = next(
            one for one in self.lines if one.day == name and one.component == component and model in (None, one.model)
        )
        self.lines.remove(line)
        return line

    def change(self, day: int, component: str, change: Callable[[Line], Line], model: str | None = None) -> None:
        self.lines.append(change(self.take(day, component, model)))


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
    if bill.vendor.format == "google":  # a credit beside the cost
        bill.lines.append(replace(line, paid=Decimal(0)))
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
    model = None
    if bill.vendor.format == "tencent":  # eight decimals, which no amount at its list prices needs
        model = bill.vendor.changing or ""
        call = bill.vendor.call(model, bill.vendor.at(8, 9), Usage(input_tokens=7_001, output_tokens=70))
        bill.records.append(call)
        bill.lines += bill.vendor.lines([call])
    line = bill.take(8, "input", model)
    rest = [one for one in bill.lines if one.day == line.day and one.id == line.id]
    beside = sum_of(one.paid for one in rest) if bill.vendor.format in ("deepseek", "openrouter") else Decimal(0)
    places = {"volcengine": 4, "anthropic": 4, "openai": 5, "focus": 5, "tencent": 8}.get(bill.vendor.format, 6)
    amount = (line.amount + beside).quantize(Decimal(1).scaleb(-places)) - beside
    assert amount != line.amount
    whole = bill.vendor.format != "deepseek"  # amount-*.csv has prices, cost-*.csv what is paid
    bill.lines.append(replace(line, amount=amount if whole else line.amount, paid=amount))


def price_change(bill: Bill) -> None:
    vendor = bill.vendor
    assert vendor.changed is not None
    at = datetime.fromisoformat(vendor.changed).replace(hour=12, tzinfo=UTC)
    model = vendor.changing or vendor.model
    cost = BOOK.price(Usage(input_tokens=1_000, output_tokens=1_000), provider=vendor.provider, model=model, at=at)
    before = {one.component: EXACT.divide(one.rate, Decimal(one.per)) for one in cost.charges}
    if vendor.changing is not None:
        call = vendor.call(model, vendor.at(9, 9), Usage(input_tokens=7_000, output_tokens=70))
        bill.records.append(call)
        bill.lines += vendor.lines([call])
    bill.change(9, "input", lambda line: line.priced(before["input"]), model)


def alias(bill: Bill) -> None:
    vendor = bill.vendor
    call = vendor.call(vendor.other, vendor.at(10, 9), Usage(input_tokens=3_001, output_tokens=57))
    bill.records.append(call)
    bill.lines += [replace(line, model=vendor.alias) for line in vendor.lines([call])]


def tax(bill: Bill) -> None:
    if bill.vendor.format in TAX_LINES:
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
    "openai": {"free quota or package", "tax"},
    "anthropic": {"free quota or package", "tax"},
    "openrouter": {"day cut", "free quota or package", "price change", "tax"},
    "baidu": {"tax"},
}

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


def called(vendor: Vendor, calls: list[CallDrawn]) -> list[Record]:
    """The calls that the book has a price for."""
    records = [
        vendor.call(
            getattr(vendor, name),
            vendor.at(day, hour),
            Usage(input_tokens=tokens + 1, cache_read_input_tokens=cached * tokens // 3, output_tokens=output + 1),
        )
        for day, hour, tokens, cached, output, name in calls
    ]
    return [one for one in records if one.cost.status == "priced"]


def changed(vendor: Vendor, made: list[Line], data: st.DataObject) -> list[Line]:
    """Lines dropped, at other prices, for other quantities, under other names, payable otherwise."""
    lines = []
    for line in made:
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
    return lines
