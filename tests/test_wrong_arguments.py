"""Wrong arguments of public functions are answered with a documented error that names the argument, never from inside.

Python's own TypeError for a call that does not fit the signature, or for an operator between two types, is raised where
the caller stands and names the function: that is what Python programmers know. What must not be is an AttributeError,
KeyError or TypeError out of our own lines.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import date
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tokenmeter
from tokenmeter import ExchangeRates, Money, Tokenmeter, TokenmeterError, Usage
from tokenmeter.settings import SETTINGS

openai = pytest.importorskip("openai", reason="`wrap` needs a client")
CLIENT = openai.OpenAI(api_key="any")
USAGE = Usage(input_tokens=5, output_tokens=2)
BODY = {"model": "deepseek-chat", "messages": [{"role": "user", "content": "hi"}]}
RATES = ExchangeRates.of("CNY=0.1400USD@2026-11-01")
WRONG: tuple[Any, ...] = (
    None, 1, -1, 1.5, True, "", "xxx", b"x", [], ["a"], [[]], {}, {"a": 1}, {1: 2}, ("a",), {"a"}, object(),
    float("nan"), Decimal(1), date(2026, 1, 1), len, type, Path("x"), USAGE, Money(1, "CNY"),
)  # fmt: skip


class Case(NamedTuple):
    """A public function with arguments that fit, and what of its signature is given here."""

    function: Callable[..., Any]
    good: dict[str, Any]
    names: Mapping[str, str] = MappingProxyType({})
    """What a message says instead of an argument's name."""


METER = Tokenmeter(spans="none")


def by_hand(method: str) -> Callable[..., None]:
    def run(value: Any) -> None:
        with METER.call("deepseek", "deepseek-chat") as call:
            getattr(call, method)(value)

    return run


def whole_call(**arguments: Any) -> None:
    with METER.call(**arguments) as call:
        call.observe_usage(USAGE)


def whole_scope(name: Any, tag: Any) -> None:
    with METER.scope(name, team=tag), METER.tags(user=tag):
        whole_call(provider="deepseek", model="deepseek-chat")


def configured(**arguments: Any) -> None:
    Tokenmeter(**arguments).shutdown(1)


PRICE = {"usage": USAGE, "model": "deepseek-chat", "provider": "deepseek", "at": "2026-01-01"}
COUNT = {"text": "hi", "model": "gpt-4o", "provider": "openai", "at": None}
ESTIMATE = {
    "request": BODY, "provider": "deepseek", "model": "deepseek-chat", "api": "openai.chat", "at": None,
    "output_limit": 10,
}  # fmt: skip
CALL = {
    "provider": "deepseek", "model": "deepseek-chat", "request": BODY, "api": None, "operation": None, "region": None,
    "stream": False,
}  # fmt: skip
CASES = {
    "price": Case(tokenmeter.price, PRICE),
    "Tokenmeter.price": Case(METER.price, PRICE),
    "count": Case(tokenmeter.count, COUNT),
    "Tokenmeter.count": Case(METER.count, COUNT),
    "estimate": Case(METER.estimate, ESTIMATE),
    "bound": Case(METER.bound, {name: ESTIMATE[name] for name in ("request", "provider", "model", "api")}),
    "estimate a text": Case(METER.estimate, {**ESTIMATE, "request": "hi"}),
    "call": Case(whole_call, CALL, {"provider": "call("}),
    "observe": Case(by_hand("observe"), {"value": None}),
    "observe_text": Case(by_hand("observe_text"), {"value": ""}, {"value": "observe_text"}),
    "observe_event": Case(by_hand("observe_event"), {"value": {}}),
    "observe_request": Case(by_hand("observe_request"), {"value": {}}),
    "observe_usage": Case(by_hand("observe_usage"), {"value": USAGE}, {"value": "usage"}),
    "observe_batch": Case(
        METER.observe_batch,
        {"results": "", "provider": "deepseek", "model": None, "api": None, "region": None},
        {"provider": "call("},
    ),
    "scope and tags": Case(whole_scope, {"name": "s", "tag": "t"}, {"name": "scope"}),
    "carry": Case(tokenmeter.carry, {"function": len}),
    "wrap": Case(METER.wrap, {"client": CLIENT, "provider": None, "region": None}, {"client": "wrap"}),
    "preload": Case(lambda name: tokenmeter.preload(name).join(30), {"name": "qwen"}),
    "flush": Case(METER.flush, {"timeout": 1}),
    "shutdown": Case(METER.shutdown, {"timeout": 1}),
    "add_sink": Case(lambda sink: METER.add_sink(sink), {"sink": None}),
    "remove_sink": Case(METER.remove_sink, {"sink": None}),
    "configure": Case(
        configured,
        {one.name: None for one in SETTINGS}
        | {"sinks": (), "tracer_provider": None, "meter_provider": None, "clock": len, "monotonic": len},
    ),
    "Usage": Case(Usage, {one.name: getattr(USAGE, one.name) for one in fields(Usage)}),
    "Usage.from_dict": Case(Usage.from_dict, {"data": {}}, {"data": "usage"}),
    "Money": Case(Money, {"amount": 1, "currency": "CNY"}, {"amount": "", "currency": "currency"}),
    "ExchangeRates": Case(ExchangeRates, {"rates": ()}),
    "ExchangeRates.of": Case(ExchangeRates.of, {"given": "CNY=0.1400USD@2026-11-01"}, {"given": "exchange"}),
    "ExchangeRates.convert": Case(RATES.convert, {"money": Money(1, "CNY"), "to": "USD", "at": date(2026, 11, 2)}),
}  # fmt: skip
DOCUMENTED: Mapping[str, tuple[type[Exception], ...]] = {
    "Money": (ValueError, TypeError),
    **dict.fromkeys(("count", "Tokenmeter.count", "estimate", "estimate a text"), (ValueError,)),
}
"""Errors that a docstring names beside tokenmeter's own."""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where `ledger="xxx"` may write."""
    monkeypatch.chdir(tmp_path)


def tried(name: str, argument: str, value: Any) -> None:
    """Call with one wrong argument: done, or a documented error that names the argument."""
    case = CASES[name]
    error = raised(lambda: case.function(**{**case.good, argument: value}))
    if error is not None:
        said = f"{name}({argument}={value!r}): {''.join(traceback.format_exception(error))}"
        assert isinstance(error, (TokenmeterError, *DOCUMENTED.get(name, ()))), said
        assert case.names.get(argument, argument) in str(error), said
        assert len(str(error)) < 3000


def raised(call: Callable[[], object]) -> Exception | None:
    try:
        call()
    except Exception as error:  # noqa: BLE001 - every kind is judged by the caller
        return error
    return None


@pytest.mark.parametrize(("name", "argument"), [(name, one) for name, case in CASES.items() for one in case.good])
def test_a_wrong_value_raises_nothing_from_inside(name: str, argument: str) -> None:
    for value in WRONG:
        tried(name, argument, value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.sampled_from([(name, one) for name, case in CASES.items() for one in case.good]), value=JSON)
def test_any_value_raises_nothing_from_inside(place: tuple[str, str], value: Any) -> None:
    tried(*place, value)


def test_every_public_function_is_tried() -> None:
    functions = {name for name in tokenmeter.__all__ if inspect.isfunction(getattr(tokenmeter, name))}
    without_arguments = {"instrument", "uninstrument", "current", "default"}
    elsewhere = {"scope", "tags"}  # "scope and tags"
    assert functions - without_arguments - elsewhere <= set(CASES)


@pytest.mark.parametrize("other", [1, "1 CNY", None, 1.5, USAGE])
def test_money_and_other_types_meet_as_pythons_own_do(other: object) -> None:
    money = Money(1, "CNY")
    for operate in (lambda: money < other, lambda: money >= other, lambda: money + other, lambda: other - money):  # type: ignore[operator]
        with pytest.raises(TypeError, match=r"not supported between|unsupported operand"):
            operate()
    assert money != other
