"""A budget store in Redis (7 or newer) or Valkey, for many machines: one script, one round trip for each operation.

All keys of a namespace lie in one hash slot, `{tokenmeter:NAME}`, so the store works on a cluster too. Time is the
server's, since clients' clocks differ: the asks of a client whose window does not hold by it are answered `WindowOver`.
The scripts are in `redis_scripts/`; each begins with `common.lua`.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from tokenmeter.budgets.contract import BudgetAsk, BudgetCharge, BudgetRefusal, StoreError, WindowOver, WindowSpend
from tokenmeter.errors import MissingExtra

__all__ = ["RedisBudgetStore"]

_SCRIPTS: Final = Path(__file__).parent / "redis_scripts"


class RedisBudgetStore:
    """Counters in Redis. `namespace` (in the URL: `redis://host/0?namespace=prod`) keeps programs apart.

    `deadline` is how long an operation may take, in seconds; nothing is tried again. Operations raise StoreError where
    the server cannot be reached in time. Raises MissingExtra where the client library is not installed.
    """

    waits = True

    def __init__(
        self,
        url: str,
        clock: Callable[[], int] = time.time_ns,
        *,
        deadline: float = 0.05,
        namespace: str = "default",
    ) -> None:
        try:
            import redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ImportError:
            raise MissingExtra("budgets in Redis need its client", "redis") from None
        url, namespace = _namespace(url, namespace)
        self._errors = (redis.RedisError, OSError)
        self._moved = redis.exceptions.MovedError
        self._prefix = f"{{tokenmeter:{namespace}}}:"
        # A new connection takes two steps, each of which may take its share of the deadline.
        self._make: Callable[[str], Any] = functools.partial(
            redis.Redis.from_url,
            socket_connect_timeout=deadline * 0.4,
            socket_timeout=deadline * 0.6,
            retry=Retry(NoBackoff(), 0),
            decode_responses=True,
        )
        self._first = url
        self._connect(url)
        self._clock = clock
        self._ahead = 0

    def _connect(self, url: str) -> None:
        self._url = url
        self._client = self._make(url)
        common = (_SCRIPTS / "common.lua").read_text("utf-8")
        self._scripts = {
            path.stem: self._client.register_script(common + path.read_text("utf-8"))
            for path in sorted(_SCRIPTS.glob("*.lua"))
            if path.stem != "common"
        }

    def _run(self, script: str, *args: str | int) -> Any:
        try:
            try:
                return self._ask(script, args)
            except self._moved as moved:  # another node of the cluster has the slot; it is asked from now on
                self._connect(_at_node(self._url, moved.host, moved.port))
                return self._ask(script, args)
        except self._errors as error:
            if self._url != self._first:  # the node may have failed: the first knows which has taken its place
                self._connect(self._first)
            raise StoreError(f"redis: {type(error).__name__}: {error}") from None

    def _ask(self, script: str, args: Sequence[str | int]) -> Any:
        # The key names the slot to a cluster; the scripts make the others from the prefix.
        return self._scripts[script](keys=[self._prefix + "clock"], args=[self._prefix, *args])

    def now(self) -> int:
        return self._clock() // 1_000_000 + self._ahead

    def _saw(self, now: int) -> int:
        self._ahead = now - self._clock() // 1_000_000
        return now

    def reserve(self, call: str, asks: Sequence[BudgetAsk], lease: float) -> BudgetRefusal | WindowOver | None:
        answer = self._run("reserve", call, round(lease * 1000), *_flat(asks))
        if answer[0] == "held":
            self._saw(int(answer[1]))
            return None
        if answer[0] == "over":
            return WindowOver(self._saw(int(answer[1])))
        return _refused(answer)

    def extend(self, call: str, asks: Sequence[BudgetAsk]) -> BudgetRefusal | None:
        answer = self._run("extend", call, *_flat(asks))
        return None if answer[0] == "held" else _refused(answer)

    def settle(self, call: str, charges: Sequence[BudgetCharge]) -> tuple[int, ...] | None:
        answer = self._run("settle", call, *_flat_charges(charges))
        return None if answer[0] == "settled" else tuple(map(int, answer[1]))

    def release(self, call: str) -> bool:
        return self.settle(call, ()) is not None

    def withdraw(self, call: str) -> None:
        self._run("withdraw", call)

    def once(self, key: str, until: int) -> bool:
        return bool(self._run("once", key, until))

    def renew(self, calls: Iterable[str], lease: float) -> None:
        self._run("renew", round(lease * 1000), *calls)

    def read(self, series: str, bucket: int, span: int) -> WindowSpend:
        return WindowSpend(*map(int, self._run("read", series, bucket, span)))

    def charge(self, charges: Sequence[BudgetCharge]) -> None:
        self._run("charge", *_flat_charges(charges))

    def reset(self, series: str) -> None:
        self._run("reset", series)

    def series(self, prefix: str) -> list[str]:
        start = f"{self._prefix}c:{prefix}"
        pattern = "".join(f"\\{one}" if one in "*?[]\\^-" else one for one in start) + "*"
        try:
            found = self._client.scan_iter(match=pattern, count=1000)
            return sorted(name[len(self._prefix) + 2 :] for name in found)
        except self._errors as error:
            raise StoreError(f"redis: {type(error).__name__}: {error}") from None

    def close(self) -> None:
        self._client.close()


def _namespace(url: str, namespace: str) -> tuple[str, str]:
    """The URL without its namespace, which is ours and not the client library's, and the namespace."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    namespace = query.pop("namespace", namespace)
    return urlunsplit(parts._replace(query=urlencode(query))), namespace


def _at_node(url: str, host: str, port: int) -> str:
    """The URL with another host and port, and the same user, password and scheme."""
    parts = urlsplit(url)
    login, at, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{login}{at}{f'[{host}]' if ':' in host else host}:{port}"))


def _flat(asks: Sequence[BudgetAsk]) -> list[str | int]:
    return [value for ask in asks for value in ask]


def _flat_charges(charges: Sequence[BudgetCharge]) -> list[str | int]:
    return [value for charge in charges for value in charge]


def _refused(answer: list[Any]) -> BudgetRefusal:
    return BudgetRefusal(int(answer[1]), int(answer[2]), int(answer[3]), int(answer[4]) if answer[4] else None)
