"""The page: its figures are those of the report to the digit, and no name of a ledger is ever markup."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from tests.ledger.page.conftest import text
from tests.rigs import spend_story
from tests.rigs.made_records import NOON, priced, record, unpriced
from tests.rigs.page_tables import Page
from tokenmeter.cli import main
from tokenmeter.cost import Cost
from tokenmeter.ledger.page.document import POLICY
from tokenmeter.offers import Offer
from tokenmeter.usage import Source, Usage

HOSTILE = (
    "<script>document.title='owned'</script>",
    '"><img src=x onerror=alert(1)>',
    "</style></title><svg/onload=alert(1)>",
    "&lt;b&gt; ]]> --> <!--",
    "\x1b[31mred\x1b]0;owned\x07\x00\r\n",
    "\u202egpj.exe\u2066",
    "half \ud800 surrogate \udfff",
    "javascript:alert(1)",
    "x" * 5000,
    "' onmouseover='alert(1)",
    "{currency} {0} %s",
)


def report(path: str, by: str, capsys: pytest.CaptureFixture[str], *flags: str) -> Any:
    assert main(["report", path, "--tz", "Asia/Shanghai", "--by", by, "--json", *flags]) == 0
    return json.loads(capsys.readouterr().out)


def by_currency(answer: Any, currency: str, *keys: str) -> dict[Any, Any]:
    found = {}
    for row in answer["rows"]:
        if row["currency"] == currency:
            group = tuple(row["group"][key] for key in keys)
            found[group[0] if len(keys) == 1 else group] = row
    return found


@pytest.mark.parametrize("currency", ["CNY", "USD"])
@pytest.mark.parametrize("key", ["model", "team"])
def test_every_cell_over_time_is_the_reports(
    key: str, currency: str, month: str, month_page: Page, capsys: pytest.CaptureFixture[str]
) -> None:
    table = month_page.table(f"{currency} per day by {key}")
    cells = by_currency(report(month, f"day,{key}", capsys), currency, "day", key)
    names = table.heads[2:]
    assert len(cells) > 60
    for (day, name), row in cells.items():
        assert table.column(2 + names.index(name))[day] == row["cost"]
    days = by_currency(report(month, "day", capsys), currency, "day")
    sums = by_currency(report(month, key, capsys), currency, key)
    total = next(row["cost"] for row in report(month, key, capsys)["totals"] if row["currency"] == currency)
    assert table.column(1) == {day: row["cost"] for day, row in days.items()} | {"Total": total}
    foot = table.rows[-1]
    assert [cell.exact for cell in foot[2:]] == [sums[name]["cost"] for name in names]
    assert sorted(names, key=lambda name: -Decimal(sums[name]["cost"])) == names


def test_totals_sources_and_unpriced_are_the_reports(
    month: str, month_page: Page, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = report(month, "source", capsys)
    said = " ".join(month_page.texts)
    for total in answer["totals"]:
        if total["currency"] is None:
            assert f"{total['calls']}  calls" in said
            continue
        assert f"exactly {total['cost']} · {total['calls']:,} calls" in said
        found = month_page.table("Where the numbers come from", total["currency"]).column(2)
        expected = {source: row["cost"] for source, row in total["sources"].items()}
        assert {name.strip(): cost for name, cost in found.items()} == expected
    reasons = report(month, "model,reason", capsys, "--where", "status = unpriced")["rows"]
    rows = month_page.table("Unpriced calls").rows[1:]
    assert {(row[0].text.split()[0], row[1].text, int(row[2].text)) for row in rows} == {
        (row["group"]["model"], row["group"]["reason"], row["calls"]) for row in reasons
    }


@pytest.mark.parametrize("currency", ["CNY", "USD"])
def test_cache_latency_users_and_runs_are_the_reports(
    currency: str, month: str, month_page: Page, capsys: pytest.CaptureFixture[str]
) -> None:
    stats = "p50,p95,p50:duration,p95:duration,sum:cache_saved"
    models = by_currency(report(month, "model", capsys, "--stat", stats), currency, "model")
    cache = month_page.table("What the cache saved", currency)
    assert cache.column(2) == {name: row["cost"] for name, row in models.items() if name in cache.column(2)}
    assert cache.column(3) == {name: row["stats"]["cache_saved_sum"] for name, row in models.items()}
    latency = month_page.table("Latency against cost", currency)
    for column, label in ((1, "cost_p50"), (2, "cost_p95")):
        assert latency.column(column) == {name: row["stats"][label] for name, row in models.items()}
    users = by_currency(report(month, "user", capsys), currency, "user")
    shown = month_page.table("Dearest by user", currency).column(2)
    named = {name: cost for name, cost in shown.items() if name in users}
    assert len(named) == 7
    assert named == {name: users[name]["cost"] for name in named}
    assert sum(Decimal(cost or 0) for cost in shown.values()) == sum(Decimal(row["cost"]) for row in users.values())
    traces = by_currency(report(month, "trace", capsys, "--top", "8"), currency, "trace")
    runs = month_page.table("Dearest runs", currency).rows[1:]
    assert {row[2].text: row[4].exact for row in runs} == {name: row["cost"] for name, row in traces.items()}


def test_the_budgets_are_those_of_the_report(month: str, capsys: pytest.CaptureFixture[str]) -> None:
    days = by_currency(report(month, "day", capsys, "--tag", "team=search"), "CNY", "day")
    table = Page(text(month)).table("Budget search-day")
    assert table.column(1) == {day: row["cost"] for day, row in days.items()}


def test_components_are_the_charges_and_add_up_to_the_total(
    month: str, month_page: Page, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", month, "--format", "focus", "--focus-tags", ""]) == 0
    charges: dict[tuple[str, str], Decimal] = {}
    for row in csv.DictReader(io.StringIO(capsys.readouterr().out)):
        key = row["BillingCurrency"], row["SkuMeter"]
        charges[key] = charges.get(key, Decimal(0)) + Decimal(row["BilledCost"])
    for currency in ("CNY", "USD"):
        found = month_page.table("What was paid for", currency).column(2)
        assert {name: Decimal(cost or 0) for name, cost in found.items()} == {
            component: cost for (one, component), cost in charges.items() if one == currency
        }
        assert list(found)[:2] == ["input", "cache_read"]


def test_a_cost_without_charges_is_said_to_be_one(ledger_of: Callable[..., str]) -> None:
    lump = Cost(Offer(provider="p", model="m", list="CNY"), "priced", Decimal("2.5"), (), NOON, source="vendor")
    found = Page(text(ledger_of(record(lump), record(priced("1"))))).table("What was paid for").column(2)
    assert found == {"input": "1", "charged as a sum": "2.5"}


def test_the_change_is_the_reports(month: str, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--since", "2026-08-16", "--until", "2026-09", "--compare", "previous")
    answer = report(month, "model", capsys, *flags)
    since, until = (datetime.fromisoformat(answer["comparison"][name]) for name in ("since", "until"))
    asked = {name: datetime.fromisoformat(answer[name]) for name in ("since", "until")}
    page = Page(text(month, earlier=(since, until), **asked))
    for causes in answer["comparison"]["causes"]:
        table = page.table(f"Change {causes['currency']}")
        order = ("volume", "price", "cache", "mix", "change")
        assert list(table.column(2).values()) == [causes[name] for name in order]
        rows = by_currency(answer, causes["currency"], "model")
        models = page.table("Change Model", causes["currency"])
        assert models.column(4) == {name: row["change"] for name, row in rows.items()}
        assert models.column(2) == {name: row["previous"]["cost"] for name, row in rows.items()}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_nothing_is_loaded_or_run(language: str, month: str) -> None:
    drawn = text(month, language)
    page = Page(drawn)
    names = {name for name, _ in page.elements}
    assert not names & {"script", "link", "img", "iframe", "object", "embed", "base", "form", "a", "image", "use"}
    assert not any(key.startswith("on") or key in ("src", "href") for _, found in page.elements for key in found)
    metas = [found for name, found in page.elements if name == "meta"]
    assert {"http-equiv": "Content-Security-Policy", "content": POLICY} in metas
    assert not re.search(r"url\(|@import|https?://", drawn)
    assert page.elements[0] == ("html", {"lang": "zh-CN" if language == "zh" else "en"})


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_chart_has_a_table_and_every_table_its_scopes(language: str, month: str) -> None:
    page = Page(text(month, language))
    charts = [found for name, found in page.elements if name == "svg" and found.get("role") == "img"]
    assert len(charts) >= 6
    assert all(found["aria-label"] for found in charts)
    inside = [name for name, _ in page.elements]
    assert inside.count("details") == inside.count("summary") >= len(charts)
    captions = [table.caption for table in page.tables]
    assert all(caption.strip() for caption in captions)
    assert len(set(captions)) == len(captions)
    for table in page.tables:
        assert all(cell.scope == "col" for cell in table.rows[0])
        assert all(row[0].head and row[0].scope == "row" for row in table.rows[1:])


def test_the_languages_say_the_same(month: str) -> None:
    english, chinese = Page(text(month, "en")), Page(text(month, "zh"))
    assert [name for name, _ in english.elements] == [name for name, _ in chinese.elements]
    exact = [[cell.exact for row in table.rows for cell in row] for table in english.tables]
    assert exact == [[cell.exact for row in table.rows for cell in row] for table in chinese.tables]


def test_a_price_change_is_marked_where_it_falls(month_page: Page) -> None:
    (mark,) = [found for _, found in month_page.elements if found.get("class") == "mark"]
    assert mark["style"] == f"left:{100 * 16 / 31:.1f}%"  # 17 August begins after sixteen days
    said = " ".join(month_page.texts)
    assert "2026-08-17 00:00: deepseek-chat · input 1 → 1.5–3, cache_read 0.02 → 0.05–0.1, output 2 → 4.5–9" in said


def test_hostile_names_are_text(ledger_of: Callable[..., str]) -> None:
    plain = [priced("1"), priced("2", "USD"), unpriced("no price")]
    harmless = Page(text(ledger_of(*(_call(cost, "name") for cost in plain))))
    for number, name in enumerate(HOSTILE):
        path = ledger_of(*(_call(cost, name) for cost in (priced("1", model=name), plain[1], unpriced(name))))
        drawn = text(path, "en" if number % 2 else "zh")
        page = Page(drawn)
        assert [tag for tag, _ in page.elements if tag not in ("g", "path")] == [
            tag for tag, _ in harmless.elements if tag not in ("g", "path")
        ], name
        assert all(one.isprintable() or one == "\n" for one in drawn), name
        assert len(drawn) < 80_000
        drawn.encode()


def _call(cost: Any, name: str) -> Any:
    tags = {"team": name, name[:50]: name}
    return record(cost, tags=tags, scope=(name,), trace_id="0" * 32, budget_window={name: name}, request_model=name)


def test_a_month_of_six_models_is_small(tmp_path: Any) -> None:
    six = [one for one in spend_story.records(200) if one.provider not in ("openai", "anthropic", "google", "local")]
    path = spend_story.write(tmp_path / "six.db", iter(six))
    assert len(text(path).encode()) < 75_000
    assert len(text(path, keys=("model",)).encode()) < 60_000


def test_calls_without_any_price_or_usage(ledger_of: Callable[..., str]) -> None:
    page = Page(text(ledger_of(record(unpriced("why"), usage=Usage(source=Source.NONE)))))
    assert "1  calls" in " ".join(page.texts)
    assert page.table("Unpriced").rows[1][1].text == "why"


def test_free_calls_are_free(ledger_of: Callable[..., str]) -> None:
    page = Page(text(ledger_of(record(priced("0")))))
    assert "exactly 0 · 1 calls" in page.texts


def test_prices_to_be_looked_at_again_are_said(ledger_of: Callable[..., str]) -> None:
    page = Page(text(ledger_of(record(priced("1", confidence="single-source")), record(priced("3")))))
    assert "25.0% by prices of a single source" in page.texts


def test_a_ledger_without_matching_calls_says_so(ledger_of: Callable[..., str]) -> None:
    path = ledger_of(record(priced("1")))
    said = " ".join(Page(text(path, models=("nobody",))).texts)
    assert "No call matches. The ledger holds 1 calls" in said
    assert "filter: model = nobody" in said


def test_amounts_of_any_size(ledger_of: Callable[..., str]) -> None:
    amounts = ("0.000000000000000000000000000001", "9300000.000000000001", "123456789012345678901234567890.5")
    path = ledger_of(*(record(priced(one, model=f"m{place}")) for place, one in enumerate(amounts)))
    page = Page(text(path))
    assert "exactly 123456789012345678901243867890.500000000001000000000000000001 · 3 calls" in " ".join(page.texts)
    assert [row[6].exact for row in page.table("Dearest calls", "CNY").rows[1:]] == sorted(amounts, key=Decimal)[::-1]
