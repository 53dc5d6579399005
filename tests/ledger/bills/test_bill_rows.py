"""Rows of a bill as lines: what each format says, and rows that cannot be read."""

from __future__ import annotations

import json
from datetime import UTC, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest

from tokenmeter.ledger.bills.bill_files import open_bill
from tokenmeter.ledger.bills.bill_format import load_format
from tokenmeter.ledger.bills.bill_lines import BillReading, read_lines

HEAD = "user_id,utc_date,model,api_key_name,api_key,type,price,amount\n"
NEW = "user_id,start_time_iso,end_time_iso,model,api_key_name,api_key,type,price,amount\n"


def read(tmp_path: Path, text: str, form: str = "deepseek", *, fixed: bool = False) -> BillReading:
    (tmp_path / "bill.csv").write_text(text, encoding="utf-8")
    tables, problems, _ = open_bill([str(tmp_path / "bill.csv")])
    assert problems == []
    return read_lines(tables, load_format(form), UTC, fixed=fixed)


def test_two_prices_for_one_type_in_a_day_and_a_negative_refund(tmp_path: Path) -> None:
    rows = [
        "u,20260902,deepseek-chat,k,sk,output_tokens,2.8e-6,1000",
        "u,20260902,deepseek-chat,k,sk,output_tokens,0.0000014,500",
        "u,20260902,deepseek-chat,k,sk,output_tokens,2.8e-6,-100",
        "u,20260902,deepseek-chat,k,sk,request_count,,12",
    ]
    reading = read(tmp_path, HEAD + "\n".join(rows))
    assert reading.problems == []
    assert [(one.component, one.quantity, one.price, one.amount) for one in reading.lines] == [
        ("output", 1000, Decimal("0.0000028"), Decimal("0.0028")),
        ("output", 500, Decimal("0.0000014"), Decimal("0.0007")),
        ("output", -100, Decimal("0.0000028"), Decimal("-0.00028")),
        ("requests", 12, None, None),
    ]


@pytest.mark.parametrize(
    ("row", "field", "message"),
    [
        ("u,2026-99-02,m,k,sk,output_tokens,1e-6,1", "day", "'2026-99-02' is not a day of the calendar"),
        ("u,,m,k,sk,output_tokens,1e-6,1", "day", "is empty"),
        ("u,20260902,m,k,sk,output_tokens,dear,1", "price", "'dear' is not a number"),
        ("u,20260902,m,k,sk,output_tokens,1e-6,1.000,5", "", ""),
        ("u,20260902,m,k,sk,magic_tokens,1e-6,1", "type", "'magic_tokens' is no component that format deepseek knows"),
    ],
)
def test_a_row_that_cannot_be_read_is_named_and_the_others_go_on(
    row: str, field: str, message: str, tmp_path: Path
) -> None:
    reading = read(tmp_path, f"{HEAD}{row}\nu,20260902,m,k,sk,output_tokens,1e-6,7\n")
    assert reading.lines[-1].quantity == 7
    if field:
        (problem,) = reading.problems
        assert (problem.file, problem.line, problem.field) == ("bill.csv", 2, field)
        assert message in problem.message


def test_the_offset_of_the_rows_is_the_clock_unless_one_is_named(tmp_path: Path) -> None:
    row = "u,2026-11-01T00:00:00{0},2026-11-02T00:00:00{0},m,k,sk,output_tokens,1e-6,1\n"
    reading = read(tmp_path, NEW + row.format("+03:00") + row.format("+02:00"))
    assert reading.zone == timezone(timedelta(hours=3))
    assert [one.day for one in reading.lines] == ["2026-11-01"]
    (problem,) = reading.problems
    assert "name it with --tz" in problem.message
    fixed = read(tmp_path, NEW + row.format("+03:00") + row.format("+02:00"), fixed=True)
    assert [one.day for one in fixed.lines] == ["2026-10-31", "2026-10-31"]


def test_a_package_is_a_line_of_its_own_with_the_quantity_before_deduction(tmp_path: Path) -> None:
    head = "消费时间,实例ID,计费项,用量,抵扣前用量,资源包抵扣详情,用量单位,官网目录价,应付金额（含税）\n"
    text = head + "2026-11-01 08:00,k;w;qwen-plus;chat,输入tokens,1.5,4,新人包,千tokens,0.0012,0.0012\n"
    free, paid = read(tmp_path, text, "aliyun").lines
    assert (free.model, free.component, free.quantity, free.price, free.amount) == ("qwen-plus", "input", 2500, 0, 0)
    assert free.package == "新人包"
    assert (paid.quantity, paid.amount, paid.paid) == (1500, Decimal("0.0012"), Decimal("0.0012"))


def test_aws_usage_types_name_model_and_component(tmp_path: Path) -> None:
    head = "ChargePeriodStart,ChargeCategory,x_UsageType,ConsumedQuantity,ConsumedUnit,ListCost,BilledCost,"
    head += "BillingCurrency\n"
    kinds = ("input-tokens", "cache-read-input-token-count", "cache-write-input-token-count", "output-tokens")
    rows = "".join(f"2026-11-01T00:00:00Z,Usage,USE1-Claude4Sonnet-{kind},2,1K tokens,1,1,USD\n" for kind in kinds)
    reading = read(tmp_path, head + rows, "focus")
    assert {one.model for one in reading.lines} == {"Claude4Sonnet"}
    assert [one.component for one in reading.lines] == ["input", "cache_read", "cache_write", "output"]
    assert {one.quantity for one in reading.lines} == {2000}


def test_parts_above_their_total_are_refused(tmp_path: Path) -> None:
    head = "generation_id,created_at,model,tokens_prompt,tokens_completion,tokens_cached,cost_total\n"
    reading = read(tmp_path, head + "g1,2026-11-01,m,10,5,11,0.1\n", "openrouter")
    (problem,) = reading.problems
    assert (problem.field, problem.message) == ("input", "10 is less than the cache_read inside it")


@pytest.mark.parametrize(
    ("sku", "model", "component"),
    [
        ("Generate content input token count gemini 3.6 flash text", "gemini-3.6-flash", "input"),
        ("Generate content cached input token count gemini 3.6 flash text", "gemini-3.6-flash", "cache_read"),
        ("Generate content output token count gemini 2.5 flash short input text", "gemini-2.5-flash", "output"),
        ("Generate content input token count Gemini 2.5 Pro long input text", "Gemini-2.5-Pro", "input"),
        (
            "Generate content input token count gemini 3.1 flash lite preview text",
            "gemini-3.1-flash-lite-preview",
            "input",
        ),
        ("Generate content input token count gemini 3.7 flash image flex caching", "gemini-3.7-flash", "cache_read"),
        ("Generate content input token count gemini 3.7 flash image flex", "gemini-3.7-flash", "image_input"),
        ("Generate content input token count gemini 2.5 flash lite audio", "gemini-2.5-flash-lite", "audio_input"),
        ("Gemini 3.1 Flash Image Text Output - Predictions", "Gemini-3.1-Flash-Image", "output"),
        ("Grounding with Google Search", None, "web_search"),
    ],
)
def test_gemini_skus_name_model_and_component(sku: str, model: str | None, component: str, tmp_path: Path) -> None:
    head = "usage_start_time,sku.description,usage.amount,usage.unit,cost,currency\n"
    (line,) = read(tmp_path, f"{head}2026-11-01 07:00:00 UTC,{sku},1000,count,0.5,USD\n", "google").lines
    assert (line.day, line.model, line.component) == ("2026-11-01", model, component)


def test_credits_of_a_row_are_added_up_by_their_type(tmp_path: Path) -> None:
    row = {
        "usage_start_time": "2026-11-01 07:00:00 UTC", "cost": "1.5", "currency": "EUR",
        "sku": {"description": "Generate content input token count gemini 3.6 flash text"},
        "usage": {"amount": "1000000", "unit": "count"}, "labels": [{"key": "team", "value": "search"}],
        "credits": [
            {"name": "a", "type": "PROMOTION", "amount": "-0.25"}, {"name": "b", "type": "PROMOTION", "amount": -0.25},
            {"name": "c", "type": "FREE_TIER", "amount": "-1e-1"},
        ],
    }  # fmt: skip
    (line,) = read(tmp_path, json.dumps(row), "google").lines
    assert (line.amount, line.paid) == (Decimal("1.5"), Decimal("0.9"))
    assert [(cause, money) for cause, money, _ in line.adjust] == [
        ("free quota or package", Decimal("-0.1")), ("promotion or contract", Decimal("-0.5")),
    ]  # fmt: skip


def test_what_a_package_deducted_is_taken_off_the_usage(tmp_path: Path) -> None:
    row = {
        "startTime": "2026-11-01 00:00:00", "chargeItemDesc": "ernie-4.5-turbo-128k-输入", "amount": "4",
        "discountAmount": "2.5", "amountUnit": "千tokens", "catalogPrice": "0.0012", "financePrice": "0.0012",
    }  # fmt: skip
    free, paid = read(tmp_path, json.dumps({"bills": [row]}), "baidu").lines
    assert (free.model, free.component, free.quantity, free.amount) == ("ernie-4.5-turbo-128k", "input", 2500, 0)
    assert (paid.quantity, paid.paid) == (1500, Decimal("0.0012"))


def test_a_voucher_and_free_credit_lower_what_is_payable(tmp_path: Path) -> None:
    head = "使用开始时间,组件名称,组件用量,组件用量单位,组件原价,优惠后总价,优惠券支出,赠送金支出\n"
    (line,) = read(
        tmp_path, f"{head}2026-11-01 00:00:00,hunyuan-t1-输出,3,千tokens,0.03,0.02,0.005,0.001\n", "tencent"
    ).lines
    assert (line.model, line.component, line.quantity) == ("hunyuan-t1", "output", 3000)
    assert (line.amount, line.paid) == (Decimal("0.03"), Decimal("0.014"))
    assert sum(money for _, money, _ in line.adjust) == Decimal("-0.016")
