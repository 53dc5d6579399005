"""The Redis store where the model says nothing: clusters, time to live, one round trip, names, clocks that lie."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.rigs.redis_server import RedisServer, redis_server
from tests.rigs.services import until
from tokenmeter.budgets.contract import BudgetAsk, BudgetCharge, StoreError, WindowOver, WindowSpend
from tokenmeter.budgets.redis_store import RedisBudgetStore

NEVER = 1 << 62


def ask(series: str = "b", amount: int = 10, **more: Any) -> BudgetAsk:
    return BudgetAsk(series, 0, 1, 0, NEVER, NEVER, 1_000, amount, 3)._replace(**more)


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
def store(redis: RedisServer) -> Iterator[RedisBudgetStore]:
    redis.cli("flushall")
    made = RedisBudgetStore(redis.url, deadline=5.0)
    yield made
    made.close()


def test_every_operation_works_where_a_cluster_checks_the_slots() -> None:
    with redis_server(cluster=True) as server:
        store = RedisBudgetStore(server.url.removesuffix("/0"), deadline=5.0, namespace="prod")
        assert store.reserve("c", [ask("a"), ask("b")], 60) is None
        assert store.extend("c", [ask("a", 5)]) is None
        store.renew(["c"], 60)
        assert store.settle("c", [BudgetCharge("a", 0, 1, NEVER, 7), BudgetCharge("b", 0, 1, NEVER, 7)]) == (7, 7)
        store.charge([BudgetCharge("a", 0, 1, NEVER, 1)])
        store.withdraw("d")
        assert store.once("k", store.now() + 60_000) is True
        assert store.once("k", store.now() + 60_000) is False
        assert store.read("a", 0, 1) == WindowSpend(8, 0, 0, 0)
        store.reset("a")
        assert store.series("") == ["a", "b"]
        store.close()


def test_a_node_without_the_slot_names_the_one_that_has_it() -> None:
    with redis_server(cluster=True) as owner, redis_server(cluster=True, slots=False) as other:
        bus = owner.cli("config", "get", "cluster-port").split()[1]
        other.cli("cluster", "meet", "127.0.0.1", str(owner.port), bus)
        until(lambda: str(owner.port) in other.cli("cluster", "slots"), "the cluster", patience=60)
        until(lambda: "cluster_state:ok" in other.cli("cluster", "info"), "the cluster", patience=60)
        store = RedisBudgetStore(other.url, deadline=5.0)
        assert store.reserve("c", [ask()], 60) is None
        assert store.settle("c", [BudgetCharge("b", 0, 1, NEVER, 7)]) == (7,)
        assert store.series("") == ["b"]
        owner.stop()
        with pytest.raises(StoreError):
            store.read("b", 0, 1)
        assert store._client.connection_pool.connection_kwargs["port"] == other.port
        store.close()


def test_an_operation_is_one_round_trip(redis: RedisServer, store: RedisBudgetStore) -> None:
    store.reserve("warm", [ask()], 60)
    store.settle("warm", [])
    lines: list[str] = []
    import redis as client

    with client.Redis.from_url(redis.url).monitor() as monitor:
        store.reserve("c", [ask("a"), ask("b"), ask("c")], 60)
        store.settle("c", [BudgetCharge(one, 0, 1, NEVER, 7) for one in "abc"])
        store.charge([])
        for command in monitor.listen():
            if command["client_type"] != "lua":
                lines.append(command["command"].split()[0])
            if len(lines) == 3:
                break
    assert lines == ["EVALSHA"] * 3


def test_amounts_are_exact_up_to_the_largest_that_is_compared(store: RedisBudgetStore) -> None:
    most = 2**53 - 1
    assert store.reserve("c", [ask(amount=most - 1, limit=most)], 60) is None
    assert store.reserve("d", [ask(amount=1, limit=most)], 60) is None
    refused = store.reserve("e", [ask(amount=1, limit=most)], 60)
    assert refused == (0, 0, most, 0)
    assert store.settle("c", [BudgetCharge("b", 0, 1, NEVER, most - 1)]) == (most - 1,)


def test_a_client_whose_clock_lies_gets_the_servers_time(redis: RedisServer) -> None:
    wrong = RedisBudgetStore(redis.url, lambda: 10**18, deadline=5.0, namespace="lies")  # in 2001
    now = wrong.now()
    answer = wrong.reserve("c", [ask(start=now - 1000, end=now + 1000)], 60)
    assert isinstance(answer, WindowOver)
    assert abs(answer.now - time.time() * 1000) < 60_000
    assert abs(wrong.now() - answer.now) < 60_000
    wrong.close()


def test_a_lease_ends_by_the_servers_clock(store: RedisBudgetStore) -> None:
    assert store.reserve("c", [ask()], 0.05) is None
    assert store.read("b", 0, 1).held == 10
    time.sleep(0.1)
    assert store.read("b", 0, 1) == WindowSpend(3, 0, 3, 1)
    assert store.settle("c", [BudgetCharge("b", 0, 1, NEVER, 8)]) == (8,)
    assert store.read("b", 0, 1) == WindowSpend(8, 0, 0, 0)


def test_what_is_over_has_a_time_to_live(redis: RedisServer, store: RedisBudgetStore) -> None:
    now = int(time.time() * 1000)
    day = ask("day", start=now - 1000, end=now + 86_400_000, until=now + 86_400_000, bucket=now)
    store.reserve("c", [day], 60)
    store.settle("c", [BudgetCharge("day", now, 1, now + 86_400_000, 8)])
    assert 0 < int(redis.cli("pttl", "{tokenmeter:default}:d:c")) <= 3_600_000
    days = int(redis.cli("pttl", "{tokenmeter:default}:c:day")) / 86_400_000
    assert 40 < days < 42
    for name in redis.cli("keys", "*").split():
        assert name.startswith("{tokenmeter:default}:")


def test_a_rolling_window_keeps_no_more_buckets_than_it_needs(redis: RedisServer, store: RedisBudgetStore) -> None:
    """A minute has buckets of a second: those of yesterday are not kept."""
    bucket = int(time.time())
    for past in range(20_000, 0, -50):
        at = bucket - past
        store.charge([BudgetCharge("minute", at, 61, (at + 61) * 1000, 1)])
    assert int(redis.cli("hlen", "{tokenmeter:default}:c:minute")) <= 2 * (3_661 // 50 + 2)


def test_namespaces_are_apart_and_patterns_are_no_patterns(redis: RedisServer, store: RedisBudgetStore) -> None:
    other = RedisBudgetStore(f"{redis.url}?namespace=x", deadline=5.0)
    store.charge([BudgetCharge("a*\x1fu[1]", 0, 1, NEVER, 1), BudgetCharge("ab\x1fu", 0, 1, NEVER, 1)])
    assert store.series("a*\x1f") == ["a*\x1fu[1]"]
    assert other.series("") == []
    other.close()


def test_a_wrong_server_is_a_store_error(redis: RedisServer) -> None:
    redis.cli("set", "{tokenmeter:odd}:c:b", "text")
    odd = RedisBudgetStore(redis.url, deadline=5.0, namespace="odd")
    with pytest.raises(StoreError, match="redis"):
        odd.reserve("c", [ask()], 60)
    odd.close()


@pytest.mark.parametrize("threads", [1, 16])
def test_threads_share_the_client(store: RedisBudgetStore, threads: int) -> None:
    def spend(number: int) -> None:
        for one in range(10):
            if store.reserve(f"{number}.{one}", [ask(amount=1, limit=100)], 60) is None:
                store.settle(f"{number}.{one}", [BudgetCharge("b", 0, 1, NEVER, 1)])

    running = [threading.Thread(target=spend, args=(number,)) for number in range(threads)]
    for one in running:
        one.start()
    for one in running:
        one.join()
    assert store.read("b", 0, 1) == WindowSpend(min(100, threads * 10), 0, 0, 0)
