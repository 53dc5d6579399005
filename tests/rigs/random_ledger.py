"""Ledgers of random records: every kind of cost, source, end, tag and period, from a seed."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.rigs.made_records import priced, record, unpriced
from tokenmeter.cost import STALE, Cost
from tokenmeter.ledger.writer import Ledger
from tokenmeter.money import Money
from tokenmeter.record import Attempt, End, Record
from tokenmeter.usage import Source, Usage

FIRST = datetime(2026, 9, 29, 20, tzinfo=UTC)
DAYS = 66
_TAGS = ("team", "user", "day", "odd $.name", "ключ")


def random_record(some: random.Random, number: int) -> Record:
    """One record; one in thirty costs an amount with more than twelve decimals."""
    ended = FIRST + timedelta(seconds=some.randrange(DAYS * 86_400), microseconds=some.randrange(10**6))
    digits = 20 if some.random() < 1 / 30 else 9
    amount = f"{some.randrange(3)}.{some.randrange(10**digits):0{digits}d}"
    currency = some.choice(("CNY", "USD"))
    confidence = some.choice(("corroborated", "single-source"))
    cost = priced(amount, currency, model=some.choice(("a", "b", "Ünï")), confidence=confidence)
    if some.random() < 0.1:
        cost = unpriced(some.choice(("no rate", "no model", "no $")))
    elif some.random() < 0.1:
        cost = Cost(cost._offer, "priced", cost.amount, cost._lines, ended, (STALE,))
    source = some.choice(tuple(Source))
    usage = Usage(
        input_tokens=some.choice((None, 0, some.randrange(10**6))),
        output_tokens=some.choice((None, some.randrange(10**4))),
        cache_read_input_tokens=some.choice((None, some.randrange(1000))),
        source=source,
    )
    names = some.sample(_TAGS, some.randrange(4))
    vendor = Money(cost.amount * 2, currency) if cost.amount is not None and some.random() < 0.2 else None
    return record(
        cost,
        ended=ended,
        id=f"{number:016x}",
        provider=some.choice(("deepseek", "openai", None)),
        request_model=some.choice(("a", "b")),
        usage=usage,
        end=some.choice((*End, End.COMPLETE, End.COMPLETE, End.COMPLETE)),
        stream=some.random() < 0.5,
        tags={name: some.choice(("x", "y", "é'\"", "1")) for name in names},
        scope=some.choice(((), ("night",), ("night", "job / 1"))),
        attempts=tuple(Attempt(200, None, 0, 10**8) for _ in range(some.randrange(3))),
        vendor_cost=vendor,
        time_to_first_chunk=some.choice((None, some.random())),
        status_code=some.choice((None, 200, 429)),
        error_type=some.choice((None, "timeout")),
        account=some.choice((None, "key-1", "Ünï")),
        tool_definition_tokens=some.choice((None, 0, some.randrange(5000))),
    )


def random_ledger(path: Path, seed: int, rows: int) -> Path:
    """A ledger of `rows` random records over 66 days."""
    some = random.Random(seed)
    ledger = Ledger(path)
    for number in range(rows):
        ledger.write(random_record(some, number))
    ledger.close(30)
    return path
