"""`tokenmeter calibration`: what was learnt can be read, taken along and forgotten."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

import tokenmeter
from tokenmeter.cli import main
from tokenmeter.tokens.calibration_fit import Pair
from tokenmeter.tokens.calibration_store import Change, FileStore, Key

MINE = f"{tokenmeter.__version__} doubao stand-in"
NOW = int(time.time()) * 1_000_000


@pytest.fixture
def learnt(tmp_path: Path) -> Path:
    path = tmp_path / "learnt.db"
    store = FileStore(path)
    for number in range(40):
        tokens = 50 + 10 * number
        store.add(Key("volcengine", "doubao", "zh", "input", MINE), Pair(NOW - number, tokens, tokens + 12))
        store.add(Key("volcengine", "doubao", "zh", "output", MINE), Pair(NOW - number, tokens, round(tokens * 1.1)))
    store.add(Key("openai", "gpt-4o", "en", "input", MINE), Pair(NOW, 10, 11))
    store.add(Key("openai", "gpt-4o", "en", "output", "0.0.1 o200k exact"), Pair(NOW, 10, 11))
    store.mark(Change(Key("openai", "gpt-4o", "en", "input", MINE), NOW))
    return path


def test_it_is_shown(learnt: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibration", "show", str(learnt)]) == 0
    head, _, *lines = capsys.readouterr().out.splitlines()
    assert head.split()[:4] == ["provider", "model", "part", "script"]
    assert [line.split()[:8] for line in lines[2:]] == [
        ["volcengine", "doubao", "input", "zh", "40", "+12", "1.000", "0.1%"],
        ["volcengine", "doubao", "output", "zh", "40", "+0", "1.100", "0.1%"],
    ]
    assert "changed 20" in lines[0]
    assert all("too few calls" in line for line in lines[:2])


def test_it_is_shown_as_json(learnt: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibration", "show", str(learnt), "--json"]) == 0
    rows = {(row["model"], row["part"]): row for row in json.loads(capsys.readouterr().out)}
    row = rows["doubao", "input"]
    assert (row["overhead"], row["factor"], row["pairs"], row["used"]) == (12, 1.0, 40, True)
    assert row["counted"] == [50, 440]
    assert row["until"].endswith("Z")
    assert not rows["gpt-4o", "input"]["used"]


def test_it_is_exported_whole(learnt: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibration", "export", str(learnt)]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len([line for line in lines if "reported" in line]) == 82
    assert len([line for line in lines if "changed_at" in line]) == 1
    assert {"provider", "model", "script", "part", "counted_by", "at", "counted", "reported", "inside"} == set(lines[0])


def test_it_is_forgotten(learnt: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibration", "forget", "--model", "doubao", str(learnt)]) == 0
    assert capsys.readouterr().out == "80 pairs forgotten\n"
    assert main(["calibration", "forget", "--all", str(learnt)]) == 0
    assert capsys.readouterr().out == "2 pairs forgotten\n"
    assert main(["calibration", "show", str(learnt)]) == 0
    assert capsys.readouterr().out.startswith("nothing was learnt yet")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["show", "gone.db"], "gone.db is not there", id="no file"),
        pytest.param(["forget", "gone.db"], "--model --all is required", id="what to forget"),
        pytest.param([], "ACTION", id="no action"),
    ],
)
def test_bad_flags_end_with_2(capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    assert main(["calibration", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_another_file_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("dear sir, " * 200)
    assert main(["calibration", "show", str(path)]) == 2
    assert "letter.txt" in capsys.readouterr().err
    assert path.read_text().startswith("dear sir, ")
