"""`tokenmeter completion`: what a shell makes of the script."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tokenmeter.cli import COMMANDS, main


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        pytest.param("tokenmeter pri", {"price", "prices"}, id="commands"),
        pytest.param("tokenmeter report --conv", {"--convert"}, id="flags"),
        pytest.param("tokenmeter prices h", {"history"}, id="commands of a command"),
        pytest.param("tokenmeter report --json sp", {"spend.db"}, id="files"),
    ],
)
def test_bash_completes(line: str, offered: set[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab", reason="the extra `cli` is not installed")
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "script"
    script.write_text(capsys.readouterr().out)
    (tmp_path / "spend.db").touch()
    words = line.split()
    asked = (
        f"source {script}; cd {tmp_path}; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; COMP_LINE='{line}'; "
        f"COMP_POINT={len(line)}; _shtab_tokenmeter; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == offered


def test_every_shell_gets_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab", reason="the extra `cli` is not installed")
    for shell in ("bash", "zsh", "tcsh"):
        assert main(["completion", shell]) == 0
        script = capsys.readouterr().out
        assert all(name in script for name in COMMANDS)


def test_without_shtab_the_extra_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "shtab", None)
    assert main(["completion", "bash"]) == 2
    assert "pip install 'tokenmeter-sdk[cli]'" in capsys.readouterr().err
