"""A Redis server on loopback and a random port, ended whatever happens; one as a cluster too."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rigs.services import free_port, until

__all__ = ["RedisServer", "redis_server"]


class RedisServer:
    """A server that can be stopped, and started again at the same port: empty, unless it is `durable`."""

    def __init__(self, program: str, folder: Path, *, cluster: bool, durable: bool, slots: bool) -> None:
        self._program = program
        self._folder = folder
        self._cluster = cluster
        self._durable = durable
        self._slots = slots
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        if self._durable:
            options += ["--appendonly", "yes", "--appendfsync", "always"]
        if self._cluster:
            options += ["--cluster-enabled", "yes", "--cluster-config-file", f"nodes-{self.port}.conf"]
            options += ["--cluster-port", str(free_port())]
        with (self._folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, *options], cwd=self._folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        until(self.answers, "redis-server", patience=30)
        if self._cluster and self._slots:
            self.cli("cluster", "addslotsrange", "0", "16383")
            until(lambda: "cluster_state:ok" in self.cli("cluster", "info"), "the cluster", patience=30)

    def answers(self) -> bool:
        """Whether it answers PING."""
        with contextlib.suppress(subprocess.SubprocessError):
            return self.cli("ping").strip() == "PONG"
        return False

    def cli(self, *words: str) -> str:
        """What `redis-cli` prints."""
        command = [shutil.which("redis-cli") or "redis-cli", "-p", str(self.port), *words]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout

    def stop(self) -> None:
        """End the server at once, as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
            self._process = None

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """The server accepts connections, and answers none."""
        process = self._process
        assert process is not None
        process.send_signal(signal.SIGSTOP)
        try:
            time.sleep(0.01)
            yield
        finally:
            process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def redis_server(*, cluster: bool = False, durable: bool = False, slots: bool = True) -> Iterator[RedisServer]:
    """A server until the block ends; a cluster of one node, which has all slots or none.

    The test is skipped, saying why, where there is no redis-server.
    """
    pytest.importorskip("redis", reason="budgets in Redis need the redis package")
    found = shutil.which("redis-server")
    if found is None:
        pytest.skip("redis-server is not here (apt-get install redis-server)")
    with tempfile.TemporaryDirectory(prefix="tokenmeter-redis-") as folder:
        server = RedisServer(found, Path(folder), cluster=cluster, durable=durable, slots=slots)
        try:
            server.start()
            yield server
        finally:
            server.stop()
