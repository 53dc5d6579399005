"""Valuations against the book, call by call: amounts to the digit, sums, what changed, and while others write."""

from __future__ import annotations

import itertools
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from hypothesis import HealthCheck, given, settings

from tests.ledger.valuation.test_fast_compare import CALLS, made
from tests.rigs.bills import ledger_of, metered
from tokenmeter.ledger.valuation.valuation import value_ledger
from tokenmeter.money import EXACT, plain
from tokenmeter.prices.book import load_book
from tokenmeter.usage import Usage

BOOK = load_book()
JUNE = datetime(2026, 6, 1, 12, tzinfo=UTC)
_numbers = itertools.count()


def rows_of(path: str, name: str) -> dict[str, tuple[str, str | None, str | None]]:
    query = "SELECT call_id, status, amount, rate_id FROM valued_calls WHERE valuation = ?"
    with closing(sqlite3.connect(path)) as connection:
        return {call: (status, amount, rate) for call, status, amount, rate in connection.execute(query, (name,))}


@given(calls=CALLS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_call_is_valued_as_the_book_prices_it(
    calls: list[tuple[tuple[str, str], int, int, int, int, bool]], tmp_path: Path
) -> None:
    records = [
        *made(calls),
        metered("openai", "gpt-4o", JUNE, Usage(input_tokens=10, output_tokens=5, quantities={"web_search_calls": 2})),
        metered("zhipu", "glm-4-flash", JUNE, Usage(input_tokens=10, output_tokens=5)),
        metered("deepseek", "deepseek-chat", JUNE, Usage(input_tokens=0, output_tokens=0)),
        metered("deepseek", "nobody-sells-this", JUNE, Usage(input_tokens=10, output_tokens=5)),
    ]
    path = ledger_of(tmp_path / f"{next(_numbers)}.db", records)
    own = value_ledger(path, BOOK, at=None, name="own")
    june = value_ledger(path, BOOK, at=JUNE, name="june")
    assert own.changed == 0
    assert own.valued == own.ledger
    changed, sums = 0, Decimal(0)
    for one in records:
        cost = one.cost
        listed = {} if cost.currency is None else {"currency": cost.currency}
        again = BOOK.price(one.usage, provider=str(one.provider), model=str(one.request_model), at=JUNE, params=listed)
        for name, expected in (("own", cost), ("june", again)):
            status, amount, rate = rows_of(path, name)[one.id]
            assert (status, rate) == (expected.status, expected.rate_id if expected.amount is not None else None)
            assert amount == (None if expected.amount is None else plain(expected.amount))
        changed += cost.amount != again.amount
        if again.currency == "CNY" and again.amount is not None:
            sums = EXACT.add(sums, again.amount)
    assert june.changed == changed
    assert june.valued["CNY"] == sums


def test_no_table_is_left_behind_and_calls_can_be_written_meanwhile(tmp_path: Path) -> None:
    path = ledger_of(
        tmp_path / "spend.db", [metered("deepseek", "deepseek-chat", JUNE, Usage(input_tokens=1, output_tokens=1))]
    )
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM calls").fetchone()
        assert value_ledger(path, BOOK, at=None, name="x").calls.total() == 1
    with closing(sqlite3.connect(path)) as connection:
        names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert {"valuations", "valued_calls"} <= names
    assert "fresh" not in names
