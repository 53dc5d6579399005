"""`tokenmeter count --check FILE`: reported beside counted, for people and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tokenmeter.cli import main

DATA = Path(__file__).parents[1] / "data" / "recordings"


def test_a_table_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["count", "--check", str(DATA / "fixtures.json")]) == 0
    out = capsys.readouterr().out
    assert "fixtures.json#1  deepseek-chat  undated  input          9        5" in out
    assert "3 of 4 within 2 tokens, 4 inside their range" in out


def test_json_with_the_causes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["count", "--check", str(DATA / "page.har"), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    [call] = answer["calls"]
    assert call["place"] == "page.har#2"
    assert call["input"]["reported"] == call["input"]["counted"] == 2
    assert call["output"]["cause"] == "calls in the answer"
    assert [row["cause"] for row in answer["misses"]] == ["calls in the answer"]


def test_flags_say_what_the_recording_does_not(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--provider", "openai", "--at", "2026-01-02", "--json"]
    assert main(["count", "--check", str(DATA / "vcrpy.json"), *flags]) == 0
    calls = json.loads(capsys.readouterr().out)["calls"]
    assert {(call["provider"], call["at"]) for call in calls} == {("openai", "2026-01-02")}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("{}", "no recorded call", id="no recording"),
        pytest.param(
            '[{"request": {"url": "https://example.com", "body": "{}"}, "response": {"status": 200}}]',
            "1 recorded calls, none of a model",
            id="no model",
        ),
    ],
)
def test_a_file_without_calls_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, words: str
) -> None:
    path = tmp_path / "a.json"
    path.write_text(text, "utf-8")
    assert main(["count", "--check", str(path)]) == 2
    assert words in capsys.readouterr().err
