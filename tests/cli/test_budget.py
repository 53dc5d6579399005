"""`tokenmeter budget`: a table of commands over one store, with exit status and answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tokenmeter.cli import main

BUDGETS = """
[day]
limit = "1 CNY"
per = "total"

[users]
limit = "1000 tokens"
per = "total"
each = "user"

[few]
limit = "3 calls"
per = "total"
where = { team = "search" }
"""


@pytest.fixture
def flags(tmp_path: Path) -> list[str]:
    (tmp_path / "budgets.toml").write_text(BUDGETS)
    return ["--budgets", str(tmp_path / "budgets.toml"), "--store", f"sqlite:{tmp_path / 'budgets.db'}"]


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, object]:
    status = main(["budget", *arguments, "--json"])
    return status, json.loads(capsys.readouterr().out)


def test_what_is_charged_is_shown_and_checked(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    call = ["--amount", "0.3 CNY", "--tokens", "700", "--tag", "user=u1", "--tag", "team=search"]
    assert answer(capsys, "charge", *call, *flags) == (0, {"charged": ["day", "users u1", "few"]})
    _, shown = answer(capsys, "show", *flags)
    assert isinstance(shown, list)
    assert [(one["budget"], one["value"], one["spent"], one["left"]) for one in shown] == [
        ("day", None, "0.3", "0.7"),
        ("users", "u1", "700", "300"),
        ("few", None, "1", "2"),
    ]
    status, checked = answer(capsys, "check", *call, *flags)
    assert status == 1
    assert isinstance(checked, list)
    assert [(one["budget"], one["fits"]) for one in checked] == [("day", True), ("users", False), ("few", True)]
    assert answer(capsys, "check", "--amount", "0.7 CNY", *flags)[0] == 0
    assert answer(capsys, "reset", "users", "--value", "u1", *flags) == (0, {"reset": ["users u1"]})
    assert answer(capsys, "check", *call, *flags)[0] == 0
    assert main(["budget", "show", *flags]) == 0
    assert "users u1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["charge"], "--amount or --tokens"),
        (["charge", "--amount", "5 calls"], "--amount '5 calls'"),
        (["check", "--tag", "team"], "--tag 'team'"),
        (["reset", "unknown"], "there are day, users, few"),
        (["show", "--store", "mongodb://x"], "--store"),
        (["show", "--store", "memory"], "their process alone"),
        (["show", "--budgets", "missing.toml"], "cannot be read"),
    ],
)
def test_bad_flags_are_named(
    arguments: list[str], named: str, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    given = [*flags, *arguments[1:]] if "--store" in arguments or "--budgets" in arguments else [*arguments[1:], *flags]
    assert main(["budget", arguments[0], *given]) == 2
    assert named in capsys.readouterr().err
