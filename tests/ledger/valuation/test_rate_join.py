"""Calls priced inside SQLite against the book, call by call: amounts, rates, sums and what changed."""

from __future__ import annotations

import os
import random
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Collection
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.rigs.bills import ledger_of, metered
from tests.rigs.made_records import record, unpriced
from tests.rigs.rate_join import random_calls
from tests.rigs.wide_ledger import made_wide
from tokenmeter.cost import Cost
from tokenmeter.ledger.schema import open_for_reading, open_for_writing
from tokenmeter.ledger.valuation.linear_prices import amount_of
from tokenmeter.ledger.valuation.rate_join import can_join, priced_pages
from tokenmeter.ledger.valuation.stored_calls import StoredCall, stored_rows
from tokenmeter.ledger.valuation.valuation import value_ledger
from tokenmeter.ledger.writer import Ledger
from tokenmeter.money import EXACT, plain
from tokenmeter.prices.book import Book, load_book
from tokenmeter.record import End, Record
from tokenmeter.usage import Usage

BOOK = load_book()
CALLS = int(os.environ.get("REPRICED_ROWS", "2000"))
NOON = datetime(2026, 3, 3, 12, tzinfo=UTC)
ACME = {
    "provider": "acme", "currency": "USD", "timezone": "UTC",
    "windows": {"night": {"hours": ["22:00-06:00"]}},
    "rate": [
        {"model": "tiers", "effective": date(2025, 1, 1), "input": 4, "cache_read": 1, "output": 8,
         "case": [{"when": {"input_tokens": "> 1000"}, "input": 6}, {"when": {"output_tokens": "> 500"}, "output": 9}]},
        {"model": "tiers", "effective": date(2026, 3, 1), "input": Decimal("0.123456789"), "output": 2},
        {"model": "hours", "effective": date(2025, 1, 1), "input": 2, "output": 2,
         "case": [{"when": {"window": "night"}, "multiply": Decimal("0.5")}]},
        {"model": "steps", "effective": date(2025, 1, 1), "input": 2, "output": 2, "minimum": {"input": 10}},
        {"model": "given", "effective": date(2025, 1, 1), "input": 0, "output": 0, "free": True},
        {"model": "fine", "effective": date(2025, 1, 1), "input": Decimal("0.0000000007"), "output": 3},
        {"model": "finest", "effective": date(2025, 1, 1), "input": Decimal("1e-13"), "output": 3},
        {"model": "dear", "effective": date(2025, 1, 1), "input": 10**12, "output": 3},
    ],
    "plan": [{"id": "team", "name": "Team"}],
}  # fmt: skip


def valued_rows(path: str, name: str) -> dict[str, tuple[Any, ...]]:
    query = "SELECT call_id, status, amount, currency, rate_id, reason FROM valued_calls WHERE valuation = ?"
    with closing(sqlite3.connect(path)) as connection:
        return {row[0]: row[1:] for row in connection.execute(query, (name,))}


class Expected:
    """What the book says of some calls, added up."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[Any, ...]] = {}
        self.statuses: Counter[str] = Counter()
        self.valued: dict[str, Decimal] = defaultdict(Decimal)
        self.ledger: dict[str, Decimal] = defaultdict(Decimal)
        self.changed = 0

    def add(self, call: StoredCall, cost: Cost | str) -> None:
        amount, currency = (None, None) if isinstance(cost, str) else (cost.amount, cost.currency)
        if call.amount is not None:
            self.ledger[call.currency or ""] = EXACT.add(self.ledger[call.currency or ""], call.amount)
        if isinstance(cost, str):
            self.rows[call.id] = ("unpriced", None, None, None, cost)
        else:
            assert amount is not None
            self.rows[call.id] = (cost.status, plain(amount), currency, cost.rate_id, None)
            self.valued[currency or ""] = EXACT.add(self.valued[currency or ""], amount)
        self.changed += call.amount != amount or (amount is not None and call.currency != currency)
        self.statuses[self.rows[call.id][0]] += 1


def expected(path: str, book: Book, at: datetime | None, only: Collection[str] | None = None) -> Expected:
    found = Expected()
    with closing(open_for_reading(path)) as connection:
        calls = [row.call() for page in stored_rows(connection) for row in page]
    for call in calls:
        if only is None or call.id in only:
            found.add(call, call.price(book, at))
    return found


def check(path: str, book: Book, at: datetime | None) -> Counter[str]:
    """Value a ledger and compare each call and all sums with the book; how many calls there are of each status."""
    answer = value_ledger(path, book, at=at, name="it", replace=True)
    wanted = expected(path, book, at)
    assert valued_rows(path, "it") == wanted.rows
    assert (dict(answer.calls), answer.changed) == (dict(wanted.statuses), wanted.changed)
    assert ({**answer.valued}, {**answer.ledger}) == (wanted.valued, wanted.ledger)
    return wanted.statuses


def check_join(path: str, book: Book, at: datetime | None) -> tuple[int, int]:
    """Value inside SQLite whatever goes there, and compare with the book; how many calls went there and were left."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        assert can_join(connection)
        connection.execute("DELETE FROM valued_calls WHERE valuation = 'joined'")
        pages = list(priced_pages(connection, book, at, "joined", rows=397, few=1))
    sums = [one for page, _ in pages for one in page]
    found = valued_rows(path, "joined")
    wanted = expected(path, book, at, found)
    assert found == wanted.rows
    assert (sum(one.calls for one in sums), sum(one.changed for one in sums)) == (len(found), wanted.changed)
    valued: dict[str, Decimal] = defaultdict(Decimal)
    ledger: dict[str, Decimal] = defaultdict(Decimal)
    for one in sums:
        valued[one.currency] = EXACT.add(valued[one.currency], amount_of(one.total))
        if one.spent is not None:
            ledger[one.spent_in or ""] = EXACT.add(ledger[one.spent_in or ""], amount_of(one.spent))
    assert (valued, ledger) == (wanted.valued, wanted.ledger)
    return len(found), sum(len(left) for _, left in pages)


def made(count: int) -> list[Record]:
    """Calls of all names of models, at all dates, of several price lists, with tiers, parameters and media."""
    some = random.Random(7)
    records = []
    for call in random_calls(BOOK, count):
        tokens = {name: value for name, value in call.items() if name.endswith("_tokens")}
        if some.random() < 0.03:
            tokens |= some.choice(
                ({"image_input_tokens": 5}, {"input_tokens": None}, {"cache_read_input_tokens": 10**7})
            )
        params = some.choice(({}, {}, {}, {"batch": True}, {"service_tier": "flex"}, {"thinking": True}, {"odd": 1}))
        quantities = {"quantities": {"web_search_calls": 2}} if some.random() < 0.02 else {}
        records.append(
            metered(
                call["provider"], call["model"], call["at"], Usage(**tokens, **quantities), params=params,
                currency=some.choice((None, None, None, "USD")),
                response_model=some.choice((None, None, call["model"], "gpt-4o-mini")),
            )
        )  # fmt: skip
    return records


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> str:
    held = Ledger(tmp_path_factory.mktemp("joined") / "spend.db")
    for number, one in enumerate(made(CALLS), 1):
        held.write(one)
        if not number % 5_000:
            held.flush(60)  # the queue has an end
    held.close(60)
    return held.path


@pytest.mark.parametrize("at", [None, datetime(2026, 6, 1, 3, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC)], ids=str)
def test_every_call_costs_what_the_book_says(ledger: str, at: datetime | None) -> None:
    statuses = check(ledger, BOOK, at)
    assert statuses["priced"] > 0.01 * CALLS
    assert statuses["unpriced"] > 0.01 * CALLS
    joined, left = check_join(ledger, BOOK, at)
    assert joined + left == CALLS
    assert joined > 0.8 * statuses["priced"]


def overlay_calls() -> list[Record]:
    book = Book.of(ACME)
    some = random.Random(3)
    records = []
    for number in range(600):
        at = datetime(2026, 2, 26, tzinfo=UTC) + timedelta(seconds=some.randrange(6 * 86_400))
        if number % 20 == 0:
            at = at.replace(hour=some.choice((6, 22)), minute=0, second=0)
        model = some.choice(("tiers", "tiers", "hours", "steps", "given", "fine", "finest", "dear", "nobody's"))
        read = some.choice((None, 0, 3))
        usage = Usage(
            input_tokens=some.choice((0, 3, 999, 1000, 1001, 10**6, 10**9)), output_tokens=some.choice((0, 500, 501)),
            cache_read_input_tokens=read,
        )  # fmt: skip
        params = some.choice(({}, {}, {"plan": "team"}))
        records.append(metered("acme", model, at, usage, params=params, book=book))
    records += [
        metered("acme", "tiers", NOON, Usage(input_tokens=5, output_tokens=5), book=book, id="a text that is no hex"),
        metered("acme", "tiers", NOON, Usage(input_tokens=5, output_tokens=5), book=book, end=End.DELEGATED),
        record(
            unpriced(), usage=Usage(input_tokens=5, output_tokens=5), ended=NOON, provider="acme", request_model="hours"
        ),
        record(unpriced(), usage=Usage(), ended=NOON, provider="acme", request_model="hours"),
    ]
    return records


@pytest.mark.parametrize("at", [None, NOON, NOON.replace(hour=23)], ids=str)
def test_tiers_hours_plans_and_fine_prices_of_an_overlay(tmp_path: Path, at: datetime | None) -> None:
    path = ledger_of(tmp_path / "spend.db", overlay_calls())
    assert set(check(path, Book.of(ACME), at)) == {"priced", "free", "unpriced"}
    cheaper = {**ACME, "rate": [{"model": "hours", "effective": date(2025, 1, 1), "input": 1, "output": 1}]}
    for data, sold in ((ACME, True), (cheaper, True), ({**ACME, "currency": "CNY"}, False)):
        check(path, Book.of(data), at)
        joined, left = check_join(path, Book.of(data), at)
        assert (joined > 20) == sold  # calls of another price list have no price
        assert left > 20


def test_rows_of_the_first_schema_are_priced_one_by_one(tmp_path: Path) -> None:
    path = ledger_of(tmp_path / "spend.db", overlay_calls())
    made_wide(Path(path), tmp_path / "wide.db")
    with closing(open_for_reading(str(tmp_path / "wide.db"))) as connection:
        assert not can_join(connection)
    assert check(str(tmp_path / "wide.db"), Book.of(ACME), NOON) == check(path, Book.of(ACME), NOON)


def test_a_call_that_ends_while_it_runs_stops_nothing(tmp_path: Path) -> None:
    book = Book.of(ACME)
    path = ledger_of(tmp_path / "spend.db", overlay_calls())
    value_ledger(path, book, at=None, name="it")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        pages = priced_pages(connection, book, None, "while it ran", rows=50, few=1)
        next(pages)
        later = metered(
            "acme", "tiers", NOON + timedelta(days=400), Usage(input_tokens=7, output_tokens=7), book=book, id="z"
        )
        ledger_of(tmp_path / "spend.db", [later])
        left = [place for _, places in pages for place in places]
        assert connection.execute("SELECT max(seq) FROM call_rows").fetchone()[0] in left  # beyond the periods known
    found, before = valued_rows(path, "while it ran"), valued_rows(path, "it")
    assert found == {call: before[call] for call in found}


def test_an_empty_ledger_has_no_pages(tmp_path: Path) -> None:
    path = str(tmp_path / "spend.db")
    open_for_writing(path).close()
    assert value_ledger(path, BOOK, at=None, name="none").to_dict()["calls"] == 0
