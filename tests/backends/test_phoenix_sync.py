"""`tokenmeter phoenix sync` against a real Phoenix, which `make test-backends` starts and names."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from tokenmeter.cli import main
from tokenmeter.cli.phoenix.client import ModelRow, PhoenixTable, TokenPrice

ENDPOINT = os.environ.get("BACKENDS_PHOENIX", "")
pytestmark = pytest.mark.skipif(not ENDPOINT, reason="needs a running Phoenix; `make test-backends` starts one")
PROVIDER = "groq"


@pytest.fixture
def table() -> Iterator[PhoenixTable]:
    """The table, without rows of ours before and after."""
    found = PhoenixTable(ENDPOINT)
    main(["phoenix", "remove", "--endpoint", ENDPOINT, "--json"])
    yield found
    main(["phoenix", "remove", "--endpoint", ENDPOINT, "--json"])


def phoenix(capsys: pytest.CaptureFixture[str], what: str, *flags: str) -> Any:
    capsys.readouterr()
    assert main(["phoenix", what, "--endpoint", ENDPOINT, "--json", *flags]) == 0
    return json.loads(capsys.readouterr().out)


def ours(table: PhoenixTable) -> dict[str, ModelRow]:
    return {row.name: row for row in table.rows() if " by tokenmeter" in row.name}


def test_a_second_sync_changes_nothing(table: PhoenixTable, capsys: pytest.CaptureFixture[str]) -> None:
    trial = phoenix(capsys, "sync", "--provider", PROVIDER, "--dry-run")
    assert trial["dry_run"]
    assert not ours(table)
    first = phoenix(capsys, "sync", "--provider", PROVIDER)
    assert first["created"] == trial["created"]
    assert len(first["created"]) > 10
    written = ours(table)
    assert set(written) == set(first["created"])
    again = phoenix(capsys, "sync", "--provider", PROVIDER)
    assert (again["created"], again["updated"], again["deleted"]) == ([], [], [])
    assert again["unchanged"] == len(first["created"])
    assert ours(table) == written


def test_a_row_that_somebody_changed_is_put_right(table: PhoenixTable, capsys: pytest.CaptureFixture[str]) -> None:
    phoenix(capsys, "sync", "--provider", PROVIDER)
    row = next(iter(ours(table).values()))
    assert not table.update(
        [row._replace(prices=frozenset({TokenPrice("input", True, 99.0), TokenPrice("output", False, 99.0)}))]
    )
    assert phoenix(capsys, "sync", "--provider", PROVIDER)["updated"] == [row.name]
    assert ours(table)[row.name].same(row)


def test_other_days_have_other_prices(table: PhoenixTable, capsys: pytest.CaptureFixture[str]) -> None:
    phoenix(capsys, "sync", "--provider", "openai", "--at", "2025-01-01")
    before = ours(table)
    changed = phoenix(capsys, "sync", "--provider", "openai", "--at", "2026-11-01")
    assert changed["created"]
    assert changed["updated"]
    assert ours(table) != before


def test_a_users_row_stays(table: PhoenixTable, capsys: pytest.CaptureFixture[str]) -> None:
    model = phoenix(capsys, "sync", "--provider", PROVIDER)["created"][0]
    mine = ours(table)[model]._replace(name="mine", id=None)
    phoenix(capsys, "remove")
    assert not table.create([mine])
    try:
        answer = phoenix(capsys, "sync", "--provider", PROVIDER)
        assert model not in answer["created"]
        assert [row["name"] for row in answer["yours"]] == ["mine"]
        (kept,) = [row for row in table.rows() if row.name == "mine"]
        assert kept.same(mine)
    finally:
        table.delete([row for row in table.rows() if row.name == "mine"])


def test_remove_takes_out_ours_alone(table: PhoenixTable, capsys: pytest.CaptureFixture[str]) -> None:
    others = {row.id for row in table.rows()}
    phoenix(capsys, "sync", "--provider", PROVIDER, "--provider", "ai21")
    phoenix(capsys, "remove", "--provider", PROVIDER)
    assert ours(table)
    assert all("(ai21 by tokenmeter)" in name for name in ours(table))
    phoenix(capsys, "remove")
    assert {row.id for row in table.rows()} == others


def test_what_phoenix_refuses_is_said(
    table: PhoenixTable, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that is taken between the look and the deed."""
    phoenix(capsys, "sync", "--provider", PROVIDER)
    monkeypatch.setattr(PhoenixTable, "rows", lambda self: [])
    assert main(["phoenix", "sync", "--endpoint", ENDPOINT, "--provider", PROVIDER]) == 1
    assert "already exists" in capsys.readouterr().out
