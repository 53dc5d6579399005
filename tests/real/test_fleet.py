"""A short run of programs that write into a database which crashes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.real.fleet import CRASHES, ENGINES, run_fleet


@pytest.mark.parametrize("engine", ENGINES)
def test_a_database_that_crashes_holds_what_a_plain_ledger_holds(tmp_path: Path, engine: str) -> None:
    with ENGINES[engine].server() as server:
        found = run_fleet(8_000, tmp_path, server, ENGINES[engine], pause=0.2)
    assert found.holds, found.lines()
    assert 1 <= found.crashes <= CRASHES
