"""`tokenmeter price` answers as the contract says: by flags, and line by line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tokenmeter.cli import main

FIELDS = [
    "id", "line", "status", "cost", "charges", "rate_id", "effective_from", "dating", "confidence", "list",
    "last_seen", "at", "book", "covered_by", "flags", "reason",
]  # fmt: skip  # fmt: skip
PRICES = Path(__file__).parents[1] / "data" / "prices"


@pytest.fixture(autouse=True)
def _prices_of_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENMETER_PRICES", str(PRICES))


def answers(tmp_path: Path, capfdbinary: Any, *lines: Any) -> tuple[int, list[dict[str, Any]]]:
    file = tmp_path / "calls.jsonl"
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    file.write_text(text + "\n", encoding="utf-8")
    status = main(["price", "--jsonl", str(file)])
    return status, [json.loads(line) for line in capfdbinary.readouterr().out.decode().splitlines()]


def call(**fields: Any) -> dict[str, Any]:
    usage = {"input_tokens": 1_000_000, "output_tokens": 0}
    return {"id": 1, "provider": "deepseek", "model": "deepseek-chat", "at": "2024-06-01", "usage": usage, **fields}


def test_a_parameter_that_no_price_depends_on_is_flagged(tmp_path: Path, capfdbinary: Any) -> None:
    status, (answer,) = answers(tmp_path, capfdbinary, call(params={"thinkng": True, "region": "cn"}))
    assert (status, answer["status"], answer["flags"][-1:]) == (0, "priced", ["param_unknown=thinkng"])
    assert list(answer) == FIELDS


def test_a_line_is_answered_with_every_field_of_the_contract(tmp_path: Path, capfdbinary: Any) -> None:
    status, (answer,) = answers(tmp_path, capfdbinary, call(id="a"))

    assert status == 0
    assert list(answer) == FIELDS
    assert answer["cost"] == {"amount": "1", "currency": "CNY"}
    assert answer["charges"] == [
        {"component": "input", "quantity": 1_000_000, "rate": "1", "per": "1000000", "amount": "1"}
    ]
    assert (answer["id"], answer["line"], answer["status"], answer["dating"]) == ("a", 1, "priced", "official")
    assert answer["at"] == "2024-06-01T00:00:00+08:00"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param(
            {"at": "2024-05-31T16:00:00Z"}, {"at": "2024-05-31T16:00:00Z"}, id="the instant comes back as it came"
        ),
        pytest.param({"model": "gpt-9"}, {"status": "unpriced", "cost": None}, id="an unknown model is an answer"),
        pytest.param({"provider": "nobody"}, {"status": "unpriced", "charges": []}, id="an unknown provider too"),
        pytest.param({"usage": {}}, {"status": "unpriced", "reason": "no usage is known"}, id="and missing usage"),
        pytest.param(
            {"usage": None}, {"status": "unpriced", "reason": "no usage is known"}, id="as extract tells missing usage"
        ),
        pytest.param({"usage": {"input_tokens": -1}}, {"reason": "input_tokens is negative"}, id="a negative number"),
        pytest.param(
            {"params": {"currency": "USD"}, "at": "2026-01-01"},
            {"cost": {"amount": "0.28", "currency": "USD"}},
            id="the other list",
        ),
        pytest.param(
            {"provider": "zhipu", "model": "GLM-4-Flash", "at": "2025-01-01"},
            {"status": "free", "cost": {"amount": "0", "currency": "CNY"}},
            id="free",
        ),
        pytest.param(
            {"usage": {"quantities": {"images": "1.50"}}}, {"reason": "no rate for images"}, id="a fraction as a string"
        ),
    ],
)
def test_a_call_that_can_be_understood_is_answered(
    fields: dict[str, Any], expected: dict[str, Any], tmp_path: Path, capfdbinary: Any
) -> None:
    status, (answer,) = answers(tmp_path, capfdbinary, call(**fields))

    assert status == 0
    assert {key: answer[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        pytest.param({"provider": None}, "provider", id="no provider"),
        pytest.param({"model": 5}, "model", id="a model that is no name"),
        pytest.param({"usage": 5}, "usage", id="usage that is a number"),
        pytest.param({"usage": {"inputs": 5}}, "usage.inputs", id="no such component"),
        pytest.param({"usage": {"input_tokens": 1.5}}, "usage.input_tokens", id="a fraction of a token"),
        pytest.param({"usage": {"input_tokens": "5"}}, "usage.input_tokens", id="a string"),
        pytest.param({"usage": {"input_tokens": True}}, "usage.input_tokens", id="a boolean"),
        pytest.param({"params": []}, "params", id="params of the wrong shape"),
        pytest.param({"at": "2024-06-01T00:00:00"}, "at", id="a time without offset"),
        pytest.param({"at": "soon"}, "at", id="no time"),
        pytest.param({"at": 5}, "at", id="a number for a time"),
        pytest.param({"at": "10000-01-01T00:00:00Z"}, "at", id="beyond time"),
    ],
)
def test_a_line_that_cannot_be_understood_says_where_and_the_others_go_on(
    fields: dict[str, Any], field: str, tmp_path: Path, capfdbinary: Any
) -> None:
    status, (bad, good) = answers(tmp_path, capfdbinary, call(**fields), call(id=2))

    assert status == 1
    assert (bad["id"], bad["line"], bad["field"]) == (1, 1, field)
    assert bad["error"]
    assert (good["id"], good["status"]) == (2, "priced")


def test_a_batch_is_priced_as_its_lines_are(tmp_path: Path, capfdbinary: Any) -> None:
    lines = [
        call(id=number, model=model, at=f"2026-11-{number % 20 + 1:02d}T0{number % 9}:30:00Z", provider=provider)
        for number, (provider, model) in enumerate(
            [("deepseek", "deepseek-v4-flash"), ("alibaba", "qwen-plus"), ("zhipu", "glm-4.7")] * 30
        )
    ]
    _, together = answers(tmp_path, capfdbinary, *lines)
    apart = [answers(tmp_path, capfdbinary, line)[1][0] for line in lines]

    assert [{**answer, "line": 1} for answer in together] == apart


def test_flags_price_one_call(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--provider", "alibaba", "--model", "qwen-plus", "--input", "1000", "--output", "1000", "--thinking"]
    status = main(["price", *arguments, "--at", "2026-11-20", "--json"])

    assert status == 0
    assert json.loads(capsys.readouterr().out)["cost"] == {"amount": "0.0088", "currency": "CNY"}


def test_people_get_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    main(["price", "--provider", "zhipu", "--model", "glm-4.7", "--input", "10", "--output", "5", "--at", "2026-11-20"])

    out = capsys.readouterr().out
    assert "0.00006 CNY" in out
    assert "zhipu/glm-4.7@2025-12-24" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["--model", "m"], "--provider is missing", id="no provider"),
        pytest.param(["--provider", "openai", "--model", "m", "--at", "noon"], "is not a time", id="no time"),
        pytest.param(["--provider", "openai", "--model", "m", "--quantity", "images"], "is not NAME=N", id="quantity"),
        pytest.param(["--jsonl", "/no/such/file"], "cannot read", id="no file"),
    ],
)
def test_bad_flags_end_with_two(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["price", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_own_names_and_lists_of_the_environment_are_the_command_lines_too(
    tmp_path: Path, capfdbinary: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = call(model="ep-20240601-abcde")
    _, (before,) = answers(tmp_path, capfdbinary, unknown)
    monkeypatch.setenv("TOKENMETER_MODELS", "ep-20240601-abcde=deepseek-chat")
    _, (after,) = answers(tmp_path, capfdbinary, unknown)
    monkeypatch.setenv("TOKENMETER_PRICE_LISTS", "deepseek=USD")
    _, (dollars,) = answers(tmp_path, capfdbinary, call(at="2026-01-01"))

    assert before["status"] == "unpriced"
    assert "TOKENMETER_MODELS=" in before["reason"]
    assert after["cost"] == {"amount": "1", "currency": "CNY"}
    assert dollars["cost"] == {"amount": "0.28", "currency": "USD"}


@pytest.mark.parametrize(("model", "status"), [("glm-4.7", 0), ("nosuch", 1)])
def test_strict_ends_with_1_where_something_is_unpriced(
    model: str, status: int, tmp_path: Path, capfdbinary: Any
) -> None:
    flags = ["price", "--provider", "zhipu", "--model", model, "--input", "10", "--output", "5", "--at", "2026-11-20"]
    assert main(flags) == 0
    assert main([*flags, "--strict"]) == status
    assert main([*flags, "--strict", "--json"]) == status
    file = tmp_path / "calls.jsonl"
    line = {"provider": "zhipu", "model": model, "at": "2026-11-20", "usage": {"input_tokens": 10, "output_tokens": 5}}
    file.write_text(json.dumps(line) + "\n")
    assert main(["price", "--jsonl", str(file)]) == 0
    assert main(["price", "--jsonl", str(file), "--strict"]) == status


@pytest.mark.parametrize("command", ["price", "estimate"])
@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        pytest.param("TOKENMETER_PRICE_LISTS", "deep-seek=usd", "USD", id="another name of the provider"),
        pytest.param("TOKENMETER_PRICE_LISTS", "deepsek=USD", "did you mean 'deepseek'?", id="unknown provider"),
        pytest.param("TOKENMETER_PRICE_LISTS", "deepseek=EUR", "has no list in 'EUR'", id="unknown list"),
        pytest.param("TOKENMETER_MODELS", "mine=deepsek-chat", "did you mean 'deepseek-chat'", id="unknown model"),
        pytest.param("TOKENMETER_MODELS", "mine=deepseek-chat", "0.", id="a name of one's own"),
    ],
)
def test_what_the_environment_chooses_is_checked_as_the_sdk_checks_it(
    command: str,
    variable: str,
    value: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(variable, value)
    model = "mine" if variable == "TOKENMETER_MODELS" else "deepseek-chat"
    given = ["--input", "10", "--output", "10"] if command == "price" else ["--text", "hi", "--max-output", "10"]
    status = main([command, "--provider", "deepseek", "--model", model, *given])
    printed = capsys.readouterr()
    assert said in printed.out + printed.err
    assert status == (2 if printed.err else 0)
