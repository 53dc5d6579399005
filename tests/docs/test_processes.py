"""Every recipe of docs/processes.md is run in a process that ends as it says, and loses no call."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

PAGE = (Path(__file__).resolve().parents[2] / "docs/processes.md").read_text(encoding="utf-8")
CHINESE = (Path(__file__).resolve().parents[2] / "docs/zh/processes.md").read_text(encoding="utf-8")
SECONDS = 30
PRELUDE = """
import os, signal, sys, time
import tokenmeter
tokenmeter.configure(ledger={path!r}, ledger_sync={sync})
def ask(*_):
    with tokenmeter.call(provider="deepseek", model="deepseek-chat") as call:
        call.observe_usage(tokenmeter.Usage(input_tokens=10, output_tokens=1))
"""
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


def recipe(heading: str) -> str:
    """The Python block below a heading of the page."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    found = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert found is not None, heading
    return found[1]


def test_the_chinese_page_has_the_same_recipes_and_numbers() -> None:
    for found in (
        re.compile(r"```python\n.*?```", re.DOTALL),
        re.compile(r"`[^`\n]+`"),
        re.compile(r"[0-9]+(?:\.[0-9]+)?"),
    ):
        assert sorted(found.findall(CHINESE.replace("[English](../processes.md)", ""))) == sorted(found.findall(PAGE))
    assert CHINESE.count("\n## ") == PAGE.count("\n## ")


def rows(path: Path) -> list[tuple[str, str | None]]:
    with contextlib.closing(sqlite3.connect(path)) as ledger:
        return ledger.execute("SELECT status, cost_reason FROM calls").fetchall()


def run(tmp_path: Path, body: str, *, sync: bool = False) -> tuple[int, list[tuple[str, str | None]]]:
    path, program = tmp_path / "spend.db", tmp_path / "program.py"
    program.write_text(PRELUDE.format(path=str(path), sync=sync) + body, encoding="utf-8")
    done = subprocess.run([sys.executable, str(program)], timeout=60, check=False)
    return done.returncode, rows(path)


KILLED = "os.kill(os.getpid(), signal.SIGTERM)\ntime.sleep(10)\n"


@pytest.mark.parametrize(
    ("body", "code", "calls"),
    [
        pytest.param(recipe("SIGTERM") + "ask(); ask()\n" + KILLED, 143, 2, id="SIGTERM"),
        pytest.param(recipe("multiprocessing.Pool"), 0, 5, id="Pool"),
        pytest.param("ask()\n" + recipe("fork and os._exit"), 0, 2, id="fork and os._exit"),
        pytest.param(
            recipe("AWS Lambda") + "handler({}, None)\nos.kill(os.getpid(), signal.SIGKILL)\n", -9, 1, id="Lambda"
        ),
    ],
)
def test_a_process_that_follows_its_recipe_loses_nothing(body: str, code: int, calls: int, tmp_path: Path) -> None:
    assert run(tmp_path, body) == (code, [("priced", None)] * calls)


def test_a_synchronous_ledger_has_every_call_of_a_killed_process(tmp_path: Path) -> None:
    body = "for _ in range(5): ask()\nos.kill(os.getpid(), signal.SIGKILL)\n"
    assert run(tmp_path, body, sync=True) == (-9, [("priced", None)] * 5)


def test_the_first_record_of_a_killed_process_is_there_within_the_window(tmp_path: Path) -> None:
    # Ten times the window: the machine that tests may be busy.
    code, found = run(tmp_path, "ask()\ntime.sleep(2)\nos.kill(os.getpid(), signal.SIGKILL)\n")
    assert (code, len(found)) == (-9, 1)


def _needs(*modules: str) -> None:
    for module in modules:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _until(found: Callable[[], bool]) -> None:
    until = time.monotonic() + SECONDS
    while not found():
        assert time.monotonic() < until
        time.sleep(0.05)


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError):
        return bool(urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).read())
    return False


def _served(tmp_path: Path, command: list[str], port: int) -> list[tuple[str, str | None]]:
    """Make three calls of a server and end it by SIGTERM at once; what the ledger has."""
    server = subprocess.Popen([sys.executable, "-m", *command], cwd=tmp_path, stderr=subprocess.DEVNULL)
    try:
        _until(lambda: _answers(port))
        for _ in range(2):
            assert _answers(port)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(SECONDS)
    return rows(tmp_path / "spend.db")


@pytest.mark.parametrize("preload", [False, True])
def test_gunicorn(preload: bool, tmp_path: Path) -> None:
    _needs("gunicorn")
    port = _free_port()
    (tmp_path / "gunicorn.conf.py").write_text(recipe("gunicorn") + f"\npreload_app = {preload}\n", encoding="utf-8")
    (tmp_path / "app.py").write_text(
        PRELUDE.format(path=str(tmp_path / "spend.db"), sync=False)
        + "def app(environ, start):\n    ask()\n    start('200 OK', [])\n    return [b'done']\n",
        encoding="utf-8",
    )
    assert (
        _served(tmp_path, ["gunicorn", "-w", "2", "-b", f"127.0.0.1:{port}", "app:app"], port) == [("priced", None)] * 3
    )


def test_uvicorn(tmp_path: Path) -> None:
    _needs("uvicorn", "fastapi")
    port = _free_port()
    (tmp_path / "app.py").write_text(
        PRELUDE.format(path=str(tmp_path / "spend.db"), sync=False)
        + recipe("uvicorn")
        + "from fastapi import FastAPI\napp = FastAPI(lifespan=lifespan)\n"
        "@app.get('/')\ndef answer():\n    ask()\n    return 'done'\n",
        encoding="utf-8",
    )
    assert _served(tmp_path, ["uvicorn", "--port", str(port), "app:app"], port) == [("priced", None)] * 3


def test_celery(tmp_path: Path) -> None:
    _needs("celery")
    path = tmp_path / "spend.db"
    folders = {"data_folder_in": str(tmp_path / "queue"), "data_folder_out": str(tmp_path / "queue")}
    (tmp_path / "queue").mkdir()
    (tmp_path / "jobs.py").write_text(
        PRELUDE.format(path=str(path), sync=False)
        + recipe("Celery")
        + f"from celery import Celery\napp = Celery(broker='filesystem://')\n"
        f"app.conf.broker_transport_options = {folders!r}\n"
        "@app.task\ndef job():\n    ask()\n    open('done', 'a').write('x')\n",
        encoding="utf-8",
    )
    worker = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "jobs", "worker", "--pool", "prefork", "-c", "1"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        send = "import jobs; [jobs.job.delay() for _ in range(3)]"
        subprocess.run([sys.executable, "-c", send], cwd=tmp_path, check=True, timeout=60)
        done = tmp_path / "done"
        _until(lambda: done.exists() and len(done.read_text()) == 3)
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait(SECONDS)
    assert rows(path) == [("priced", None)] * 3
