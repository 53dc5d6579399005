"""Amounts as integers: the same text comes back, and sums are exact beyond SQLite's integers."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmeter.ledger.amounts import Amount, amount_sql, order_sql, register_sums, split_amount, sum_sql
from tokenmeter.money import EXACT, plain


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        pytest.param(None, (None, None, None), id="not known"),
        pytest.param("0", (0, 0, None), id="nothing"),
        pytest.param("12.5", (12, 500_000_000_000, None), id="usual"),
        pytest.param("-0.000000000001", (0, -1, None), id="the smallest part below zero"),
        pytest.param("0.0000000000001", (None, None, "0.0000000000001"), id="finer than the parts"),
        pytest.param("1234567890123456789", (None, None, "1234567890123456789"), id="19 digits"),
        pytest.param("1.50", (None, None, "1.50"), id="a zero that another writer left"),
    ],
)
def test_an_amount_is_integers_where_they_say_it_all(text: str | None, columns: tuple[object, ...]) -> None:
    assert split_amount(text) == Amount(*columns)  # type: ignore[arg-type]


AMOUNTS = st.one_of(
    st.decimals(-(10**18), 10**18, places=12),
    st.decimals(-9, 9, places=30),
    st.decimals(0, 1, places=6),
)


@given(st.lists(st.none() | AMOUNTS, max_size=20))
def test_text_and_sum_are_those_of_decimals(amounts: list[Decimal | None]) -> None:
    texts = [None if amount is None else plain(amount) for amount in amounts]
    with closing(sqlite3.connect(":memory:")) as connection:
        register_sums(connection)
        connection.execute("CREATE TABLE t (a_whole INTEGER, a_pico INTEGER, a_text TEXT)")
        connection.executemany("INSERT INTO t VALUES (?, ?, ?)", [split_amount(text) for text in texts])
        assert [row[0] for row in connection.execute(f"SELECT {amount_sql('a')} FROM t ORDER BY rowid")] == texts  # noqa: S608
        (total,) = connection.execute(f"SELECT {sum_sql('a')} FROM t").fetchone()  # noqa: S608
    known = [amount for amount in amounts if amount is not None]
    expected = Decimal(0)
    for amount in known:
        expected = EXACT.add(expected, amount)
    assert total == (plain(expected) if known else None)


def test_sums_beyond_the_integers_of_sqlite_are_exact() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        register_sums(connection)
        connection.execute("CREATE TABLE t (a_whole INTEGER, a_pico INTEGER, a_text TEXT)")
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) "
            "INSERT INTO t SELECT 0, 999999999999, NULL FROM n, (SELECT i AS j FROM n WHERE i <= 500)"
        )  # 10 million parts: their plain sum is above 2⁶³
        with pytest.raises(sqlite3.OperationalError, match="overflow"):
            connection.execute("SELECT sum(a_pico) FROM t").fetchone()
        (total,) = connection.execute(f"SELECT {sum_sql('a')} FROM t").fetchone()  # noqa: S608
    assert total == plain(10_000_000 * Decimal("0.999999999999"))


@given(st.lists(AMOUNTS, max_size=20))
def test_the_order_is_that_of_decimals(amounts: list[Decimal]) -> None:
    texts = [plain(amount) for amount in amounts]
    with closing(sqlite3.connect(":memory:")) as connection:
        register_sums(connection)
        connection.execute("CREATE TABLE t (a_whole INTEGER, a_pico INTEGER, a_text TEXT)")
        connection.executemany("INSERT INTO t VALUES (?, ?, ?)", [split_amount(text) for text in texts])
        ordered = connection.execute(f"SELECT {amount_sql('a')} FROM t ORDER BY {', '.join(order_sql('a'))}")  # noqa: S608
        assert [Decimal(text) for (text,) in ordered] == sorted(amounts)


@pytest.mark.parametrize(
    "ordered",
    [
        pytest.param(["-1.0000000000051", "-1.000000000005", "-1"], id="finer below zero"),
        pytest.param(["1.000000000005", "1.0000000000051", "1.000000000006"], id="finer above zero"),
        pytest.param(["-98765432109876543210", "-5", "0", "12345678901234567890", "98765432109876543210"], id="large"),
    ],
)
def test_amounts_that_integers_cannot_say_have_their_place(ordered: list[str]) -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        register_sums(connection)
        connection.execute("CREATE TABLE t (a_whole INTEGER, a_pico INTEGER, a_text TEXT)")
        connection.executemany("INSERT INTO t VALUES (?, ?, ?)", map(split_amount, reversed(ordered)))
        found = connection.execute(f"SELECT {amount_sql('a')} FROM t ORDER BY {', '.join(order_sql('a'))}")  # noqa: S608
        assert [text for (text,) in found] == ordered
