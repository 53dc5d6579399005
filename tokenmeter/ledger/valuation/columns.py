"""Columns of a ledger's narrow rows in batches, as Arrow arrays, for the vectorised way of comparing.

A batch has the calls of a span of rows that used nothing but text, caches and reasoning, in groups of one form of
request; the other calls are named by their place, to be read as rows. pyarrow loads on use.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tokenmeter.ledger.valuation.stored_calls import Form
from tokenmeter.usage import TOKEN_FIELDS

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["PLAIN", "USUAL", "CallGroup", "ColumnBatch", "batches", "can_vectorise"]

_ROWS: Final = 200_000
_PARAMS: Final = 2**32
USUAL: Final = (
    "input_tokens", "output_tokens", "cache_read_input_tokens", "cache_write_input_tokens", "reasoning_output_tokens",
)  # fmt: skip
_REST: Final = tuple(name for name in TOKEN_FIELDS if name not in USUAL)
_MOST: Final = 2**40
"""Tokens of one call: sums of more may leave the integers of arrays."""
PLAIN: Final = " AND ".join(
    [
        "more IS NULL", "amount_text IS NULL", f"input_tokens < {_MOST}", f"output_tokens < {_MOST}",
        *(f"coalesce({name}, 0) = 0" for name in _REST),
    ]
)  # fmt: skip
"""What must hold of a row that needs no more columns than these."""
_DIMS: Final = (
    "provider", "request_model", "response_model", "service_tier", "region", "currency", "finish_reasons", "status",
    "end_state",
)  # fmt: skip


class CallGroup(NamedTuple):
    """Calls of one form: instants in microseconds, tokens in the order of `USUAL`, and what they cost in all."""

    form: Form
    finish_reasons: str | None
    calls: int
    seqs: pa.Array
    instants: pa.Array
    tokens: tuple[pa.Array, ...]
    spent: tuple[int, int] | None
    """Whole and 10⁻¹² parts; None where the ledger does not know the cost."""


@dataclass(slots=True)
class ColumnBatch:
    """The groups of a span of rows, and the places of the calls that have to be read as rows."""

    groups: list[CallGroup] = field(default_factory=list)
    others: list[int] = field(default_factory=list)


def can_vectorise(connection: sqlite3.Connection) -> bool:
    """Whether pyarrow is installed and the ledger has narrow rows alone."""
    try:
        import pyarrow.compute  # noqa: F401
    except ImportError:
        return False
    tables = {row[0] for row in connection.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'")}
    return "call_rows" in tables and "wide_calls" not in tables


def batches(connection: sqlite3.Connection, since_us: int | None, until_us: int | None) -> Iterator[ColumnBatch]:
    """The calls that ended in a span of time, without those that other calls carry or a budget refused."""
    dims = {
        row[0]: row[1:]
        for row in connection.execute(f"SELECT id, {', '.join(_DIMS)} FROM dims")  # noqa: S608
        if row[-1] not in ("delegated", "refused")
    }
    spans = [(text, at) for text, at in (("ended_us >= ?", since_us), ("ended_us < ?", until_us)) if at is not None]
    where = " AND ".join(text for text, _ in spans) or "1"
    cursor = connection.execute(
        f"SELECT seq, dims, coalesce(params, 0), ended_us + coalesce(priced_us, 0), {PLAIN},"  # noqa: S608
        f" {', '.join(USUAL)}, amount_whole, amount_pico FROM call_rows WHERE {where}",
        [at for _, at in spans],
    )
    while rows := cursor.fetchmany(_ROWS):
        yield _batch(connection, rows, dims)


def _batch(
    connection: sqlite3.Connection, rows: list[tuple[Any, ...]], dims: dict[int, tuple[Any, ...]]
) -> ColumnBatch:
    import pyarrow as pa
    import pyarrow.compute as pc

    seqs, dim, params, instants, plain, *numbers = (pa.array(column, pa.int64()) for column in zip(*rows, strict=True))
    whole_in, whole_out = numbers[:2]
    read, written, thought = (pc.fill_null(one, 0) for one in numbers[2:5])
    least = pc.min_element_wise(
        pc.subtract(pc.subtract(whole_in, read), written), pc.subtract(whole_out, thought), read, written, thought,
        skip_nulls=False,
    )  # fmt: skip
    usual = pc.and_(pc.equal(pc.fill_null(plain, 0), 1), pc.fill_null(pc.greater_equal(least, 0), fill_value=False))
    coded = pc.dictionary_encode(pc.add(pc.multiply(dim, _PARAMS), params))
    keys, numbered = _keys(connection, coded.dictionary.to_pylist(), dims)
    group = pc.take(pa.array(numbered, pa.int64()), coded.indices)
    batch = ColumnBatch()
    here = pc.greater_equal(group, 0)
    batch.others += seqs.filter(pc.and_(here, pc.invert(usual))).to_pylist()
    table = pa.table(
        [seqs, instants, whole_in, whole_out, read, written, thought, *numbers[5:], group], list("sinorwtapg")
    )
    table = table.filter(pc.and_(here, usual))
    for number, (form, reasons, unpriced) in enumerate(keys):
        some = table.filter(pc.equal(table["g"], number)).combine_chunks()
        if not some.num_rows:
            continue
        costs = [some[name].combine_chunks() for name in "ap"]
        if not unpriced and any(one.null_count for one in costs):
            batch.others += some["s"].to_pylist()
            continue
        whole, pico = (0 if unpriced else pc.sum(one).as_py() for one in costs)
        columns = [some[name].combine_chunks() for name in "sinorwt"]
        batch.groups.append(
            CallGroup(
                form,
                reasons,
                some.num_rows,
                columns[0],
                columns[1],
                tuple(columns[2:]),
                None if unpriced else (whole, pico),
            )
        )
    return batch


def _keys(
    connection: sqlite3.Connection, codes: list[int], dims: dict[int, tuple[Any, ...]]
) -> tuple[list[tuple[Form, str | None, bool]], list[int]]:
    """The groups that calls of some codes (dims and params) are in, and the number of the group of each code."""
    keys: dict[tuple[Form, str | None, bool], int] = {}
    numbered: list[int] = []
    texts: dict[int, str | None] = {0: None}
    for code in codes:
        dim, params = divmod(code, _PARAMS)
        if dim not in dims:
            numbered.append(-1)
            continue
        if params not in texts:
            texts[params] = connection.execute("SELECT text FROM texts WHERE id = ?", (params,)).fetchone()[0]
        provider, model, response_model, tier, region, currency, reasons, status, _ = dims[dim]
        form = (provider, model, response_model, texts[params], tier, region, currency)
        numbered.append(keys.setdefault((form, reasons, status == "unpriced"), len(keys)))
    return list(keys), numbered
