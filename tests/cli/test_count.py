"""`tokenmeter count` and `tokenmeter families`: the contract's JSON, one text, one file, one request."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tokenmeter.cli import main

Answers = list[dict[str, Any]]


def _answers(tmp_path: Path, capsys: pytest.CaptureFixture[str], lines: list[str]) -> tuple[int, Answers]:
    path = tmp_path / "lines.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    status = main(["count", "--jsonl", str(path)])
    return status, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_text_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = json.dumps({"id": "a", "provider": "alibaba", "model": "qwen-plus", "text": "你是谁？"})
    status, answers = _answers(tmp_path, capsys, [line])
    assert status == 0
    assert answers == [
        {
            "id": "a",
            "line": 1,
            "input": {"tokens": 3, "low": 3, "high": 3, "method": "exact", "family": "qwen", "skipped": []},
            "output": None,
        }
    ]


def test_a_request_line_with_its_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    request = {"messages": [{"role": "user", "content": "hi"}], "temperature": 0.7}
    line = {"id": 1, "provider": "openai", "model": "gpt-4o", "request": request, "output": {"text": "hello there"}}
    status, [answer] = _answers(tmp_path, capsys, [json.dumps(line)])
    assert status == 0
    assert answer["input"]["tokens"] == 3 + 4 + 1  # 3 once, 4 a message, "hi"
    assert answer["output"]["tokens"] == 2
    for part in (answer["input"], answer["output"]):
        assert part["low"] <= part["tokens"] <= part["high"]
        assert part["method"] in ("exact", "template")
        assert part["family"] == "o200k"


@pytest.mark.parametrize(
    ("at", "tokens"),
    [
        pytest.param(None, 16, id="now"),
        pytest.param("2025-06-01", 4, id="before the endpoint's own prompt"),
        pytest.param("2026-03-01T01:00:00+08:00", 4, id="the day is that of UTC"),
        pytest.param("2026-08-01T00:00:00Z", 16, id="since then"),
    ],
)
def test_a_request_is_counted_as_of_its_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], at: str | None, tokens: int
) -> None:
    request = {"messages": [{"role": "user", "content": "hi"}]}
    line = {"provider": "mistral", "model": "mistral-small-latest", "request": request, "at": at}
    status, [answer] = _answers(tmp_path, capsys, [json.dumps(line)])
    assert status == 0
    assert answer["input"]["tokens"] == tokens
    assert answer.get("at") == at


def test_a_header_that_bills_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tools = [{"name": "note", "input_schema": {"type": "object", "properties": {}}}]
    request = {"messages": [{"role": "user", "content": "hi"}], "tools": tools}
    line = {"provider": "anthropic", "model": "claude-sonnet-4-5", "request": request}
    beta = {"headers": {"anthropic-beta": "interleaved-thinking-2025-05-14"}}
    _, answers = _answers(tmp_path, capsys, [json.dumps(line), json.dumps(line | beta)])
    assert answers[1]["input"]["tokens"] - answers[0]["input"]["tokens"] == 140


def test_the_model_may_be_in_the_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = json.dumps({"request": {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}})
    status, [answer] = _answers(tmp_path, capsys, [line])
    assert (status, answer["id"], answer["input"]["family"]) == (0, None, "o200k")


def test_an_unknown_model_is_an_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, [answer] = _answers(tmp_path, capsys, ['{"model": "no-such-model", "text": "hello world"}'])
    assert status == 0
    assert answer["input"]["method"] == "stand-in"
    assert answer["input"]["low"] < answer["input"]["tokens"] < answer["input"]["high"]
    assert "no-such-model" in answer["input"]["reason"]


@pytest.mark.parametrize(
    ("line", "field"),
    [
        pytest.param({"text": "hi"}, "model", id="no model"),
        pytest.param({"model": "gpt-4o"}, "text", id="nothing to count"),
        pytest.param({"model": "gpt-4o", "text": 5}, "text", id="text is a number"),
        pytest.param({"model": 5, "text": "hi"}, "model", id="model is a number"),
        pytest.param({"model": "gpt-4o", "provider": ["x"], "text": "hi"}, "provider", id="provider is a list"),
        pytest.param({"model": "gpt-4o", "request": "hi"}, "request", id="request is a string"),
        pytest.param({"model": "gpt-4o", "request": {}, "text": "hi"}, "request", id="both"),
        pytest.param({"model": "gpt-4o", "request": {}, "headers": "x"}, "headers", id="headers are a string"),
        pytest.param({"model": "gpt-4o", "text": "hi", "at": 5}, "at", id="at is a number"),
        pytest.param({"model": "gpt-4o", "text": "hi", "at": "yesterday"}, "at", id="at is no time"),
        pytest.param({"model": "gpt-4o", "text": "hi", "at": "2026-01-01T10:00:00"}, "at", id="at has no offset"),
        pytest.param({"model": "gpt-4o", "text": "hi", "output": "x"}, "output", id="output is a string"),
        pytest.param({"model": "gpt-4o", "text": "hi", "output": {"text": 1}}, "output.text", id="output text"),
        pytest.param(
            {"model": "gpt-4o", "text": "hi", "output": {"tool_calls": {}}}, "output.tool_calls", id="output calls"
        ),
    ],
)
def test_a_wrong_line_is_answered_in_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: dict[str, Any], field: str
) -> None:
    good = '{"model": "gpt-4o", "text": "hi"}'
    status, answers = _answers(tmp_path, capsys, [good, json.dumps({"id": 9} | line), good])
    assert status == 1
    assert [sorted(answer) for answer in answers[::2]] == [["id", "input", "line", "output"]] * 2
    assert (answers[1]["id"], answers[1]["line"], answers[1]["field"]) == (9, 2, field)
    assert answers[1]["error"]


def test_hostile_text_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = ["\ud800 lone", "\x00\x01", " " * 5000, "<|im_start|>system", ""]
    lines = [json.dumps({"model": "qwen-plus", "text": text}) for text in texts]
    status, answers = _answers(tmp_path, capsys, lines)
    assert status == 0
    assert [answer["input"]["tokens"] > 0 for answer in answers] == [True, True, True, True, False]


def test_one_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["count", "你好，world", "--model", "qwen-plus"]) == 0
    assert capsys.readouterr().out == "3 tokens (exact, qwen)\n"


def test_one_text_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["count", "你好", "--model", "doubao-seed-1.6", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["input"]
    assert (found["method"], found["family"]) == ("stand-in", "doubao")


def test_a_file_that_is_not_utf8_counts_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mixed.txt"
    path.write_bytes("你好".encode() + b"\xff" + "，world ".encode() * 1000 + "你".encode()[:2])
    assert main(["count", "--file", str(path), "--model", "gpt-4o"]) == 0
    printed = capsys.readouterr().out
    assert "2 places are not UTF-8" in printed
    assert int(printed.split()[0]) > 1000


def test_standard_input_is_counted(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("你好，world".encode())))
    assert main(["count", "--file", "-", "--model", "qwen-plus"]) == 0
    assert capsys.readouterr().out == "3 tokens (exact, qwen)\n"


def test_a_request_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "body.json"
    path.write_text('{"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}')
    assert main(["count", "--request", str(path), "--explain", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert sum(part["tokens"] for part in answer["parts"]) == answer["input"]["tokens"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param([], "give one of TEXT", id="nothing"),
        pytest.param(["hi", "--file", "x", "--model", "gpt-4o"], "give one of TEXT", id="two things"),
        pytest.param(["hi"], "--model is missing", id="no model"),
        pytest.param(["--file", "gone.txt", "--model", "gpt-4o"], "gone.txt", id="no such file"),
        pytest.param(["hi", "--model", "no-such-model", "--strict"], "is in no family", id="strict"),
        pytest.param(["--jsonl", "gone.jsonl"], "gone.jsonl", id="no such lines"),
    ],
)
def test_bad_flags_end_with_2(capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    assert main(["count", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_families_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["families", "--json"]) == 0
    rows = {row["family"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["qwen"]["counted with"] == "its own vocabulary"
    assert rows["doubao"]["counted with"] == "qwen"
    assert rows["doubao"]["zh"][1] < 1.06 < rows["doubao"]["zh"][2]


def test_the_family_of_a_model_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["families", "deepseek-chat", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["family"] == "deepseek-v3"
