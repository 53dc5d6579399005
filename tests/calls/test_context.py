"""What is current: put back only where ours still is, and carried to threads that start without it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context

import pytest

import tokenmeter
from tokenmeter import ConfigurationError, Tokenmeter, Usage
from tokenmeter.calls.context import TAGS, carry, clean_tags, leave
from tokenmeter.calls.scope import SCOPE
from tokenmeter.testing import capture


@pytest.mark.parametrize(
    ("current", "after"),
    [
        pytest.param("ours", "before", id="ours is current: what was before comes back"),
        pytest.param("another's", "another's", id="another block entered meanwhile: its value stays"),
        pytest.param("before", "before", id="left already"),
    ],
)
def test_only_a_value_of_ours_is_replaced(current: str, after: str) -> None:
    values = {name: object() for name in ("before", "ours", "another's")}
    variable: ContextVar[object] = ContextVar("test")
    variable.set(values[current])
    leave(variable, values["ours"], values["before"])
    assert variable.get() is values[after]


def test_a_block_left_out_of_turn_leaves_the_one_that_is_current() -> None:
    """The outer block is left first, as a task does that outlives the block it was started in."""
    meter = Tokenmeter(spans="none")

    def work() -> None:
        outer, inner = meter.scope("outer", team="a"), meter.scope("inner", team="b")
        outer.__enter__()
        entered = inner.__enter__()
        outer.__exit__(None, None, None)
        assert SCOPE.get() is entered
        assert TAGS.get() == {"team": "b"}
        with meter.call(provider="deepseek", model="deepseek-chat") as call:
            call.observe_usage(Usage(input_tokens=1, output_tokens=1))

    with capture(meter) as records:
        copy_context().run(work)
    record = records.only()
    assert record.scope is not None
    assert record.scope[-1] == "inner"
    assert record.tags == {"team": "b"}


def test_carried_work_runs_in_the_scope_of_the_moment_it_was_carried() -> None:
    meter = Tokenmeter(spans="none")

    def work(model: str) -> None:
        with meter.call(provider="deepseek", model=model) as call:
            call.observe_usage(Usage(input_tokens=1, output_tokens=1))

    with capture(meter) as records, ThreadPoolExecutor(2) as pool:
        with tokenmeter.tags(team="search"):
            carried = carry(work)
        list(pool.map(carried, ["deepseek-chat", "deepseek-reasoner"]))
        list(pool.map(work, ["deepseek-chat"]))
    assert [dict(record.tags) for record in records] == [{"team": "search"}, {"team": "search"}, {}]


def test_one_carried_function_runs_in_many_threads_at_once() -> None:
    together = threading.Barrier(3, timeout=60)
    with ThreadPoolExecutor(3) as pool:
        assert len(list(pool.map(carry(lambda _: together.wait()), range(3)))) == 3


@pytest.mark.parametrize(
    ("given", "clean"),
    [
        pytest.param({"a": "x"}, {"a": "x"}, id="text"),
        pytest.param({"a": 3, "b": 0.5}, {"a": "3", "b": "0.5"}, id="numbers"),
        pytest.param({"a": True, "b": False}, {"a": "true", "b": "false"}, id="booleans"),
        pytest.param({"a": None, "b": ""}, {"b": ""}, id="None is no tag, and empty text is one"),
    ],
)
def test_tags_are_text(given: dict[str, object], clean: dict[str, str]) -> None:
    assert clean_tags(given) == clean


@pytest.mark.parametrize("value", [[], {}, object(), b"x"], ids=["list", "dict", "object", "bytes"])
def test_other_values_are_no_tags(value: object) -> None:
    with pytest.raises(ConfigurationError, match=r"tag a=.*: a tag is text, a number or a boolean"):
        clean_tags({"a": value})
