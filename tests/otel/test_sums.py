"""Sums: exact, additive, bounded, and the same whoever folds them when."""

from __future__ import annotations

import os
import threading
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rigs.made_records import priced, record
from tests.rigs.otel_rig import in_production
from tests.rigs.summed import fed, sums
from tokenmeter.otel.sums import PENDING_MOST, Accumulator
from tokenmeter.record import Record


def test_money_is_summed_exactly_and_currencies_apart() -> None:
    ten = [record(priced("0.1", "CNY")) for _ in range(10)] + [record(priced("0.2", "USD")) for _ in range(3)]
    found = sums(fed(ten), "cost", "tokenmeter.cost.currency")
    assert found == {("CNY",): Decimal("1.0"), ("USD",): Decimal("0.6")}


@given(st.lists(st.tuples(st.decimals(0, 10**6, places=9), st.sampled_from(["CNY", "USD"])), max_size=60))
def test_sums_equal_slow_fractions(costs: list[tuple[Decimal, str]]) -> None:
    accumulator = fed(record(priced(str(amount), currency)) for amount, currency in costs)
    found = sums(accumulator, "cost", "tokenmeter.cost.currency")
    expected: dict[tuple[Any, ...], Fraction] = {}
    for amount, currency in costs:
        expected[(currency,)] = expected.get((currency,), Fraction(0)) + Fraction(amount)
    assert {key: Fraction(value) for key, value in found.items()} == expected


def test_nothing_is_folded_before_it_must_and_then_all_of_it() -> None:
    asked: list[str] = []

    def pricer(one: Record) -> Any:
        asked.append(one.id)
        return priced("1")

    accumulator = Accumulator()
    for number in range(PENDING_MOST):
        assert accumulator.add(record(id=str(number), pricer=pricer)) == []
    assert asked == []
    folded = accumulator.add(record(id="last", pricer=pricer))
    assert [one.id for one, _ in folded] == asked
    assert asked[-1] == "last"
    assert len(asked) == PENDING_MOST + 1
    assert sums(accumulator, "cost") == {(): PENDING_MOST + 1}


# Bounds --------------------------------------------------------------------------------------------------------


def test_many_values_of_a_tag_become_other_and_the_others_stay(caplog: pytest.LogCaptureFixture) -> None:
    many = [record(tags={"user": f"u{number}", "team": "search"}) for number in range(50)]
    accumulator = fed(many, values_most=10)
    found = sums(accumulator, "calls", "tokenmeter.tag.user")
    assert len(found) == 11
    assert found[("__other__",)] == 40
    assert sums(accumulator, "calls", "tokenmeter.tag.team") == {("search",): 50}
    assert caplog.text.count("tokenmeter.tag.user has shown 10 values") == 1


def test_models_are_bounded_too() -> None:
    found = sums(
        fed([record(request_model=f"ep-{n}") for n in range(30)], values_most=5), "calls", "gen_ai.request.model"
    )
    assert len(found) == 6
    assert sum(found.values()) == 30


def test_beyond_the_bound_of_sets_the_sums_are_whole_and_currencies_apart() -> None:
    records = [
        record(priced("1", "CNY" if number % 2 else "USD"), tags={"a": str(number % 7), "b": str(number % 5)})
        for number in range(100)
    ]
    accumulator = fed(records, series_most=4)
    assert sums(accumulator, "cost", "tokenmeter.cost.currency") == {("CNY",): 50, ("USD",): 50}
    overflow = sums(accumulator, "cost", "otel.metric.overflow", "tokenmeter.cost.currency")
    assert overflow.keys() == {(None, "CNY"), (None, "USD"), (True, "CNY"), (True, "USD")}
    series = {tuple(sorted(attributes.items())) for attributes, _ in accumulator.rows("attempts")}
    assert len(series) <= 5


def test_only_named_tags_become_attributes() -> None:
    accumulator = fed([record(tags={"team": "search", "user": str(number)}) for number in range(9)], tags=["team"])
    assert sums(accumulator, "calls", "tokenmeter.tag.team", "tokenmeter.tag.user") == {("search", None): 9}


# Failures, threads, processes ------------------------------------------------------------------------------------


def test_a_price_that_fails_leaves_the_tokens() -> None:
    def broken(_: Record) -> Any:
        raise LookupError("the book is on fire")

    with in_production():
        accumulator = fed([record(pricer=broken), record()])
        assert sums(accumulator, "usage", "tokenmeter.component") == {("input",): 2000, ("output",): 200}
    assert sums(accumulator, "calls", "tokenmeter.cost.status") == {("unpriced",): 1, ("priced",): 1}


def test_a_record_that_cannot_be_summed_is_counted_and_loses_no_other() -> None:
    with in_production():
        accumulator = fed([record(tags=["not", "a", "mapping"]), record()])
        assert sums(accumulator, "failures") == {(): 1}
    assert sums(accumulator, "calls") == {(): 1}


def test_threads_lose_nothing() -> None:
    accumulator = Accumulator()
    done = threading.Event()

    def write() -> None:
        for _ in range(1500):
            accumulator.add(record())

    def read() -> None:
        while not done.is_set():
            accumulator.fold()
            accumulator.rows("cost")

    reader = threading.Thread(target=read)
    writers = [threading.Thread(target=write) for _ in range(4)]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    reader.join()
    assert sums(accumulator, "calls") == {(): 6000}
    assert sums(accumulator, "cost") == {(): Decimal("7.2")}


def test_a_writer_never_waits_for_the_lock() -> None:
    accumulator = fed([record() for _ in range(PENDING_MOST)])
    with accumulator._lock:  # as while this very thread folds and a finalizer settles a dropped stream
        assert accumulator.add(record()) == []
    assert sums(accumulator, "calls") == {(): PENDING_MOST + 1}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_begins_from_nothing() -> None:
    accumulator = fed([record() for _ in range(3)])
    accumulator.fold()
    accumulator.add(record())
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover: another process
        accumulator.add(record())
        os.write(write_end, repr(sums(accumulator, "calls")).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read_end, 100) == b"{(): 1}"
    assert sums(accumulator, "calls") == {(): 4}


def test_absorbing_keeps_every_sum() -> None:
    one, other = fed([record(priced("0.1"), tags={"t": "a"})] * 3), fed([record(priced("0.2"), tags={"t": "a"})] * 2)
    other.add(record(priced("1", "USD"), tags={"t": "b"}))
    one.fold()
    one.absorb(other)
    assert sums(one, "cost", "tokenmeter.tag.t") == {("a",): Decimal("0.7"), ("b",): 1}
    assert sums(one, "usage", "gen_ai.token.type") == {("input",): 6000, ("output",): 600}
