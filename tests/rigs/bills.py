"""Ledgers of real costs, and bills of the same calls as vendors would write them, for planting differences.

A bill is made from the costs of the records, not from the ledger: price, quantity and amount of each component by day.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from tests.rigs.made_records import nanoseconds
from tokenmeter.ledger.writer import Ledger
from tokenmeter.money import EXACT, plain
from tokenmeter.prices.book import Book, load_book
from tokenmeter.record import End, Record
from tokenmeter.usage import Usage

_ids = itertools.count()


def metered(
    provider: str,
    model: str,
    at: datetime,
    usage: Usage,
    *,
    currency: str | None = None,
    book: Book | None = None,
    **changes: Any,
) -> Record:
    """A call that ended at an instant, priced by the shipped book or another."""
    priced_by = book or load_book()
    params = dict(changes.pop("params", {}))
    listed = {"currency": currency} if currency else {}
    end_ns = nanoseconds(at)
    number = next(_ids)
    fields: dict[str, Any] = {
        "id": f"call-{number}", "provider": provider, "otel_provider": provider, "api": "openai.chat",
        "operation": "chat", "request_model": model, "response_model": None, "started_ns": end_ns - 2 * 10**9,
        "ended_ns": end_ns, "end": End.COMPLETE, "usage": usage, "response_id": f"gen-{number}", "params": params,
        "pricer": lambda one: priced_by.price(
            one.usage, provider=provider, model=model, at=at, params={**params, **listed}
        ),
    }  # fmt: skip
    return Record(**(fields | changes))


def ledger_of(path: Path, records: Iterable[Record]) -> str:
    """A ledger file that holds these records, written by the product's own class."""
    ledger = Ledger(path)
    for one in records:
        ledger.write(one)
    ledger.close(30)
    return str(path)


@dataclass(frozen=True)
class Line:
    """One line of a bill before it is written in a vendor's form."""

    day: str
    model: str
    component: str
    quantity: Decimal
    price: Decimal
    amount: Decimal
    paid: Decimal
    kind: str = "usage"
    id: str = ""
    package: str = ""
    discount: Decimal = Decimal(0)
    requests: int = 0

    def priced(self, price: Decimal) -> Line:
        """The line at another price."""
        amount = EXACT.multiply(price, self.quantity)
        return replace(self, price=price, amount=amount, paid=amount)

    def of(self, quantity: Decimal | int) -> Line:
        """The line for another quantity."""
        amount = EXACT.multiply(self.price, Decimal(quantity))
        return replace(self, quantity=Decimal(quantity), amount=amount, paid=amount)


def lines_of(records: Iterable[Record], zone: str, *, by_call: bool = False) -> list[Line]:
    """What the vendor would bill for records: a line per day, model, component and price (and call)."""
    sums: dict[tuple[str, str, str, Decimal, str], Decimal] = {}
    for one in records:
        day = f"{datetime.fromtimestamp(one.ended_ns / 1e9, UTC).astimezone(ZoneInfo(zone)):%Y-%m-%d}"
        cost = one.cost
        assert cost.status == "priced", cost.reason
        for charge in cost.charges:
            price = EXACT.divide(charge.rate, Decimal(charge.per))
            key = (day, cost.model or "", charge.component, price, one.response_id or "" if by_call else "")
            sums[key] = sums.get(key, Decimal(0)) + charge.quantity
    found = []
    for (day, model, component, price, call), quantity in sorted(sums.items()):
        amount = EXACT.multiply(price, quantity)
        found.append(Line(day, model, component, quantity, price, amount, amount, id=call))
    return found


def _csv(header: list[str], rows: Iterable[list[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


_DEEPSEEK = {
    "input": "input_cache_miss_tokens", "cache_read": "input_cache_hit_tokens", "output": "output_tokens",
    "requests": "request_count",
}  # fmt: skip


def _by_day(lines: Iterable[Line]) -> dict[tuple[str, str], list[Line]]:
    groups: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        groups.setdefault((line.day, line.model), []).append(line)
    return groups


def _total(lines: Iterable[Line], what: str) -> Decimal:
    total = Decimal(0)
    for line in lines:
        total = EXACT.add(total, getattr(line, what))
    return total


def deepseek(path: Path, lines: list[Line], currency: str = "CNY", *, new: bool = False) -> Path:
    """The console's archive, in the old or the new schema, with a byte order mark and exponents."""
    day_columns = ["start_time_iso", "end_time_iso"] if new else ["utc_date"]

    def days(day: str) -> list[object]:
        if not new:
            return [day.replace("-", "")]
        following = (datetime.fromisoformat(day) + timedelta(days=1)).date().isoformat()
        return [f"{day}T00:00:00+00:00", f"{following}T00:00:00+00:00"]

    amount = _csv(
        ["user_id", *day_columns, "model", "api_key_name", "api_key", "type", "price", "amount"],
        (
            [
                "u1", *days(line.day), line.model, "prod", "sk-12***", _DEEPSEEK[line.component],
                "" if line.component == "requests" else f"{line.price.normalize():e}", plain(line.quantity),
            ]
            for line in lines if line.kind == "usage"
        ),
    )  # fmt: skip
    cost_rows: list[list[object]] = []
    for (day, model), some in _by_day(lines).items():
        for wallet in ("Paid", "Granted"):
            part = [line for line in some if (line.kind == "granted") == (wallet == "Granted")]
            money = _total(part, "paid")
            if money:
                cost_rows.append(["u1", *days(day), model, wallet, plain(money), currency])
    cost = _csv(["user_id", *day_columns, "model", "wallet_type", "cost", "currency"], cost_rows)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("amount-2025-9.csv", "\ufeff" + amount)
        archive.writestr("cost-2025-9.csv", "\ufeff" + cost)
    return path


_ALIYUN = {"input": "输入tokens", "cache_read": "缓存命中tokens", "output": "输出tokens", "web_search": "联网搜索"}


def aliyun(path: Path, lines: list[Line], currency: str = "CNY") -> Path:
    """consumedetailbillv2.csv in GBK, quantities by the thousand."""
    rows: list[list[object]] = []
    for line in lines:
        calls = line.component == "web_search"
        thousand = Decimal(1) if calls else Decimal(1000)
        before = EXACT.divide(line.quantity, thousand)
        rows.append([
            f"{line.day} 10:00:00", f"key1;ws1;{line.model};chat", _ALIYUN[line.component],
            "0" if line.package else plain(before), plain(before), line.package, "次" if calls else "千tokens",
            plain(EXACT.multiply(line.price, thousand)), "元/次" if calls else "元/千tokens",
            plain(line.amount), plain(line.discount), plain(line.paid - (line.amount - line.discount)),
            plain(line.paid), currency,
        ])  # fmt: skip
    header = [
        "消费时间", "实例ID", "计费项", "用量", "抵扣前用量", "资源包抵扣详情", "用量单位", "官网目录单价", "单价单位",
        "官网目录价", "优惠金额", "税额", "应付金额（含税）", "币种",
    ]  # fmt: skip
    path.write_bytes(_csv(header, rows).encode("gb18030"))
    return path


def _lot(line: Line) -> Decimal:
    return Decimal(1) if line.component == "web_search" else Decimal(1000)


def _unit(line: Line) -> str:
    return "次" if line.component == "web_search" else "千tokens"


def volcengine(path: Path, lines: list[Line], currency: str = "CNY") -> Path:
    """ListBillDetail as CSV: thousands of tokens, with separators."""
    names = {"input": "推理输入", "cache_read": "缓存命中", "output": "推理输出", "web_search": "联网搜索"}
    rows: list[list[object]] = [
        [
            line.day, line.model, names[line.component], f"{EXACT.divide(line.quantity, _lot(line)):,f}",
            _unit(line), plain(EXACT.multiply(line.price, _lot(line))), f"元/{_unit(line)}", plain(line.amount),
            plain(line.discount), plain(line.paid - (line.amount - line.discount)), plain(line.paid), currency,
            line.package,
        ]
        for line in lines
    ]  # fmt: skip
    header = [
        "ExpenseDate", "ConfigName", "Element", "Count", "Unit", "Price", "PriceUnit", "OriginalBillAmount",
        "PreferentialBillAmount", "Tax", "PayableAmount", "Currency", "DeductionName",
    ]  # fmt: skip
    path.write_text(_csv(header, rows), encoding="utf-8")
    return path


def _seconds(day: str) -> int:
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp())


def openai(path: Path, lines: list[Line], currency: str = "USD") -> Path:
    """A folder with a page of usage and a page of costs."""
    path.mkdir()
    usage, costs = [], []
    names = {"input": "input", "cache_read": "cached input", "output": "output", "web_search": "web search tool calls"}
    for (day, model), some in _by_day(lines).items():
        tokens = {name: sum(int(one.quantity) for one in some if one.component == name) for name in names}
        if tokens["input"] or tokens["output"] or tokens["cache_read"]:
            result = {
                "object": "organization.usage.completions.result", "model": model, "batch": None,
                "input_tokens": tokens["input"] + tokens["cache_read"], "input_cached_tokens": tokens["cache_read"],
                "output_tokens": tokens["output"],
                "num_model_requests": sum(one.requests for one in some),
            }  # fmt: skip
            usage.append({"object": "bucket", "start_time": _seconds(day), "results": [result]})
        for component in sorted({one.component for one in some}):
            money = _total((one for one in some if one.component == component), "amount")
            cost = {"line_item": f"{model}, {names[component]}", "amount": {"value": money, "currency": "usd"}}
            costs.append({"object": "bucket", "start_time": _seconds(day), "results": [cost]})
    for name, buckets in (("usage", usage), ("costs", costs)):
        text = json.dumps({"object": "page", "has_more": False, "data": buckets}, default=_number)
        (path / f"{name}.json").write_text(text.replace('"#', "").replace('#"', ""))
    return path


def _number(value: Decimal) -> str:
    return f"#{plain(value)}#"


_ANTHROPIC = {
    "input": "uncached_input_tokens", "cache_read": "cache_read_input_tokens", "output": "output_tokens",
    "cache_write_5m": "cache_creation.ephemeral_5m_input_tokens",
    "cache_write_1h": "cache_creation.ephemeral_1h_input_tokens",
}  # fmt: skip


def anthropic(path: Path, lines: list[Line], currency: str = "USD") -> Path:
    """A folder with a usage report and a cost report in cents."""
    path.mkdir()
    usage, costs = [], []
    for (day, model), some in _by_day(lines).items():
        tokens: dict[str, int] = {}
        for one in some:
            tokens[one.component] = tokens.get(one.component, 0) + int(one.quantity)
        result = {
            "model": model, "service_tier": "standard",
            "uncached_input_tokens": tokens.get("input", 0), "cache_read_input_tokens": tokens.get("cache_read", 0),
            "cache_creation": {
                "ephemeral_5m_input_tokens": tokens.get("cache_write_5m", 0),
                "ephemeral_1h_input_tokens": tokens.get("cache_write_1h", 0),
            },
            "output_tokens": tokens.get("output", 0),
            "server_tool_use": {"web_search_requests": tokens.get("web_search", 0)},
        }  # fmt: skip
        usage.append({"starting_at": f"{day}T00:00:00Z", "results": [result]})
        for component in sorted({one.component for one in some}):
            cents = _total((one for one in some if one.component == component), "amount") * 100
            cost = {
                "amount": plain(cents), "currency": currency, "model": model, "service_tier": "standard",
                "token_type": _ANTHROPIC.get(component), "description": "Web Search Usage",
            }  # fmt: skip
            costs.append({"starting_at": f"{day}T00:00:00Z", "results": [cost]})
    (path / "usage.json").write_text(json.dumps({"data": usage, "has_more": False}))
    (path / "cost.json").write_text(json.dumps({"data": costs, "has_more": False}))
    return path


def openrouter(path: Path, lines: list[Line], currency: str = "USD") -> Path:
    """The activity CSV: a row per call."""
    calls: dict[tuple[str, str, str], list[Line]] = {}
    for line in lines:
        calls.setdefault((line.day, line.model, line.id), []).append(line)
    rows: list[list[object]] = []
    for (day, model, call), some in calls.items():
        tokens = {one.component: int(one.quantity) for one in some}
        cached, reasoning = tokens.get("cache_read", 0), tokens.get("reasoning_output", 0)
        rows.append([
            call, f"{day} 10:00:00", model, tokens.get("input", 0) + cached, tokens.get("output", 0) + reasoning,
            reasoning, cached, plain(_total(some, "amount")),
        ])  # fmt: skip
    header = [
        "generation_id", "created_at", "model_permaslug", "tokens_prompt", "tokens_completion", "tokens_reasoning",
        "tokens_cached", "cost_total",
    ]  # fmt: skip
    path.write_text(_csv(header, rows), encoding="utf-8")
    return path


def focus(path: Path, lines: list[Line], currency: str = "USD") -> Path:
    """A FOCUS 1.2 export: a row per SKU and day, tax and credits as rows of their own."""
    rows: list[list[object]] = []
    for line in lines:
        usage = line.kind == "usage"
        contracted = line.amount - line.discount
        free = bool(line.package)
        rows.append([
            f"{line.day}T00:00:00Z", {"usage": "Usage", "tax": "Tax", "credit": "Credit"}[line.kind],
            f"{line.model}-{line.component.replace('_', '-')}-tokens" if usage else "",
            f"x/{line.model}/{line.component}",
            plain(line.quantity) if usage else "", "Tokens", plain(EXACT.multiply(line.price, Decimal(10**6))),
            "1000000 Tokens", plain(line.amount if usage else Decimal(0)),
            plain(contracted if usage else Decimal(0)), plain(Decimal(0) if free or not usage else contracted),
            plain(line.paid), currency, line.package,
        ])  # fmt: skip
    header = [
        "ChargePeriodStart", "ChargeCategory", "SkuMeter", "SkuId", "ConsumedQuantity", "ConsumedUnit",
        "ListUnitPrice", "PricingUnit", "ListCost", "ContractedCost", "EffectiveCost", "BilledCost", "BillingCurrency",
        "CommitmentDiscountName",
    ]  # fmt: skip
    path.write_text(_csv(header, rows), encoding="utf-8")
    return path


_CHINESE = {"input": "输入", "cache_read": "缓存命中", "output": "输出", "web_search": "联网搜索"}


def tencent(path: Path, lines: list[Line], currency: str = "CNY") -> Path:
    """Pages of DescribeBillDetail: components inside details, amounts as strings, tags beside them."""
    details = []
    for (day, model), some in _by_day(lines).items():
        components = [
            {
                "ComponentCodeName": "推理", "ItemCodeName": f"{model}-{_CHINESE[line.component]}",
                "SinglePrice": plain(EXACT.multiply(line.price, _lot(line))), "PriceUnit": f"元/{_unit(line)}",
                "UsedAmount": "0" if line.package else plain(EXACT.divide(line.quantity, _lot(line))),
                "RealTotalMeasure": plain(EXACT.divide(line.quantity, _lot(line))), "UsedAmountUnit": _unit(line),
                "Cost": plain(line.amount), "RealCost": plain(line.amount - line.discount),
                "VoucherPayAmount": "0", "IncentivePayAmount": "0",
                "TaxAmount": plain(line.paid - (line.amount - line.discount)),
            }
            for line in some
        ]  # fmt: skip
        details.append({
            "BusinessCodeName": "大模型", "FeeBeginTime": f"{day} 00:00:00", "FeeEndTime": f"{day} 23:59:59",
            "ComponentSet": components, "Tags": [{"TagKey": "team", "TagValue": "a"}],
        })  # fmt: skip
    path.write_text(json.dumps({"Response": {"DetailSet": details, "Total": len(details)}}, ensure_ascii=False))
    return path


def baidu(path: Path, lines: list[Line], currency: str = "CNY") -> Path:
    """Charge items as GetResourceChargeItemBillList answers them; the whole usage, and how much was deducted."""
    rows = [
        {
            "vendor": "百度智能云", "serviceType": "QIANFAN", "startTime": f"{line.day} 00:00:00",
            "chargeItemDesc": f"{line.model}-{_CHINESE[line.component]}",
            "amount": plain(EXACT.divide(line.quantity, _lot(line))), "amountUnit": _unit(line),
            "discountAmount": plain(EXACT.divide(line.quantity, _lot(line))) if line.package else "0",
            "unitPrice": plain(EXACT.multiply(line.price, _lot(line))), "pricingUnit": f"元/{_unit(line)}",
            "catalogPrice": plain(line.amount), "originPrice": plain(line.amount - line.discount),
            "couponPrice": "0", "financePrice": plain(line.paid),
        }
        for line in lines
    ]  # fmt: skip
    path.write_text(json.dumps({"billMonth": "2025-11", "bills": rows}, ensure_ascii=False))
    return path


_GEMINI = {
    "input": "Generate content input token count {} text", "output": "Generate content output token count {} text",
    "cache_read": "Generate content cached input token count {} text", "web_search": "Grounding with Google Search {}",
}  # fmt: skip


def google(path: Path, lines: list[Line], currency: str = "USD") -> Path:
    """Rows of the detailed usage cost export as JSON Lines: labels and credits are lists, tax is a row of its own."""
    rows = []
    for line in lines:
        usage = line.kind == "usage"
        cost = line.amount - line.discount
        free = EXACT.subtract(line.paid, cost)
        rows.append({
            "service": {"description": "Gemini API"},
            "sku": {"description": _GEMINI[line.component].format(line.model.replace("-", " ")) if usage else "Tax"},
            "usage_start_time": f"{line.day} 07:00:00 UTC", "usage_end_time": f"{line.day} 08:00:00 UTC",
            "labels": [{"key": "team", "value": "a"}], "cost_type": "regular" if usage else line.kind,
            "cost": _number(cost if usage else line.paid), "cost_at_list": _number(line.amount if usage else line.paid),
            "currency": currency, "usage": {"amount": _number(line.quantity), "unit": "count"} if usage else {},
            "credits": [
                {"name": "Free tier", "type": "FREE_TIER", "amount": _number(part)}
                for part in (free / 2, free / 2) if usage and free
            ],
        })  # fmt: skip
    text = "\n".join(json.dumps(row) for row in rows)
    path.write_text(text.replace('"#', "").replace('#"', ""))
    return path


Export = Callable[[Path, list[Line], str], Path]
