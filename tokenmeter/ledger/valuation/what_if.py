"""What the calls of a ledger would cost as calls of other models: low, likely and high, never one number.

Each call is priced at its own instant with the tiers, peak hours and batch of the other model. Tokens are scaled by the
measured range between the families of the two models; the length of outputs is kept. A call whose tokens nobody can
scale (tools, media, a family that was not measured) is left out, and the answer says what share of the spend it rests
on.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import Any

from tokenmeter.ledger.opening import open_calls
from tokenmeter.ledger.valuation.call_pricing import CallPricing, ratio_to
from tokenmeter.ledger.valuation.candidate import Candidate
from tokenmeter.ledger.valuation.columns import batches, can_vectorise
from tokenmeter.ledger.valuation.fast_compare import FastCandidate
from tokenmeter.ledger.valuation.model_comparison import ModelComparison
from tokenmeter.ledger.valuation.recorded_requests import RecordedRequests
from tokenmeter.ledger.valuation.stored_calls import CallRow, rows_at, stored_rows
from tokenmeter.ledger.valuation.vector_compare import sums_of
from tokenmeter.money import EXACT
from tokenmeter.prices.book import Book

__all__ = ["compare_models"]


def compare_models(
    path: str,
    book: Book,
    models: Sequence[tuple[str, str]],
    *,
    at: datetime | None = None,
    since_us: int | None = None,
    until_us: int | None = None,
    cache: str = "keep",
    language: str | None = None,
    requests: RecordedRequests | None = None,
) -> ModelComparison:
    """Price the calls of a ledger as calls of `models` (provider and model). `at` None is each call's own instant.

    `cache` is `keep` (as much is read from the cache as was), `none`, or `measured` (as much as the model's own calls
    in the ledger read). Calls whose `requests` are there are counted anew. Raises LedgerError.
    """
    answer = ModelComparison([Candidate(*one) for one in models], cache, language, at)
    span = (None, None) if cache == "measured" else (since_us, until_us)  # what models read from the cache, ever
    with closing(open_calls(path, *span)) as connection:
        if cache == "measured":
            for candidate in answer.candidates:
                candidate.cache_rate = _cache_rate(connection, candidate)
        fast = [
            FastCandidate(one, book, cache=cache, at=at, ratio_of=partial(ratio_to, one.name, language))
            for one in answer.candidates
        ]
        whole = requests is None and can_vectorise(connection)
        rows_of = partial(_by_columns, answer, fast) if whole else stored_rows
        for page in rows_of(connection, since_us, until_us):
            for row in page:
                _add(row, answer, fast, book, None if requests is None else requests.find(row.ids))
    for one in fast:
        one.close()
    return answer


def _by_columns(
    answer: ModelComparison,
    fast: Sequence[FastCandidate],
    connection: sqlite3.Connection,
    since_us: int | None,
    until_us: int | None,
) -> Iterator[list[CallRow]]:
    """Add up calls by columns, and yield those that cannot be."""
    for batch in batches(connection, since_us, until_us):
        others = batch.others
        for group in batch.groups:
            sums = [sums_of(group, quick) for quick in fast]
            known = [one for one in sums if one is not None]
            if len(known) < len(sums):
                others += group.seqs.to_pylist()
                continue
            answer.calls += group.calls
            currency = group.form[-1] or ""
            if group.spent is not None:
                whole, pico = group.spent
                spent = EXACT.add(Decimal(whole), Decimal(pico).scaleb(-12))
                answer.spend[currency] = EXACT.add(answer.spend[currency], spent)
            for quick, one in zip(fast, known, strict=True):
                quick.take(one.amounts, one.currency, group.calls)
                if group.spent is None:
                    quick.candidate.unpriced += group.calls
                else:
                    rests = quick.candidate.rests_on
                    rests[currency] = EXACT.add(rests[currency], spent)
        yield from rows_at(connection, others)


def _add(
    row: CallRow, answer: ModelComparison, fast: Sequence[FastCandidate], book: Book, line: Mapping[str, Any] | None
) -> None:
    answer.calls += 1
    spent = None if row.spent is None else Decimal(row.spent)
    if spent is not None:
        currency = row.currency or ""
        answer.spend[currency] = EXACT.add(answer.spend[currency], spent)
    call = None
    for candidate, quick in zip(answer.candidates, fast, strict=True):
        if line is None and quick.add(row, spent):
            continue
        call = call or row.call()
        problem = CallPricing(candidate, call, book, answer, line).problem()
        if problem is not None:
            candidate.unknown[problem] += 1


def _cache_rate(connection: sqlite3.Connection, candidate: Candidate) -> Fraction | None:
    """The share of input that the model's own calls read from the cache; None where none of them says."""
    read, whole = connection.execute(
        "SELECT sum(cache_read_input_tokens), sum(input_tokens) FROM calls WHERE provider = ?"
        " AND ? IN (model, request_model, response_model) AND cache_read_input_tokens IS NOT NULL"
        " AND end_state NOT IN ('delegated', 'refused')",
        candidate.name,
    ).fetchone()
    return Fraction(read, whole) if whole and read <= whole else None
