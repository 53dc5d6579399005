"""A provider server in a process of its own that keeps a list of what it received, with an id for every request.

The id comes back in the `x-request-id` header of the answer; the client's `x-unit` header says which unit of the
program's work sent the request. `GET /list` gives the list. `python -m tests.rigs.counting_server` prints its port.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from tokenmeter.testing import ProviderServer, Received, Reply, json_reply
from tokenmeter.testing.faults import Faults

__all__ = ["CountingServer", "counting_server"]


class _Server(ProviderServer):
    def __init__(self) -> None:
        super().__init__()
        self._numbers = itertools.count(1)
        self._listed: list[dict[str, Any]] = []

    def received(self, request: Received) -> None:
        """Keep no request: the list is enough, and a long run must not grow by bodies."""

    def reply(self, request: Received) -> tuple[Reply, Faults]:
        if request.path == "/list":
            return json_reply(self._listed), Faults()
        number = f"r{next(self._numbers)}"
        self._listed.append({"id": number, "unit": request.headers.get("x-unit"), "path": request.path})
        reply, faults = super().reply(request)
        named = {**reply.headers, "x-request-id": number, "request-id": number}
        return replace(reply, headers=named), faults


@dataclass(frozen=True)
class CountingServer:
    """A running counting server, as the clients of `tests.rigs.ways` want one."""

    port: int

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def origin(self) -> str:
        return f"http://{self.host}"

    def url(self, dialect: str) -> str:
        bases = {"groq": "/openai/v1", "anthropic": "", "google": ""}
        return f"{self.origin}/v/{dialect}{bases.get(dialect, '/v1')}"

    def listed(self) -> list[dict[str, Any]]:
        """Id, unit and path of every request so far, in order of arrival."""
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(f"{self.origin}/list", timeout=60) as answer:
            found: list[dict[str, Any]] = json.load(answer)
        return found


@contextlib.contextmanager
def counting_server() -> Iterator[CountingServer]:
    """A counting server in another process during a block."""
    command = [sys.executable, "-m", "tests.rigs.counting_server"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield CountingServer(int(process.stdout.readline()))
        finally:
            process.terminate()


if __name__ == "__main__":
    with _Server() as running:
        print(running.port, flush=True)
        threading.Event().wait()
