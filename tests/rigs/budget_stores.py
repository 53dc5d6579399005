"""The three budget stores under one hand: each with a clock that a test sets, and emptied for each example."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import Any, Final, Protocol

from tests.rigs.redis_server import RedisServer
from tokenmeter.budgets.contract import BudgetStore
from tokenmeter.budgets.memory_store import MemoryBudgetStore
from tokenmeter.budgets.redis_store import RedisBudgetStore
from tokenmeter.budgets.sqlite_store import SqliteBudgetStore

__all__ = ["START", "Bench", "MemoryBench", "RedisBench", "SqliteBench"]

START: Final = 4_102_444_800_000
"""1 January 2100 in ms. The clock of a Redis server is behind it, so that the clock it has seen rules."""


class Bench(Protocol):
    """A store at a time of the test's choice."""

    store: BudgetStore

    def set_clock(self, now: int) -> None:
        """The wall clock of whoever keeps the store's time, in ms."""

    def reopen(self) -> BudgetStore:
        """The store as another process sees it."""

    def close(self) -> None:
        """End the store, and forget what it holds."""


class MemoryBench:
    def __init__(self, kind: type[MemoryBudgetStore] = MemoryBudgetStore) -> None:
        self._now = START
        self.store: BudgetStore = kind(lambda: self._now * 1_000_000)

    def set_clock(self, now: int) -> None:
        self._now = now

    def reopen(self) -> BudgetStore:
        return self.store

    def close(self) -> None:
        self.store.close()


class SqliteBench:
    def __init__(self, kind: type[SqliteBudgetStore] = SqliteBudgetStore) -> None:
        self._now = START
        self._folder = tempfile.TemporaryDirectory(prefix="tokenmeter-budgets-")
        path = Path(self._folder.name) / "budgets.db"
        self._make = lambda: kind(path, lambda: self._now * 1_000_000, deadline=10.0)
        self.store: BudgetStore = self._make()

    def set_clock(self, now: int) -> None:
        self._now = now

    def reopen(self) -> BudgetStore:
        self.store.close()
        self.store = self._make()
        return self.store

    def close(self) -> None:
        self.store.close()
        self._folder.cleanup()


class RedisBench:
    """Its server's clock cannot be set: the latest time that the store has seen is, and lies ahead of the server's."""

    _names = itertools.count()

    def __init__(self, server: RedisServer, kind: type[RedisBudgetStore] = RedisBudgetStore) -> None:
        import redis

        self._latest = START
        namespace = f"bench{next(self._names)}"
        self._redis: Any = redis.Redis.from_url(server.url)
        self._clock = f"{{tokenmeter:{namespace}}}:clock"
        self._redis.set(self._clock, START)
        self._make = lambda: kind(server.url, deadline=10.0, namespace=namespace)
        self.store: BudgetStore = self._make()

    def set_clock(self, now: int) -> None:
        if now > self._latest:
            self._latest = now
            self._redis.set(self._clock, now)

    def reopen(self) -> BudgetStore:
        self.store.close()
        self.store = self._make()
        return self.store

    def close(self) -> None:
        self.store.close()
        self._redis.flushdb()
        self._redis.close()
