"""The public FOCUS validator on exports of a ledger of several vendors; run by `make focus`, skipped without it."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.rigs.bills import ledger_of, metered
from tests.rigs.made_records import priced
from tests.rigs.planted_bills import ALIYUN, NOT_SAID, PLANTS, Bill
from tokenmeter.cli import main
from tokenmeter.ledger.bills.saved import save_bills
from tokenmeter.ledger.report.periods import Zone
from tokenmeter.ledger.report.query import Question, ask
from tokenmeter.money import EXACT
from tokenmeter.record import Record
from tokenmeter.usage import Source, Usage

validator = find_spec("focus_validator")  # importing it would write a log where we are
if validator is None or validator.origin is None:
    pytest.skip("the validator is not installed: make focus", allow_module_level=True)
parquet = pytest.importorskip("pyarrow.parquet")
PACKAGES = Path(validator.origin).parent.parent

CRITERIA = (
    "NEGOTIATED_PRICING_SUPPORTED", "PUBLIC_PRICE_LIST_SUPPORTED", "USAGE_MEASUREMENT_SUPPORTED",
    "UNIT_PRICING_SUPPORTED", "REGION_SUPPORTED", "TAGGING_SUPPORTED", "MULTIPLE_PRICING_CATEGORIES_SUPPORTED",
)  # fmt: skip
"""What the providers of a ledger support. An account's name, sub-accounts and commitments are not in a ledger."""
CHECKS = 578
PROVISIONAL, INVOICED = {"InvoiceId-C-005-C"}, {"InvoiceId-C-004-C"}
"""The two branches of an OR that the validator asks of all rows together: null in all, or in none. One always fails."""
AT = datetime(2026, 10, 30, 9, tzinfo=UTC)


def mixed() -> list[Record]:
    """Ten vendors over the end of a month: tiers, peak hours, caches, a plan, the vendor's figure, estimates, tags."""
    usage = Usage(input_tokens=12_345, cache_read_input_tokens=4_001, output_tokens=901)
    sold = [
        ("deepseek", "deepseek-chat"), ("alibaba", "qwen-plus"), ("alibaba", "qwen-max"), ("openai", "gpt-4o"),
        ("anthropic", "claude-opus-4-5"), ("volcengine", "doubao-seed-1-6-flash"), ("zhipu", "glm-4.6"),
        ("moonshot", "kimi-k2-0905-preview"), ("google", "gemini-2.5-pro"), ("openrouter", "openai/gpt-4o-mini"),
    ]  # fmt: skip
    made = [
        metered(
            provider, model, AT + timedelta(hours=7 * hour), usage, tags={"team": "搜索" if hour % 2 else "ads"},
            region="us-east-1" if hour % 3 == 0 else None,
        )
        for provider, model in sold
        for hour in range(9)
    ]  # fmt: skip
    long = Usage(input_tokens=300_000, output_tokens=5_000)
    guessed = Usage(input_tokens=100, output_tokens=50, source=Source.ESTIMATED, ranges={"input_tokens": (90, 130)})
    made += [
        metered("alibaba", "qwen-plus", AT, long),
        metered("google", "gemini-2.5-pro", AT, long),
        metered("deepseek", "deepseek-chat", AT, guessed),
        metered("zhipu", "glm-4.6", AT, usage, params={"plan": "glm-coding-lite"}),
        metered("zhipu", "glm-4-flash", AT, usage),
        metered("openai", "corp-unknown", AT, usage),
        metered("openrouter", "openai/gpt-4o-mini", AT, usage, pricer=lambda _: priced("0.00123456789", "USD")),
    ]
    return made


@pytest.fixture(scope="module")
def spend(tmp_path_factory: pytest.TempPathFactory) -> str:
    return ledger_of(tmp_path_factory.mktemp("focus") / "spend.db", mixed())


@pytest.fixture(scope="module")
def invoiced(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Decimal]:
    """A ledger whose only bill has every kind of difference: the file, and what the bill makes payable."""
    folder = tmp_path_factory.mktemp("bill")
    bill = Bill(ALIYUN)
    for cause, (plant, _) in PLANTS.items():
        if cause not in NOT_SAID.get(ALIYUN.format, ()):
            plant(bill)
    answer = ALIYUN.reconciled(folder, bill.records, bill.lines)
    save_bills(str(folder / "spend.db"), [answer], invoice="INV-2025-08")
    assert answer.paid is not None
    return str(folder / "spend.db"), answer.paid


def failures(export: Path) -> set[str]:
    """The rules that the validator finds broken. It opens its rules by a path relative to where packages are."""
    report = export.with_suffix(".xml")
    command = [
        str(Path(sys.executable).with_name("focus-validator")), "--data-file", str(export), "--block-download",
        "--validate-version", "1.2.0.1", "--applicability-criteria", ",".join(CRITERIA), "--output-type", "unittest",
        "--output-destination", str(report),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=PACKAGES, capture_output=True, text=True, check=False)
    assert report.exists(), done.stderr
    suites = ElementTree.parse(report).getroot()
    assert int(suites.attrib["tests"]) == CHECKS
    assert int(suites.attrib["errors"]) == 0
    return {str(one.get("name")) for one in suites.iter("failure")}


def exported(ledger: str, target: Path, *flags: str) -> Path:
    assert main(["report", ledger, "--format", "focus", "--focus", "1.2", "--output", str(target), *flags]) == 0
    return target


def sums(export: Path, column: str) -> dict[str, Decimal]:
    table = parquet.read_table(export).to_pylist()
    found: dict[str, Decimal] = defaultdict(Decimal)
    for row in table:
        found[row["BillingCurrency"]] = EXACT.add(found[row["BillingCurrency"]], row[column])
    return dict(found)


@pytest.mark.parametrize("flags", [(), ("--charge-period", "hour"), ("--focus-tags", "team")], ids=" ".join)
def test_a_ledger_of_several_vendors(spend: str, flags: tuple[str, ...], tmp_path: Path) -> None:
    export = exported(spend, tmp_path / "focus.parquet", *flags)
    assert failures(export) == PROVISIONAL
    totals = ask(spend, Question(by=(), zone=Zone.named("UTC"))).totals
    assert sums(export, "ContractedCost") == {
        row.currency: row.cost for row in totals if row.currency is not None and row.cost is not None
    }


def test_a_ledger_with_its_bill(invoiced: tuple[str, Decimal], tmp_path: Path) -> None:
    ledger, paid = invoiced
    export = exported(ledger, tmp_path / "focus.parquet")
    assert failures(export) == INVOICED
    assert sums(export, "BilledCost") == {"CNY": paid}
    categories = {row["ChargeCategory"] for row in parquet.read_table(export).to_pylist()}
    assert categories == {"Usage", "Tax", "Credit", "Adjustment"}
