"""`tokenmeter ledger split` as typed: files, words and JSON, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.rigs.fleet import some_calls, written
from tokenmeter.cli import main


def test_a_ledger_is_split_and_merged_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, folder = str(written(tmp_path / "spend.db", some_calls(30))), str(tmp_path / "teams")
    assert main(["ledger", "split", path, "--by", "team", "--to", folder]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{folder}: 30 calls in 4 files"
    assert said[1].startswith("  ~untagged.db: 6 calls, ")
    assert (
        main(["ledger", "merge", *map(str, sorted(Path(folder).glob("*.db"))), "--to", str(tmp_path / "all.db")]) == 0
    )
    for one in (path, str(tmp_path / "all.db")):
        capsys.readouterr()
        assert main(["report", one, "--by", "team,model", "--json"]) == 0
        said.append(json.dumps(json.loads(capsys.readouterr().out) | {"ledger": ""}))
    assert said[-1] == said[-2]


def test_json_says_what_the_index_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, folder = str(written(tmp_path / "spend.db", some_calls(30))), tmp_path / "months"
    assert main(["ledger", "split", path, "--by", "month", "--tz", "UTC", "--to", str(folder), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["parts"] == json.loads((folder / "split.json").read_text())["parts"]
    assert main(["ledger", "split", path, "--by", "month", "--to", str(folder)]) == 2
    assert "name another folder" in capsys.readouterr().err
