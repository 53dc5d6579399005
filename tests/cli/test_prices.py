"""`tokenmeter prices` looks into the book, compares days, checks and updates."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tokenmeter.cli import main

PRICES = Path(__file__).parents[1] / "data" / "prices"


def ask(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert main(["prices", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_list_has_an_entry_per_model_and_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prices", "list", "--provider", "deepseek", "--currency", "cny", "--json"]) == 0
    out = capsys.readouterr().out
    rows = json.loads(out)

    assert len(out.splitlines()) == len(rows)
    assert {row["list"] for row in rows} == {"CNY"}
    assert any(row["model"] == "deepseek-chat" for row in rows)


def test_the_price_war_is_told_by_diff(capsys: pytest.CaptureFixture[str]) -> None:
    rows = ask(capsys, "diff", "2024-05-01", "2024-06-01", "--currency", "CNY")
    (long,) = [row for row in rows if row["model"] == "qwen-long"]

    plain = [change for change in long["changes"] if "[" not in change["component"]]
    assert plain == [
        {"component": "input", "before": "20", "after": "0.5", "percent": "-97.5%"},
        {"component": "output", "before": "20", "after": "2", "percent": "-90%"},
    ]


def test_history_keeps_every_price(capsys: pytest.CaptureFixture[str]) -> None:
    rows = ask(capsys, "history", "qwen-long", "--provider", "alibaba")

    assert [row["prices"]["input"] for row in rows][:2] == ["20", "0.5"]
    assert [row["dating"] for row in rows][:2] == ["open", "official"]


def test_show_gives_the_card_in_force(capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = ask(capsys, "show", "glm-4.7", "--provider", "zhipu", "--at", "2026-06-01")

    assert row["prices"]["output [output_tokens > 200]"] == "14"
    assert row["entry"]["source"]


def test_show_gives_the_entry_with_its_money_in_strings(capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = ask(capsys, "show", "glm-4.7", "--provider", "zhipu", "--at", "2026-06-01")

    rates = [row["entry"], *row["entry"]["case"]]
    assert row["entry"]["input"] == "2"
    assert all(isinstance(rate[name], str) for rate in rates for name in ("input", "output") if name in rate)


@pytest.mark.parametrize("arguments", [["list"], ["show", "qwen-plus"], ["history", "qwen-plus"], ["check"]])
def test_people_get_text(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prices", *arguments, "--provider", "alibaba"]) == 0
    assert capsys.readouterr().out


def test_an_unknown_model_offers_near_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prices", "show", "qwen-pluss"]) == 2
    assert "qwen-plus" in capsys.readouterr().err
    assert main(["prices", "show", "nosuch"]) == 2
    assert "near names: " in capsys.readouterr().err


def test_the_list_has_a_head_above_its_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prices", "list", "--provider", "zhipu"]) == 0
    head, rule, first, *_ = capsys.readouterr().out.splitlines()
    assert head.split() == ["provider", "model", "in", "input", "cached", "output"]
    assert set(rule) == {"─", " "}
    assert head.index("input") > first.index("CNY") == head.index("in ")


def test_check_tells_every_problem_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "acme.toml"
    file.write_text('provider = "acme"\ncurrency = "CNY"\ntimezone = "UTC"\n[[rate]]\nmodel = "m"\nouput = 1\n')

    assert main(["prices", "check", str(file)]) == 2
    error = capsys.readouterr().err
    assert 'did you mean "output"' in error
    assert "no date" in error


def test_check_ends_with_one_for_what_is_improbable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "acme.toml"
    rate = '[[rate]]\nmodel = "m"\neffective = {}\ninput = {}\n'
    head = 'provider = "acme"\ncurrency = "CNY"\ntimezone = "UTC"\n'
    file.write_text(head + rate.format("2026-01-01", "1") + rate.format("2026-02-01", "1000"))

    assert main(["prices", "check", str(file)]) == 1
    assert "a slip of the unit?" in capsys.readouterr().out


def test_check_knows_the_models_that_an_overlay_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "azure-openai.toml"
    alias = 'provider = "azure-openai"\n[[alias]]\nmodel = "my-deployment"\nof = "{}"\n'
    file.write_text(alias.format("gpt-4o-1120"))
    assert main(["prices", "check", str(file)]) == 0

    file.write_text(alias.format("gpt-4o-11200"))
    assert main(["prices", "check", str(file)]) == 1
    assert "azure-openai/my-deployment: 'gpt-4o-11200' is no model of this book" in capsys.readouterr().out


def test_update_takes_a_file_whose_digest_is_the_published_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = PRICES / "zhipu.toml", tmp_path / "mine"
    digest = hashlib.sha256(source.read_bytes()).hexdigest()

    assert main(["prices", "update", "--from", str(source), "--to", str(target), "--sha256", "0" * 64]) == 2
    assert digest in capsys.readouterr().err
    assert not target.exists()
    assert main(["prices", "update", "--from", str(source), "--to", str(target), "--sha256", digest]) == 0
    assert (target / "zhipu.toml").read_bytes() == source.read_bytes()
    assert main(["prices", "update", "--from", str(source)]) == 2
    assert "where to?" in capsys.readouterr().err


OLD_AND_NEW = """provider = "acme"
currency = "CNY"
timezone = "Asia/Shanghai"
[[rate]]
model = "old"
observed = [2024-01-01, 2024-02-01]
input = 1
output = 2
[[rate]]
model = "older"
observed = [2023-01-01, 2023-02-01]
input = 1
output = 2
[[rate]]
model = "undated"
effective = 2024-01-01
input = 1
output = 2
"""


def test_prices_that_no_source_has_shown_for_long_are_listed_oldest_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "acme.toml").write_text(OLD_AND_NEW, encoding="utf-8")
    monkeypatch.setenv("TOKENMETER_PRICES", str(tmp_path))

    rows = ask(capsys, "stale", "--provider", "acme")
    assert [(row["model"], row["last_seen"]) for row in rows] == [("older", "2023-02-01"), ("old", "2024-02-01")]

    patient = tmp_path / "patient"
    patient.mkdir()
    (patient / "acme.toml").write_text(OLD_AND_NEW.replace("[[rate]]", "stale_after = 1100\n[[rate]]", 1), "utf-8")
    monkeypatch.setenv("TOKENMETER_PRICES", str(patient))
    assert [row["model"] for row in ask(capsys, "stale", "--provider", "acme")] == ["older"]
    assert len(ask(capsys, "stale", "--provider", "acme", "--days", "30")) == 2
    assert main(["prices", "stale", "--provider", "acme"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("of 1 the last day is not known")
