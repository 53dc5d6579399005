"""A ClickHouse server on loopback: the real engine of the chdb package behind HTTP, in a process that can be killed."""

from __future__ import annotations

import contextlib
import random
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.rigs.services import until

__all__ = ["PASSWORD", "ClickHouseServer", "clickhouse_server"]

PASSWORD = "s3cret-word"
_ENGINE = Path(__file__).with_name("clickhouse_engine.py")


class ClickHouseServer:
    """A server that can be stopped as a crash does, and started again at the same port with what it had."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        # Below the ports that the system gives out: while the server is down, no other socket gets its own.
        self.port = next(port for port in iter(lambda: random.randrange(20_000, 32_000), 0) if not self._listens(port))

    def url_of(self, database: str, *, user: str = "default", password: str = PASSWORD) -> str:
        return f"clickhouse://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def database(self, name: str) -> str:
        """The URL of a database, which the first shipper makes."""
        return self.url_of(name)

    def start(self) -> None:
        log = (self._folder / "server.log").open("ab")
        with log:
            command = [sys.executable, str(_ENGINE), str(self.port), str(self._folder)]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until(lambda: self._listens(self.port), "ClickHouse", patience=60)

    def stop(self) -> None:
        """End the server as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
            self._process = None

    def restart(self) -> None:
        """Crash and start again."""
        self.stop()
        self.start()

    def execute(self, statement: str, database: str) -> list[tuple[Any, ...]]:
        """What a statement answers, in a database or at its URL."""
        with self.client(database.rpartition("/")[2]) as client:
            return [tuple(row) for row in client.query(statement).result_rows]

    def command(self, statement: str, database: str) -> None:
        """Run a statement that answers nothing."""
        with self.client(database) as client:
            client.command(statement)

    @contextlib.contextmanager
    def client(self, database: str) -> Iterator[Any]:
        import clickhouse_connect

        client = clickhouse_connect.get_client(
            host="127.0.0.1", port=self.port, username="default", password=PASSWORD, database=database,
            autogenerate_session_id=False,
        )  # fmt: skip
        try:
            yield client
        finally:
            client.close()

    @staticmethod
    def _listens(port: int) -> bool:
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def clickhouse_server() -> Iterator[ClickHouseServer]:
    """A server until the block ends. The test is skipped, saying why, where there is no engine or no client."""
    if find_spec("chdb") is None:
        pytest.skip("ClickHouse is not here: make test-clickhouse brings chdb into its own environment")
    pytest.importorskip("clickhouse_connect", reason="a fleet's database in ClickHouse needs clickhouse-connect")
    with tempfile.TemporaryDirectory(prefix="tokenmeter-clickhouse-") as name:
        server = ClickHouseServer(Path(name))
        try:
            server.start()
            yield server
        finally:
            server.stop()
