"""The calls of a ledger read back as they were priced: pricing them again gives what stands there."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.rigs.made_records import record
from tokenmeter.ledger.report.priced_calls import priced_calls
from tokenmeter.ledger.schema import LedgerError
from tokenmeter.ledger.writer import Ledger
from tokenmeter.money import plain
from tokenmeter.prices.book import Book
from tokenmeter.record import End
from tokenmeter.usage import Usage

BOOK = Book()
TOKENS = st.integers(0, 10**7)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    given, out = draw(TOKENS), draw(TOKENS)
    data = {
        "input_tokens": given,
        "output_tokens": out,
        "cache_read_input_tokens": draw(st.integers(0, given) | st.none()),
        "reasoning_output_tokens": draw(st.integers(0, out) | st.none()),
        "quantities": draw(st.sampled_from([{}, {"web_search_calls": 3}])),
    }
    return Usage.from_dict({name: value for name, value in data.items() if value is not None})


CALLS = st.tuples(
    usages(),
    st.sampled_from([("deepseek", "deepseek-chat"), ("openai", "gpt-5"), ("alibaba", "qwen-plus")]),
    st.sampled_from([{}, {"thinking": True}, {"batch": True}]),
    st.sampled_from([None, "priority"]),
)


@settings(max_examples=20, deadline=None)
@given(calls=st.lists(CALLS, min_size=1, max_size=8))
def test_a_call_priced_again_costs_the_same(calls: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "spend.db")
        ledger = Ledger(path)
        for usage, (provider, model), params, tier in calls:
            asked = params if tier is None else {**params, "service_tier": tier}
            cost = BOOK.price(usage, provider=provider, model=model, at="2026-11-01T12:00:00+08:00", params=asked)
            told = {"provider": provider, "request_model": model, "params": params, "service_tier": tier}
            ledger.write(record(cost, usage=usage, **told))
        ledger.close(30)
        with closing(sqlite3.connect(path)) as connection:
            held = [row[0] for row in connection.execute("SELECT amount FROM calls ORDER BY seq")]
        again = [
            BOOK.price(call.usage, provider=call.provider, model=call.model, at=call.at, params=call.params).amount
            for call in priced_calls(path)
        ]
    assert [None if amount is None else plain(amount) for amount in again] == held


def test_calls_that_carry_nothing_themselves_are_left_out(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "spend.db")
    ledger.write(record(end=End.DELEGATED))
    ledger.write(record(provider=None))
    ledger.write(record(request_model=None, response_model="deepseek-chat"))
    ledger.close(30)
    (call,) = priced_calls(str(tmp_path / "spend.db"))
    assert (call.model, call.response_model, call.usage.input_tokens) == ("deepseek-chat", "deepseek-chat", 1000)
    with pytest.raises(LedgerError):
        list(priced_calls(str(tmp_path / "none.db")))
