"""Conditions of `--where`: what they select, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rigs.asker import Asker
from tests.rigs.made_records import NOON, priced, record, unpriced
from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger.report.columns import KEYS, NUMBERS
from tokenmeter.ledger.report.where import CallFilter, compare_exactly, parse
from tokenmeter.record import End
from tokenmeter.usage import Usage

CALLS = {
    "cheap": record(priced("0.05"), tags={"team": "search"}, region="cn-beijing"),
    "dear": record(
        priced("0.0500000000000000000001"), tags={"team": "ads", "provider": "x"}, error_type="timeout", end=End.ERROR
    ),
    "long": record(
        priced("9", "USD", model="gpt-4o"), provider="openai", ended=NOON + timedelta(days=1),
        usage=Usage(input_tokens=200_000),
    ),
    "unknown": record(unpriced("no rate"), tags={"team": "search"}, usage=Usage()),
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("cost > 0.05", ["dear", "long"]),
        ("cost >= 0.05 and cost <= 0.05", ["cheap"]),
        ("cost = 0.05", ["cheap"]),
        ("cost is null", ["unknown"]),
        ("not cost is null", ["cheap", "dear", "long"]),
        ("team = search", ["cheap", "unknown"]),
        ("team != 'search'", ["dear"]),
        ("team is null", ["long"]),
        ('team in ("search", ads) and provider = deepseek', ["cheap", "dear", "unknown"]),
        ("team not in (search)", ["dear"]),
        ("tag:provider = x", ["dear"]),
        ("model like 'gpt%' or error_type = timeout", ["dear", "long"]),
        ("model not like 'gpt%'", ["cheap", "dear", "unknown"]),
        ("input_tokens > 100000", ["long"]),
        ("not (input_tokens > 100000 or team = search)", ["dear"]),
        ("not team = search", ["dear"]),  # nothing is said of a call without the tag
        ("not (input_tokens > 100000) and team = search", ["cheap"]),
        ("day = 2026-11-02", ["long"]),
        ("region is not null", ["cheap"]),
        ("duration > 0.5 AND NOT end = error AND status = priced", ["cheap", "long"]),
        ("provider = openai or provider = deepseek and team = ads", ["dear", "long"]),
    ],
)
def test_what_a_condition_selects(text: str, names: list[str], held: Callable[..., Asker]) -> None:
    rows = held(*CALLS.values())("currency", where=parse(text)).rows
    assert sum(row.calls for row in rows) == len(names)
    expected = {CALLS[name].cost.currency if CALLS[name].cost.amount is not None else None for name in names}
    assert {row.currency for row in rows} == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "the end where a name should stand"),
        ("cost >", "the end where a value should stand"),
        ("cost > cheap", "cost is a number, 'cheap' is not"),
        ("cost > 1 team = a", "'team' where and, or, or the end should stand"),
        ("(cost > 1", "the end where '\\)' should stand"),
        ("cost 1", "'1' where one of = != < <= > >= in like is should stand"),
        ("cost is 1", "'1' where null should stand"),
        ("model = 'a", "is not understood"),
        ("= 1", "'=' where a name should stand"),
        (f"{'(' * 60}cost > 1{')' * 60}", "nested more than 50 deep"),
        (f"{'not ' * 60}cost > 1", "nested more than 50 deep"),
    ],
)
def test_what_is_refused_says_where(text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=f"--where: .*{problem}"):
        parse(text)


def test_a_tag_that_no_call_has_is_a_mistake(held: Callable[..., Asker]) -> None:
    with pytest.raises(ConfigurationError, match="--where: no call has this tag; did you mean 'provider'"):
        held(*CALLS.values())("model", where=parse("providr = deepseek"))


def test_values_are_bound_and_never_sql(held: Callable[..., Asker]) -> None:
    asked = held(*CALLS.values())
    assert asked("model", where=parse('model = "x\' OR 1=1 --"')).rows == ()


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_in_our_own_words(text: str) -> None:
    try:
        found = parse(text)
    except ConfigurationError:
        return
    assert isinstance(found, CallFilter)


@pytest.mark.parametrize("name", [*KEYS, *NUMBERS])
def test_every_name_can_be_asked_for(name: str, held: Callable[..., Asker]) -> None:
    held(*CALLS.values())("model", where=parse(f"{name} is not null"))


@given(st.decimals(allow_nan=False, allow_infinity=False), st.decimals(allow_nan=False, allow_infinity=False))
def test_money_is_compared_exactly(one: object, other: object) -> None:
    assert compare_exactly(str(one), str(other)) == (one > other) - (one < other)  # type: ignore[operator]
