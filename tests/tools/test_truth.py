"""`python -m tools.truth`: cases of a folder, without secrets, dated by git, with a report."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tools.truth.__main__ import main
from tools.truth.origin import origin
from tools.truth.redact import redacted

DATA = Path(__file__).parents[1] / "data" / "recordings"
pytest.importorskip("yaml")


def cases(path: Path) -> list[dict[str, Any]]:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def test_a_folder_becomes_cases_and_the_same_call_is_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "cases.jsonl.gz"
    assert main([str(DATA), "--out", str(out), "--report"]) == 0
    found = cases(out)
    assert len(found) == len({case["id"] for case in found})
    assert {case["vendor"] for case in found} >= {"openai", "anthropic", "google", "alibaba", "deepseek", "unknown"}
    assert {case["kind"] for case in found} == {"recording", "fixture", "trace"}
    report = capsys.readouterr().out
    assert report.startswith(f"input: {len(found)} calls")
    assert "plain text and its frame" in report


def test_prompts_can_be_left_out(tmp_path: Path) -> None:
    out = tmp_path / "cases.jsonl"
    assert main([str(DATA / "ruby.yml"), "--out", str(out), "--hide", "prompts"]) == 0
    [case] = cases(out)
    assert case["request"] is case["output"] is None
    assert case["counted"] == {"input": 8, "output": 2}
    assert case["usage"]["prompt_tokens"] == 8
    assert "hello there" not in out.read_text("utf-8")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        pytest.param("my key is sk-proj-abcdefghijklmnop1234", "my key is REDACTED_KEY", id="a key"),
        pytest.param(
            "Authorization: Bearer abc.def.ghi_jkl-mno", "Authorization: Bearer REDACTED_TOKEN", id="a bearer"
        ),
        pytest.param("write to jane.doe@company.co.uk now", "write to REDACTED@example.com now", id="a mail address"),
        pytest.param("write to me@example.com", "write to me@example.com", id="no one's address"),
        pytest.param("a task-based approach", "a task-based approach", id="prose"),
    ],
)
def test_secrets_are_replaced_and_the_case_is_flagged(text: str, kept: str) -> None:
    request = {"messages": [{"role": "user", "content": text}]}
    case = redacted({"request": request, "output": {"text": text}, "flags": ["json_schema"]})
    assert case["request"]["messages"][0]["content"] == case["output"]["text"] == kept
    assert case["flags"] == (["json_schema"] if kept == text else ["json_schema", "text_redacted"])


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_recording_is_dated_by_its_last_commit(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        who = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
        subprocess.run(["git", "-C", str(tmp_path), *who, *arguments], check=True, capture_output=True)

    shutil.copy(DATA / "nock.json", tmp_path / "nock.json")
    git("init", "-q")
    git("remote", "add", "origin", "https://example.com/them/theirs.git")
    git("add", "nock.json")
    git("commit", "-q", "-m", "Add", "--date", "2025-03-04T05:06:07Z")
    out = tmp_path / "cases.jsonl"
    assert main([str(tmp_path / "nock.json"), "--out", str(out)]) == 0
    [case] = cases(out)
    provenance, day = origin(tmp_path / "nock.json")
    assert case["provenance"] == provenance
    assert provenance.startswith("them/theirs@")
    assert provenance.endswith(":nock.json")
    assert case["date"] == day
    assert day is not None
