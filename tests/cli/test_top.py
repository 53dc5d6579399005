"""`tokenmeter top` on a real pseudo-terminal: it follows the ledger, and gives the terminal back as it was."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.ledger.page.test_document import HOSTILE
from tests.rigs.made_records import priced, record, unpriced
from tests.rigs.spend_story import write
from tokenmeter._support.text_tables import width
from tokenmeter.cli import main
from tokenmeter.record import Record

pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals")
pytest.importorskip("rich", reason="the extra `cli` is not installed")

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
BUDGETS = '[day]\nlimit = "10 CNY"\nper = "day"\n'


def ago(cost: object, minutes: float, **changes: object) -> Record:
    ended = (datetime.now(UTC) - timedelta(minutes=minutes)).replace(microsecond=0)
    return record(cost, ended=ended, **changes)  # type: ignore[arg-type]


@pytest.fixture
def spend(tmp_path: Path) -> str:
    search, ads = {"team": "search"}, {"team": "ads"}
    day = {"day": "2026-11-30"}
    return write(
        tmp_path / "spend.db",
        iter([
            ago(priced("100"), 30 * 60, tags=search), ago(priced("4"), 300, tags=search, budget_window=day),
            ago(priced("2.5"), 30, tags=ads), ago(priced("0.25"), 0.2, tags=ads, budget_window=day),
            ago(priced("7", "USD", model="gpt-5", provider="openai"), 90, tags=ads, provider="openai"),
            ago(unpriced("no rate for this"), 20, tags=search, request_model="nameless"),
        ]),
    )  # fmt: skip


def once(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert main(["top", *arguments, "--once"]) == 0
    return capsys.readouterr().out.splitlines()


def test_one_frame(spend: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "budgets.toml").write_text(BUDGETS)
    lines = once(capsys, spend, "--tz", "UTC", "--budgets", str(tmp_path / "budgets.toml"))
    assert lines[0].startswith("tokenmeter top")
    assert [line.split()[:5] for line in lines[1:5]] == [
        ["minute", "hour", "24", "hours", "calls"],
        ["CNY", "0.250", "2.750", "6.750", "3"],
        ["USD", "0.00", "0.00", "7.00", "1"],
        ["unpriced", "calls", "0", "1", "1"],
    ]
    text = "\n".join(lines)
    assert re.search(r"^deepseek-chat +2\.75 +6\.75 +CNY +█", text, re.M)
    assert re.search(r"^gpt-5 +0\.00 +7\.00 +USD +█", text, re.M)
    assert re.search(r"^nameless +1 calls +1 calls +unpriced", text, re.M)
    assert re.search(r"^search +0\.00 +4\.00 +CNY", text, re.M)
    assert "1 unpriced: no rate for this" in text
    assert "budget day 2026-11-30  4.25 CNY of 10  42.5%" in text


def test_its_sums_are_the_reports(spend: str, capsys: pytest.CaptureFixture[str]) -> None:
    (found,) = (line.split() for line in once(capsys, spend) if line.startswith("CNY"))
    for shown, since in ((found[2], "1h"), (found[3], "24h")):
        assert main(["report", spend, "--by", "", "--since", since, "--json"]) == 0
        totals = json.loads(capsys.readouterr().out)["totals"]
        assert float(shown) == float(next(row["cost"] for row in totals if row["currency"] == "CNY"))


@pytest.mark.parametrize("columns", ["60", "80", "120", "200"])
def test_a_frame_fits_the_terminal_whatever_the_names(
    columns: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    names = [*HOSTILE, "[bold red]x[/]", ":smile:", "通义千问超大规模语言模型旗舰版二零二六年十一月"]
    path = write(
        tmp_path / "\x1b[31m[bold]x.db",
        iter([
            ago(cost, 5, tags={"team": name}, request_model=name, budget_window={name: name})
            for name in names for cost in (priced("1", model=name), unpriced(name))
        ]),
    )  # fmt: skip
    lines = once(capsys, path, "--by", "model,team")
    text = "\n".join(lines)
    assert all(one.isprintable() for one in text.replace("\n", ""))
    assert max(map(width, lines)) <= int(columns)
    assert "minute" in lines[1]
    if columns == "200":
        assert all(said in text for said in ("[bold red]x[/]", ":smile:", "<script>", "\\x1b[31mred"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--by", "taem"], "--by taem: no call has this tag; did you mean 'team'"),
        (["--by", "day"], "--by day: a page has its own periods"),
        (["--interval", "nan"], "'nan' is not a number of seconds"),
        ([], "top draws on a terminal; for one frame in a file or a pipe add --once"),
    ],
)
def test_mistakes_are_answered_in_one_line(
    arguments: list[str], said: str, spend: str, capsys: pytest.CaptureFixture[str]
) -> None:
    once_ = ["--once"] if arguments and arguments[0] == "--by" else []
    assert main(["top", spend, *arguments, *once_]) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def test_no_ledger_yet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", str(tmp_path / "none.db"), "--once"]) == 2
    assert "there is no ledger" in capsys.readouterr().err


class Terminal:
    """A program on a pseudo-terminal of 100 by 30, and what it has written so far."""

    def __init__(self, *arguments: str) -> None:
        ours, theirs = pty.openpty()
        kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tokenmeter", *arguments], stdin=theirs, stdout=theirs, stderr=theirs,
            env=kept | {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"}, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        os.set_blocking(ours, False)
        self._end = ours
        self.text = ""

    def until(self, *words: str, seconds: float = 30) -> str:
        """Read until all words have come since the last call; what came."""
        before, deadline = len(self.text), time.monotonic() + seconds
        while not all(word in ESCAPE.sub("", self.text[before:]) for word in words):
            assert time.monotonic() < deadline, self.text[before:]
            self.read()
            time.sleep(0.02)
        return self.text[before:]

    def read(self) -> None:
        try:
            self.text += os.read(self._end, 1 << 20).decode(errors="replace")
        except (BlockingIOError, OSError):  # nothing now, or the other end is closed
            return

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        status = self.process.wait(20)
        self.read()
        os.close(self._end)
        return status


@pytest.fixture
def terminal(spend: str) -> Iterator[Terminal]:
    started = Terminal("top", spend, "--interval", "0.2", "--tz", "UTC")
    yield started
    if started.process.poll() is None:
        started.process.kill()
        started.process.wait()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_it_follows_the_ledger_and_leaves_the_terminal_clean(
    number: int, status: int, spend: str, terminal: Terminal
) -> None:
    terminal.until("tokenmeter top", "deepseek-chat")
    assert "\x1b[?1049h" in terminal.text  # the other screen
    write(spend, iter([ago(priced("31.5", model="qwen-max"), 0.1, provider="alibaba", tags={"team": "new"})]))
    came = terminal.until("qwen-max", "31.50")
    assert came.count("\n") <= 30 * came.count("tokenmeter top") + 30
    assert terminal.end(number) == status
    after = terminal.text.rpartition("\x1b[?1049l")  # back on the screen from before
    assert after[1]
    assert "\x1b[?25h" in terminal.text[-60:]  # with its cursor
    assert ESCAPE.sub("", after[2]).strip() == ""  # and nothing else


def test_a_ledger_that_goes_away_is_said_and_comes_back(spend: str, terminal: Terminal) -> None:
    terminal.until("deepseek-chat")
    kept = Path(spend).with_suffix(".kept")
    Path(spend).rename(kept)
    terminal.until("there is no ledger")
    kept.rename(spend)
    terminal.until("deepseek-chat")
    assert terminal.end(signal.SIGINT) == 130


def test_without_rich_it_says_what_to_install(spend: str) -> None:
    program = "import sys; sys.modules['rich'] = None; from tokenmeter.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", program, "top", spend, "--once"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert done.stderr == "tokenmeter: top draws with rich: pip install 'tokenmeter-sdk[cli]'\n"
