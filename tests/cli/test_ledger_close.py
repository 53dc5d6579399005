"""`tokenmeter ledger close`: sealing and checking from a shell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.rigs.made_records import priced, record, unpriced
from tokenmeter.cli import main
from tokenmeter.ledger.writer import Ledger

pytest.importorskip("pyarrow")


def run(*words: str) -> int:
    return main(["ledger", "close", *words])


def test_a_month_is_sealed_checked_and_late_calls_are_shown(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "spend.db"
    for amount in ("0.25", "0.5"):
        ledger = Ledger(path)
        ledger.write(record(priced(amount)))
        ledger.write(record(unpriced()))
        ledger.close(30)
        if amount == "0.25":
            assert run(str(path), "2026-11", "--tz", "UTC", "--unfinished") == 0
            said = capsys.readouterr().out.splitlines()
            assert said[0].startswith(f"{tmp_path}/sealed/calls-2026-11.parquet: 2 calls of 2026-11 (UTC), sha256 ")
            assert said[1:] == ["  0.25 CNY by 1 calls", "  1 calls have no known cost"]
    assert run(str(path), "--verify") == 0
    said = capsys.readouterr().out.splitlines()
    assert said == [f"{tmp_path}/sealed/calls-2026-11.parquet: sound", "  2 calls arrived late: 0.5 CNY"]
    assert run(str(path), "2026-11", "--verify", "--json") == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["problems"], found["late_calls"], found["late_amounts"]) == ([], 2, {"CNY": "0.5"})


def test_a_damaged_month_ends_with_1(tmp_path: Path, capsys: Any) -> None:
    ledger = Ledger(tmp_path / "spend.db")
    ledger.write(record(priced("1")))
    ledger.close(30)
    run(str(tmp_path / "spend.db"), "2026-11", "--unfinished", "--folder", str(tmp_path / "months"))
    sealed = tmp_path / "months" / "calls-2026-11.parquet"
    data = bytearray(sealed.read_bytes())
    data[40] ^= 1
    sealed.write_bytes(data)
    assert run(str(tmp_path / "spend.db"), "--verify", "--folder", str(tmp_path / "months")) == 1
    assert "digest" in capsys.readouterr().out
