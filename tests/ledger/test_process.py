"""The ledger among processes: exits of every kind, kills, forks, several writers, a full disk, a read-only folder.

Each case runs a real program in a process of its own and reads the file it left.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
from contextlib import closing
from pathlib import Path

import pytest

from tests.rigs.services import until

ROOT = Path(__file__).parents[2]
PREAMBLE = """
import atexit, multiprocessing, os, sqlite3, sys, threading, time
from tests.rigs.made_records import record
import tokenmeter.cost
from tokenmeter.ledger.writer import Ledger

path = sys.argv[1]
"""


def program(body: str) -> list[str]:
    return [sys.executable, "-c", PREAMBLE + textwrap.dedent(body)]


def environment() -> dict[str, str]:
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


def run(body: str, path: Path, *, status: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*program(body), str(path)], env=environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == status, done.stderr
    return done


def ids(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        return [row[0] for row in connection.execute("SELECT id FROM calls ORDER BY seq")]


def committed(path: Path) -> int:
    with closing(sqlite3.connect(path, timeout=30)) as reader:
        if not reader.execute("SELECT 1 FROM sqlite_master WHERE name = 'calls'").fetchone():
            return 0  # the file is there before its tables are
        return int(reader.execute("SELECT count(*) FROM calls").fetchone()[0])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spend.db"


@pytest.mark.parametrize(
    ("ending", "status"),
    [
        pytest.param("", 0, id="end of the script"),
        pytest.param("sys.exit(3)", 3, id="sys.exit"),
        pytest.param("raise ValueError('theirs')", 1, id="exception"),
        pytest.param("raise KeyboardInterrupt", -signal.SIGINT, id="interrupt"),
        pytest.param("threading.Thread(target=lambda: time.sleep(0.3)).start()", 0, id="another thread lives on"),
    ],
)
def test_a_normal_exit_loses_nothing(path: Path, ending: str, status: int) -> None:
    body = f"ledger = Ledger(path)\nfor n in range(700): ledger.write(record(id=str(n)))\n{ending}\n"
    done = run(body, path, status=status)
    assert ids(path) == [str(number) for number in range(700)]
    assert "tokenmeter" not in done.stderr


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(
            "ledger = Ledger(path)\natexit.register(lambda: ledger.write(record(id='late')))\n",
            id="first record at exit",
        ),
        pytest.param(
            "ledger = Ledger(path)\natexit.register(lambda: ledger.write(record(id='late')))\n"
            "ledger.write(record(id='early'))\n",
            id="after the ledger closed",
        ),
        pytest.param(
            "ledger = Ledger(path)\nledger.write(record(id='early'))\n"
            "class Last:\n    def __del__(self): ledger.write(record(id='late'))\n"
            "last = Last()\natexit.register(lambda: globals().pop('last'))\n",
            id="from a finalizer",
        ),
    ],
)
def test_records_of_exit_handlers_are_kept(path: Path, body: str) -> None:
    done = run(body, path)
    assert ids(path)[-1] == "late"
    assert not done.stderr


def test_a_killed_process_loses_no_more_than_its_last_moment(path: Path) -> None:
    body = """
        ledger = Ledger(path)
        for n in range(1_000): ledger.write(record(id=f"first-{n}"))
        print("written", flush=True)
        sys.stdin.readline()
        for n in range(10): ledger.write(record(id=f"last-{n}"))
        os.kill(os.getpid(), 9)
    """
    child = subprocess.Popen(
        [*program(body), str(path)], env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stdout.readline() == "written\n"
    until(lambda: committed(path) == 1_000, "the writer's own commit, without a flush")
    child.stdin.write("\n")
    child.stdin.flush()
    assert child.wait(30) == -signal.SIGKILL
    child.stdin.close()
    child.stdout.close()
    left = ids(path)
    assert left[:1_000] == [f"first-{number}" for number in range(1_000)]
    assert len(left) <= 1_010


FORK = """
    ledger = Ledger(path)
    for n in range(20): ledger.write(record(id=f"parent-before-{{n}}"))
    {before}
    children = []
    for c in range(4):
        child = os.fork()
        if child == 0:
            for n in range(300): ledger.write(record(id=f"child{{c}}-{{n}}"))
            {child}
        children.append(child)
        for n in range(50): ledger.write(record(id=f"parent-{{c}}-{{n}}"))
    for child in children: assert os.waitpid(child, 0)[1] == 0
    for n in range(20): ledger.write(record(id=f"parent-after-{{n}}"))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize(
    ("before", "child"),
    [
        pytest.param("", "sys.exit(0)", id="records waiting"),
        pytest.param("assert ledger.flush()", "sys.exit(0)", id="connection open"),
        pytest.param("assert ledger.flush()", "assert ledger.flush(20); os._exit(0)", id="child flushes and leaves"),
        pytest.param("ledger.close()", "sys.exit(0)", id="closed before"),
    ],
)
def test_a_fork_doubles_and_loses_nothing(path: Path, before: str, child: str) -> None:
    run(FORK.format(before=before, child=child), path)
    expected = {f"parent-{when}-{n}" for when in ("before", "after") for n in range(20)}
    expected |= {f"parent-{c}-{n}" for c in range(4) for n in range(50)}
    expected |= {f"child{c}-{n}" for c in range(4) for n in range(300)}
    left = ids(path)
    assert len(left) == len(set(left))
    assert set(left) == expected


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_forks_while_the_writer_is_busy(path: Path) -> None:
    run(
        """
        ledger = Ledger(path)
        stop = threading.Event()
        written = [0]
        def work():
            while not stop.is_set():
                ledger.write(record(id=f"parent-{written[0]}")); written[0] += 1; time.sleep(0.0002)
        thread = threading.Thread(target=work); thread.start()
        for c in range(15):
            time.sleep(0.03)
            child = os.fork()
            if child == 0:
                ledger.write(record(id=f"child-{c}")); assert ledger.flush(20); os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
        stop.set(); thread.join()
        assert ledger.flush(20)
        with sqlite3.connect(path) as db:
            count, = db.execute("SELECT count(*) FROM calls WHERE id LIKE 'parent-%'").fetchone()
        assert count == written[0], (count, written)
        """,
        path,
    )
    assert {f"child-{c}" for c in range(15)} <= set(ids(path))


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_of_multiprocessing_lose_nothing_at_their_end(tmp_path: Path, method: str) -> None:
    path = tmp_path / "spend.db"
    script = tmp_path / "script.py"
    script.write_text(
        PREAMBLE
        + textwrap.dedent(f"""
        def work(name):
            ledger = Ledger(path)
            for n in range(50): ledger.write(record(id=f"{{name}}-{{n}}"))

        if __name__ == "__main__":
            context = multiprocessing.get_context("{method}")
            children = [context.Process(target=work, args=(name,)) for name in "ab"]
            for child in children: child.start()
            for child in children: child.join(); assert child.exitcode == 0
        """)
    )
    done = subprocess.run(
        [sys.executable, str(script), str(path)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert set(ids(path)) == {f"{name}-{n}" for name in "ab" for n in range(50)}


def test_processes_share_one_file(path: Path) -> None:
    body = """
        ledger = Ledger(path)
        sys.stdin.readline()
        for n in range(1_500):
            ledger.write(record(id=f"{os.getpid()}-{n}"))
            if n % 50 == 0: time.sleep(0.01)
    """
    children = [
        subprocess.Popen([*program(body), str(path)], env=environment(), stdin=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for child in children:  # all create the file at once
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.close()
    assert [child.wait(60) for child in children] == [0, 0, 0]
    assert len(set(ids(path))) == 4_500


def test_a_full_disk_delays_and_loses_nothing(path: Path) -> None:
    resource = pytest.importorskip("resource", reason="no file size limits on this system")
    assert resource.RLIMIT_FSIZE is not None
    done = run(
        """
        import resource, signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write beyond the limit fails, as on a full disk
        ledger = Ledger(path)
        ledger.write(record(id="early"))
        assert ledger.flush(20)
        resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize(path + "-wal") + 4096, resource.RLIM_INFINITY))
        for n in range(2_000): ledger.write(record(id=f"r{n}"))
        assert not ledger.flush(1)
        assert ledger.health()["problem"], ledger.health()
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert ledger.flush(20), ledger.health()
        assert ledger.health()["problem"] is None
        """,
        path,
    )
    assert "disk" in done.stderr
    assert ids(path) == ["early", *(f"r{number}" for number in range(2_000))]


def test_a_folder_that_cannot_be_written_harms_nobody() -> None:
    with tempfile.TemporaryDirectory() as name:  # not pytest's, which other users cannot enter
        os.chmod(name, 0o555)
        body = """
            import sqlite3
            from datetime import UTC, datetime
            from tokenmeter.ledger import rows as ledger_rows, file as ledger_file
            if os.getuid() == 0:
                os.setgid(65534); os.setuid(65534)  # root may write anywhere
            ledger = Ledger(path)
            ledger.write(record())
            assert not ledger.flush(0.5)
            print(ledger.health()["problem"])
        """
        done = run(body, Path(name) / "spend.db")
        assert "give this user the right to write" in done.stdout
        assert "1 calls are not in the ledger" in done.stderr
        assert "Traceback" not in done.stderr
