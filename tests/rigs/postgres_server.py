"""A PostgreSQL server on loopback and a random port, ended whatever happens."""

from __future__ import annotations

import contextlib
import os
import pwd
import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.rigs.services import until

__all__ = ["PASSWORD", "PostgresServer", "postgres_server"]

PASSWORD = "s3cret-word"
_OPTIONS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "listen_addresses": "127.0.0.1",
    "max_connections": "50",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
}


class PostgresServer:
    """A server that can be stopped as a crash does, and started again at the same port with what it had."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._folder = folder
        self.port = 0
        self._take_port()

    def _take_port(self) -> None:
        # Below the ports that the system gives out: while the server is down, no other socket gets its own.
        self.port = next(port for port in iter(lambda: random.randrange(20_000, 32_000), 0) if _is_free(port))
        self.url = self.url_of("postgres")

    def start_anywhere(self, tries: int = 4) -> None:
        """Start at a port that is free; another process may take it between the look and the start."""
        for left in reversed(range(tries)):
            try:
                self.start()
            except subprocess.CalledProcessError as error:
                if not left:
                    log = (self._folder / "server.log").read_text(errors="replace")[-2000:]
                    raise RuntimeError(f"PostgreSQL does not start: {log}") from error
                self.stop()
                self._take_port()
            else:
                return

    def url_of(self, database: str, *, user: str = "postgres", password: str = PASSWORD) -> str:
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def make(self) -> None:
        """Make its files."""
        secret = self._folder / "password"
        secret.write_text(PASSWORD)
        if os.getuid() == 0:
            shutil.chown(secret, "nobody")
        self._run("initdb", "-D", str(self._data), "-U", "postgres", "--auth=scram-sha-256", f"--pwfile={secret}",
                  "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions")  # fmt: skip

    def start(self) -> None:
        options = " ".join(f"-c {name}={value}" for name, value in _OPTIONS.items())
        options += f" -p {self.port} -c unix_socket_directories={self._folder}"
        log = self._folder / "server.log"
        self._run("pg_ctl", "-D", str(self._data), "-l", str(log), "-w", "-t", "60", "-o", options, "start")
        until(self.answers, "postgres", patience=60)

    def answers(self) -> bool:
        """Whether it takes statements."""
        import psycopg

        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.url, connect_timeout=5):
            return True
        return False

    def stop(self, mode: str = "immediate") -> None:
        """End the server; `immediate` is as a crash: what runs is cut off, and the next start recovers."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self._run("pg_ctl", "-D", str(self._data), "-m", mode, "-w", "stop")

    def restart(self) -> None:
        """Crash and start again."""
        self.stop()
        self.start()

    def database(self, name: str) -> str:
        """Make an empty database; its URL."""
        self.execute(f"CREATE DATABASE {name}")
        return self.url_of(name)

    def execute(self, statement: str, url: str | None = None) -> list[tuple[Any, ...]]:
        """What a statement answers."""
        import psycopg

        with psycopg.connect(url or self.url, autocommit=True) as connection:
            cursor = connection.execute(statement)  # type: ignore[call-overload]
            return list(cursor.fetchall()) if cursor.description else []

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _run(self, program: str, *words: str) -> None:
        options: dict[str, Any] = {}
        if os.getuid() == 0:  # it refuses to run as root
            found = pwd.getpwnam("nobody")
            options = {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}
        with (self._folder / "programs.log").open("ab") as log:
            subprocess.run(
                [str(self._programs / program), *words], check=True, cwd=self._folder, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, timeout=120, **options,
            )  # fmt: skip


def _is_free(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) != 0


def _programs() -> Path | None:
    """The folder of initdb and pg_ctl, which Debian keeps off the path."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda file: int(file.parts[-3]))
    return folders[-1].parent if folders else None


@contextlib.contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A server until the block ends. The test is skipped, saying why, where there is no PostgreSQL."""
    pytest.importorskip("psycopg", reason="a fleet's database needs the psycopg package")
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL is not here (apt-get install postgresql)")
    with tempfile.TemporaryDirectory(prefix="tokenmeter-postgres-") as name:
        folder = Path(name)
        if os.getuid() == 0:
            shutil.chown(folder, "nobody")
        server = PostgresServer(programs, folder)
        try:
            began = time.monotonic()
            server.make()
            server.start_anywhere()
            assert time.monotonic() - began < 180
            yield server
        finally:
            server.stop()
