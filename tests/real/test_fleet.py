"""A short run of programs that write into a database which crashes."""

from __future__ import annotations

from pathlib import Path

from tests.real.fleet import CRASHES, run_fleet
from tests.rigs.postgres_server import postgres_server


def test_a_database_that_crashes_holds_what_a_plain_ledger_holds(tmp_path: Path) -> None:
    with postgres_server() as server:
        found = run_fleet(8_000, tmp_path, server, pause=0.2)
    assert found.holds, found.lines()
    assert 1 <= found.crashes <= CRASHES
