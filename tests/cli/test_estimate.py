"""`tokenmeter estimate`: a request's cost range on several models, by currency, and what is not known said as such."""

from __future__ import annotations

import io
import json
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import tokenmeter
from tokenmeter import Usage
from tokenmeter.cli import main
from tokenmeter.tokens import count_request
from tokenmeter.tokens.calibration.fit import Pair
from tokenmeter.tokens.calibration.store import FileStore, Key

AT = "2026-11-01T00:00:00+08:00"
BODY = {"model": "deepseek-chat", "messages": [{"role": "user", "content": "请写一首关于杭州的诗"}], "max_tokens": 300}


@pytest.fixture
def request_file(tmp_path: Path) -> Path:
    path = tmp_path / "body.json"
    path.write_text(json.dumps(BODY), encoding="utf-8")
    return path


def rows(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    assert main(["estimate", *arguments, "--at", AT, "--json"]) == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


def test_the_range_is_that_of_the_count_and_the_limit(request_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [row] = rows(capsys, "--request", str(request_file))
    count = count_request(BODY, provider="deepseek", at="2026-10-31")
    assert row["input"]["tokens"] == count.tokens
    assert (row["provider"], row["model"], row["output_limit"], row["status"]) == (
        "deepseek",
        "deepseek-chat",
        300,
        "priced",
    )
    for name, tokens, output in (("low", count.low, 0), ("high", count.high, 300)):
        usage = Usage(input_tokens=tokens, output_tokens=output)
        cost = tokenmeter.price(usage, provider="deepseek", model="deepseek-chat", at=AT)
        assert cost.total is not None
        assert row[name] == {"amount": str(cost.total.amount), "currency": "CNY"}


def test_models_side_by_side_are_sorted_within_their_currency(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["openai/gpt-4o", "deepseek-chat", "openai/gpt-4o-mini", "zhipu/glm-4-flash", "nope", "qwen-plus"]
    models = [part for name in names for part in ("--model", name)]
    found = rows(capsys, "--text", "你好", "--max-output", "100", *models)
    currencies = [row["high"]["currency"] if row["high"] else None for row in found]
    assert currencies == sorted(currencies, key=lambda one: (one is None, one))
    assert set(currencies) == {"CNY", "USD", None}
    for currency in ("CNY", "USD"):
        most = [Decimal(row["high"]["amount"]) for row in found if row["high"] and row["high"]["currency"] == currency]
        assert most == sorted(most)
    sold = [row["provider"] for row in found if row["model"] == "qwen-plus"]
    assert sold == ["alibaba", "alibaba-intl"]  # every site that sells it, each in its own currency
    [unknown] = [row for row in found if row["model"] == "nope"]
    assert (unknown["status"], unknown["low"], unknown["high"]) == ("unpriced", None, None)
    assert "PROVIDER/nope" in unknown["reason"]


def test_a_model_its_provider_does_not_sell_is_counted_and_unpriced(capsys: pytest.CaptureFixture[str]) -> None:
    [row] = rows(capsys, "--text", "hello", "--model", "openai/gpt-99-nonsense")
    assert row["low"] is None
    assert row["input"]["tokens"] > 0
    assert "gpt-99-nonsense" in row["reason"]


def test_without_a_limit_the_most_is_open(capsys: pytest.CaptureFixture[str]) -> None:
    [row] = rows(capsys, "--text", "hello", "--model", "openai/gpt-4o")
    assert row["low"] is not None
    assert (row["high"], row["output_limit"]) == (None, None)
    assert main(["estimate", "--text", "hello", "--model", "openai/gpt-4o"]) == 0
    assert "give --max-output N" in capsys.readouterr().out


def test_a_name_with_a_slash_is_not_torn_apart(capsys: pytest.CaptureFixture[str]) -> None:
    [row] = rows(capsys, "--text", "hi", "--provider", "siliconflow", "--model", "deepseek-ai/DeepSeek-V3")
    assert (row["provider"], row["model"], row["status"]) == ("siliconflow", "deepseek-ai/DeepSeek-V3", "priced")


def test_the_table_has_a_part_per_currency(capsys: pytest.CaptureFixture[str]) -> None:
    models = ["--model", "deepseek/deepseek-chat", "--model", "openai/gpt-4o", "--model", "zhipu/glm-4-flash"]
    assert main(["estimate", "--text", "你好", "--max-output", "50", *models, "--at", AT]) == 0
    head, _, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["provider", "model", "input", "tokens", "method", "least", "most", "note"]
    assert [line.split()[0] for line in lines if not line.startswith("─")] == ["CNY", "CNY", "USD", "output:"]
    assert "free" in lines[0]


def test_standard_input_is_read(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(BODY)))
    assert rows(capsys, "--request", "-")[0]["model"] == "deepseek-chat"


def test_what_was_learnt_corrects_the_count(
    tmp_path: Path, request_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "learnt.db"
    store = FileStore(path)
    count = count_request(BODY, provider="deepseek")
    assert count.tokens is not None
    key = Key("deepseek", "deepseek-chat", "zh", "input", f"{tokenmeter.__version__} {count.family} {count.method}")
    for number in range(30):
        store.add(key, Pair(int(time.time() * 1e6), number, number + 100))
    [plain] = rows(capsys, "--request", str(request_file))
    [row] = rows(capsys, "--request", str(request_file), "--calibration", str(path))
    assert plain["input"]["tokens"] == count.tokens
    assert row["input"]["tokens"] == count.tokens + 100
    assert row["input"]["method"] == plain["input"]["method"]
    assert row["input"]["calibrated"] == "+100 tokens, from 30 calls"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["--text", "hi"], "--model is missing", id="no model"),
        pytest.param(["--model", "gpt-4o"], "--request --text is required", id="nothing to send"),
        pytest.param(["--request", "gone.json"], "gone.json", id="no such file"),
        pytest.param(
            ["--text", "hi", "--model", "gpt-4o", "--provider", "opena"], "did you mean 'openai'", id="provider"
        ),
        pytest.param(["--text", "hi", "--model", "gpt-4o", "--max-output", "-1"], "cannot be negative", id="limit"),
        pytest.param(["--text", "hi", "--model", "gpt-4o", "--at", "soon"], "--at soon", id="no time"),
        pytest.param(["--text", "hi", "--model", "gpt-4o", "--at", "2026-01-01T10:00"], "has no offset", id="no zone"),
        pytest.param(["--text", "hi", "--model", "x", "--calibration", "gone.db"], "gone.db is not there", id="learnt"),
    ],
)
def test_bad_flags_end_with_2(capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    assert main(["estimate", *arguments]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("content", ["[1]", "{", '"text"'])
def test_a_file_that_is_no_body_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str) -> None:
    path = tmp_path / "body.json"
    path.write_text(content)
    assert main(["estimate", "--request", str(path), "--model", "gpt-4o"]) == 2
    assert "body.json" in capsys.readouterr().err


# The function ---------------------------------------------------------------------------------------------------
