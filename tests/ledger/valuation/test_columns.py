"""Columns of narrow rows: which calls are in groups, which have to be read as rows, and what a group has."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from tests.rigs.bills import ledger_of, metered
from tests.rigs.made_records import record, unpriced
from tokenmeter.ledger.schema import open_for_reading
from tokenmeter.ledger.valuation.columns import ColumnBatch, batches, can_vectorise
from tokenmeter.record import End
from tokenmeter.usage import Usage

pytest.importorskip("pyarrow")
AT = datetime(2026, 6, 2, 9, tzinfo=UTC)
USAGE = Usage(input_tokens=1_000, cache_read_input_tokens=100, output_tokens=50)


@pytest.fixture
def batch(tmp_path: Path) -> Iterator[ColumnBatch]:
    records = [
        metered("deepseek", "deepseek-chat", AT, USAGE),
        metered("deepseek", "deepseek-chat", AT, USAGE),
        metered("deepseek", "deepseek-chat", AT, USAGE, finish_reasons=("tool_calls",)),
        metered("deepseek", "deepseek-chat", AT, USAGE, params={"batch": True}),
        record(unpriced(), usage=USAGE, ended=AT),
        metered("deepseek", "deepseek-chat", AT, Usage(input_tokens=10, image_input_tokens=5, output_tokens=1)),
        metered("deepseek", "deepseek-chat", AT, Usage(input_tokens=10, output_tokens=1, quantities={"images": 1})),
        metered("deepseek", "deepseek-chat", AT, Usage(input_tokens=10, cache_read_input_tokens=20, output_tokens=1)),
        metered("deepseek", "deepseek-chat", AT, Usage(input_tokens=2**41, output_tokens=1)),
        record(unpriced(), usage=Usage(), end=End.ERROR),
        record(end=End.DELEGATED),
    ]
    with closing(open_for_reading(ledger_of(tmp_path / "spend.db", records))) as connection:
        assert can_vectorise(connection)
        (found,) = batches(connection, None, None)
        yield found


def test_calls_of_one_form_are_a_group_and_unusual_ones_are_left(batch: ColumnBatch) -> None:
    assert sorted(one.calls for one in batch.groups) == [1, 1, 1, 2]
    assert len(batch.others) == 5
    taken = [place for one in batch.groups for place in one.seqs.to_pylist()]
    assert not {*taken} & {*batch.others}


def test_a_group_has_tokens_instants_and_the_exact_spend(batch: ColumnBatch) -> None:
    (two,) = (one for one in batch.groups if one.calls == 2)
    assert [one.to_pylist() for one in two.tokens] == [[1_000] * 2, [50] * 2, [100] * 2, [0] * 2, [0] * 2]
    assert two.instants.to_pylist() == [int(AT.timestamp()) * 1_000_000] * 2
    cost = metered("deepseek", "deepseek-chat", AT, USAGE).cost.amount
    assert cost is not None
    assert two.spent is not None
    assert Decimal(two.spent[0]) + Decimal(two.spent[1]).scaleb(-12) == 2 * cost
    assert [one.calls for one in batch.groups if one.spent is None] == [1, 1]  # a batch has no price here
    assert {one.finish_reasons for one in batch.groups} == {None, '["tool_calls"]'}


def test_a_span_of_time(tmp_path: Path) -> None:
    path = ledger_of(tmp_path / "spend.db", [metered("deepseek", "deepseek-chat", AT, USAGE)])
    us = int(AT.timestamp()) * 1_000_000
    with closing(open_for_reading(path)) as connection:
        found = [sum(group.calls for one in batches(connection, *span) for group in one.groups) for span in (
            (us, us + 1), (us + 1, None), (None, us),
        )]  # fmt: skip
    assert found == [1, 0, 0]


def test_wide_rows_are_read_as_rows(tmp_path: Path) -> None:
    path = str(tmp_path / "old.db")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE calls (seq INTEGER)")
        assert not can_vectorise(connection)
