"""Colour and progress are for terminals only: each case is a real process on a pseudo-terminal, a pipe or both."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from typing import NamedTuple

import pytest

from tests.rigs.made_records import record, unpriced
from tokenmeter._support.text_tables import width
from tokenmeter.ledger.writer import Ledger

pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals")
pytest.importorskip("rich", reason="the extra `cli` is not installed")

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
WITHOUT_RICH = "import sys; sys.modules['rich'] = None; from tokenmeter.cli import main; sys.exit(main(sys.argv[1:]))"


class Ran(NamedTuple):
    """What a command wrote to each of its streams."""

    out: str
    err: str


def run(
    *arguments: str,
    out_is_terminal: bool,
    err_is_terminal: bool = False,
    lines: tuple[str, ...] = (),
    program: tuple[str, ...] = ("-m", "tokenmeter"),
    **environment: str,
) -> Ran:
    """Run a command; each of `lines` comes half a second and more after the one before."""
    ends = [pty.openpty() if terminal else os.pipe() for terminal in (out_is_terminal, err_is_terminal)]
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
    process = subprocess.Popen(
        [sys.executable, *program, *arguments],
        stdin=subprocess.PIPE,
        stdout=ends[0][1],
        stderr=ends[1][1],
        env=kept | {"TERM": "xterm-256color"} | environment,
    )
    found = ["", ""]
    readers = [threading.Thread(target=_read, args=(end[0], found, place)) for place, end in enumerate(ends)]
    for end, reader in zip(ends, readers, strict=True):
        os.close(end[1])
        reader.start()
    assert process.stdin is not None
    with process.stdin as stdin:
        for line in lines:
            stdin.write(f"{line}\n".encode())
            stdin.flush()
            time.sleep(0.8)
    assert process.wait(60) == (1 if "doctor" in arguments else 0)
    for reader in readers:
        reader.join()
    return Ran(*found)


def _read(descriptor: int, found: list[str], place: int) -> None:
    held = b""
    while True:
        try:
            block = os.read(descriptor, 65536)
        except OSError:  # how a pseudo-terminal ends
            break
        if not block:
            break
        held += block
    os.close(descriptor)
    found[place] = held.decode().replace("\r\n", "\n")


@pytest.fixture(scope="module")
def spend(tmp_path_factory: pytest.TempPathFactory) -> str:
    ledger = Ledger(tmp_path_factory.mktemp("spend") / "spend.db")
    ledger.write(record(tags={"team": "搜索 [bold]x[/bold]"}))
    ledger.write(record(unpriced()))
    ledger.close(30)
    return ledger.path


@pytest.mark.parametrize("command", ["report", "doctor"])
def test_colour_is_for_terminals_and_changes_no_character(command: str, spend: str) -> None:
    asked = ["report", spend, "--by", "model,team"] if command == "report" else ["doctor", "--ledger", spend]
    plain = run(*asked, out_is_terminal=False, COLUMNS="80").out
    assert "\x1b" not in plain
    coloured = run(*asked, out_is_terminal=True, COLUMNS="80").out
    assert "\x1b[" in coloured
    assert ESCAPE.sub("", coloured) == plain


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=str)
def test_colour_is_switched_off(environment: dict[str, str], spend: str) -> None:
    assert "\x1b" not in run("report", spend, out_is_terminal=True, **environment).out


def test_without_the_extra_the_text_is_plain(spend: str) -> None:
    assert "\x1b" not in run("report", spend, out_is_terminal=True, program=("-c", WITHOUT_RICH)).out


def test_the_price_list_fits_a_terminal_and_is_whole_in_a_pipe() -> None:
    shown = run("prices", "list", out_is_terminal=True, COLUMNS="80").out.splitlines()
    piped = run("prices", "list", out_is_terminal=False, COLUMNS="80").out.splitlines()
    assert len(shown) == len(piped)
    assert shown[0].split() == piped[0].split() == ["provider", "model", "in", "input", "cached", "output"]
    assert max(map(width, shown[:-1])) == 80
    assert max(map(width, piped[:-1])) > 80
    assert "…" not in "".join(piped)


LINES = ('{"model": "gpt-4o", "text": "a"}', '{"model": "gpt-4o", "text": "b"}')


@pytest.mark.parametrize(
    ("out_is_terminal", "err_is_terminal", "environment", "shown"),
    [
        pytest.param(False, True, {}, True, id="to a file, watched"),
        pytest.param(False, True, {"NO_COLOR": "1"}, True, id="watched without colour"),
        pytest.param(False, True, {"TERM": "dumb"}, False, id="a terminal that cannot go back"),
        pytest.param(True, True, {}, False, id="answers on the same terminal"),
        pytest.param(False, False, {}, False, id="in a pipeline"),
    ],
)
def test_progress_of_long_work(
    out_is_terminal: bool, err_is_terminal: bool, environment: dict[str, str], shown: bool
) -> None:
    asked = ("count", "--jsonl", "-")
    done = run(*asked, out_is_terminal=out_is_terminal, err_is_terminal=err_is_terminal, lines=LINES, **environment)
    assert done.out.count('"tokens": 1') == 2
    assert "\x1b" not in done.out
    assert ("bytes" in done.err) is shown
    assert shown or not done.err
    if environment.get("NO_COLOR"):
        assert not re.search(r"\x1b\[[0-9;]*m", re.sub(r"\x1b\[[01]?m", "", done.err))
