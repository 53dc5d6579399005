"""The frame of the command line: what is offered, what is loaded, and how commands end."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tokenmeter._support.text_tables import width
from tokenmeter.cli import COMMANDS, _parser, main


def test_help_lists_the_commands_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert "report" in printed
    assert COMMANDS["doctor"] in printed


def test_help_loads_no_command_and_nothing_heavy() -> None:
    script = (
        "import sys; from tokenmeter.cli import main; main(['--help'])\n"
        "heavy = ('sqlite3', 'tiktoken', 'openai', 'asyncio', 'zoneinfo', 'tomllib', 'opentelemetry')\n"
        "print([name for name in sys.modules if name.partition('.')[0] in heavy or name == 'tokenmeter.cli.report'])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("tokenmeter ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param([], "commands:", id="nothing asked"),
        pytest.param(["reprot"], "there is no command 'reprot'; did you mean 'report'?", id="typo"),
        pytest.param(["xyzzy"], "the commands are", id="nonsense"),
        pytest.param(["report", "--colour"], "unrecognized arguments: --colour", id="unknown flag"),
    ],
)
def test_bad_flags_end_with_2(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert words in printed.err + printed.out


def subcommands(parser: argparse.ArgumentParser, names: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield names
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, one in action.choices.items():
                yield from subcommands(one, (*names, name))


@pytest.mark.parametrize("columns", [80, 120])
def test_every_help_fits_the_terminal(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    parser, _ = _parser(None, whole=True)
    for names in subcommands(parser):
        assert main([*names, "--help"]) == 0
        printed = capsys.readouterr().out
        assert [line for line in printed.splitlines() if width(line) > columns] == [], names
