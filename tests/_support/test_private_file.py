"""Ledgers and calibration files are their owner's alone."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tokenmeter import Tokenmeter, Usage
from tokenmeter._support.private_file import create_private
from tokenmeter.tokens.calibration.store import FileStore


@pytest.fixture(autouse=True)
def open_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def spend(meter: Tokenmeter) -> None:
    with meter.call(provider="deepseek", model="deepseek-chat") as call:
        call.observe_usage(Usage(input_tokens=10, output_tokens=2))
    assert meter.flush()


def test_a_new_ledger_is_private_with_the_files_beside_it(tmp_path: Path) -> None:
    meter = Tokenmeter(ledger=str(tmp_path / "spend.db"))
    spend(meter)
    modes = {path.name: mode(path) for path in tmp_path.iterdir()}
    meter.shutdown()
    assert set(modes) >= {"spend.db", "spend.db-wal", "spend.db-shm"}
    assert set(modes.values()) == {0o600}


def test_a_ledger_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "spend.db"
    path.touch()
    path.chmod(0o640)
    meter = Tokenmeter(ledger=str(path))
    spend(meter)
    meter.shutdown()
    assert mode(path) == 0o640


def test_a_calibration_file_is_private(tmp_path: Path) -> None:
    path = tmp_path / "learnt.db"
    FileStore(path).forget()
    assert mode(path) == 0o600


def test_a_link_that_points_nowhere_creates_nothing(tmp_path: Path) -> None:
    link, target = tmp_path / "spend.db", tmp_path / "elsewhere.db"
    link.symlink_to(target)
    with pytest.raises(OSError, match=r"elsewhere\.db, which does not exist"):
        create_private(str(link))
    assert not target.exists()


def test_a_link_to_a_file_is_followed(tmp_path: Path) -> None:
    link, target = tmp_path / "spend.db", tmp_path / "elsewhere.db"
    target.write_bytes(b"as it was")
    link.symlink_to(target)
    create_private(str(link))
    assert target.read_bytes() == b"as it was"
