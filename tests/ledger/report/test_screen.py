"""The report's table fits the terminal, whatever names, sums and currencies a ledger holds."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.rigs.made_records import priced, record, unpriced
from tokenmeter._support.text_tables import width
from tokenmeter.ledger.report import periods, query, screen
from tokenmeter.ledger.writer import Ledger
from tokenmeter.record import Record
from tokenmeter.usage import Usage

LONG = "accounts/fireworks/models/qwen3-235b-a22b-instruct-2507-throughput-optimised"
CURRENCIES = ("CNY", "USD", "EUR", "GBP", "JPY", "INR")


def shown(path: Path, records: list[Record], by: str, columns: int | None) -> list[str]:
    path.unlink(missing_ok=True)
    ledger = Ledger(path)
    for one in records:
        ledger.write(one)
    ledger.close(30)
    question = query.Question(by=tuple(by.split(",")), zone=periods.Zone.named("UTC"))
    _, *lines = screen.as_text(query.ask(ledger.path, question), columns).splitlines()
    return lines  # without the ledger's path


def call(model: str, *, currency: str = "CNY", amount: str = "0.5", tokens: int = 1000, **tags: str) -> Record:
    return record(priced(amount, currency, model=model), tags=tags, usage=Usage(input_tokens=tokens))


CASES = {
    "long names": [call(LONG, team="search"), call(LONG + "-2", team="ads")],
    "names that differ in the middle": [call(f"{'a' * 30}{one}{'z' * 30}", team="search") for one in "12"],
    "Chinese": [call("通义千问超大规模语言模型旗舰版二零二六年十一月", team="搜索推荐与广告算法工程团队（上海）")],
    "many currencies": [call("m", currency=one, amount="123456789.123456", team="search") for one in CURRENCIES],
    "great sums": [call(LONG, amount="123456789012.5", tokens=10**13, team="search")],
    "no price": [record(unpriced(f"no model {LONG * 3} 在价目表中没有这个模型" * 2), tags={"team": "x" * 200})],
}


@pytest.mark.parametrize("columns", [60, 80, 132])
@pytest.mark.parametrize("name", CASES)
def test_hard_ledgers_fit(name: str, columns: int, tmp_path: Path) -> None:
    for by in ("model,team", "provider,model,team,day,request_model"):
        lines = shown(tmp_path / "s.db", CASES[name], by, columns)
        assert max(map(width, lines)) <= columns, "\n".join(lines)
        assert any("total" in line for line in lines)


def test_cut_names_are_said_and_stay_different(tmp_path: Path) -> None:
    lines = shown(tmp_path / "s.db", CASES["long names"], "model,team", 80)
    rows = [line for line in lines if line.startswith("accounts")]
    assert all("…" in line for line in rows)
    assert len({line.split()[0] for line in rows}) == 2
    assert "names are cut for 80 columns; --csv and --json have them whole" in lines


def test_names_that_would_look_the_same_stand_whole_above_their_numbers(tmp_path: Path) -> None:
    lines = shown(tmp_path / "s.db", CASES["names that differ in the middle"], "model,team", 80)
    for one in "12":
        assert f"{'a' * 30}{one}{'z' * 30}, search" in lines


def test_without_a_width_nothing_is_cut(tmp_path: Path) -> None:
    assert any(LONG in line for line in shown(tmp_path / "s.db", CASES["long names"], "model", None))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(st.text(max_size=90), min_size=1, max_size=4),
    columns=st.integers(60, 120),
    amount=st.decimals("0.0000001", 10**9, places=7).map(lambda one: f"{one:f}"),
)
def test_any_names_fit(tmp_path: Path, names: list[str], columns: int, amount: str) -> None:
    records = [call(name or "m", team=name, amount=amount, currency=CURRENCIES[at]) for at, name in enumerate(names)]
    lines = shown(tmp_path / "s.db", records, "model,team,provider", columns)
    assert max(map(width, lines)) <= columns
