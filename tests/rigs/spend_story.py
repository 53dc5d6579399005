"""Five weeks of a small company's calls, priced by the real book and written by the product's own ledger.

Eight models of Chinese and other vendors, two currencies, a vendor's price change on 17 August 2026 with peak hours,
weekends, cache and reasoning, errors, aborted and uncounted calls, models without a price, tags, scopes, traces and a
budget. `python -m tests.rigs.spend_story spend.db [CALLS_A_DAY]` writes it for looking at.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from tests.rigs.made_records import nanoseconds
from tokenmeter.cost import Cost
from tokenmeter.ledger.writer import Ledger
from tokenmeter.prices.book import Book, load_book
from tokenmeter.record import Attempt, End, Record
from tokenmeter.usage import Source, Usage

FIRST = datetime(2026, 7, 31, 16, tzinfo=UTC)  # 1 August in Shanghai
DAYS = 31
HOSTILE = '<script>document.title="owned"</script>\x1b[31m\u202e"\'&'


class Model(NamedTuple):
    """How one model is used: `weight` of calls, usual tokens, the share read from a cache, seconds a call."""

    provider: str
    name: str
    weight: int
    tokens: tuple[int, int]
    cached: float
    reasoning: float
    seconds: float
    teams: tuple[str, ...]


MODELS = (
    Model("deepseek", "deepseek-chat", 30, (9_000, 700), 0.6, 0, 6, ("search", "客服", "ads")),
    Model("alibaba", "qwen-plus", 22, (6_000, 500), 0.3, 0, 4, ("search", "ads")),
    Model("alibaba", "qwen3-max", 9, (12_000, 900), 0.4, 0.3, 14, ("research", "ads")),
    Model("volcengine", "doubao-seed-1-6-250615", 16, (5_000, 600), 0.2, 0.4, 7, ("客服",)),
    Model("zhipu", "glm-4.6", 9, (10_000, 800), 0.5, 0.2, 9, ("research", "客服")),
    Model("moonshot", "kimi-k2-0905-preview", 6, (14_000, 900), 0.7, 0, 12, ("research",)),
    Model("openai", "gpt-5", 6, (8_000, 1_200), 0.4, 0.6, 18, ("research", "ads")),
    Model("anthropic", "claude-sonnet-4-5", 7, (20_000, 1_100), 0.8, 0, 16, ("research", "platform")),
    Model("google", "gemini-2.5-pro", 3, (15_000, 1_000), 0.1, 0.5, 20, ("research",)),
    Model("deepseek", "deepseek-next", 2, (4_000, 400), 0, 0, 5, ("search",)),
    Model("local", "rerank-7b", 2, (2_000, 0), 0, 0, 0.4, ("search",)),
)
SCOPES = {
    "search": ("answer", "rerank"),
    "research": ("agent", "plan"),
    "客服": ("chat",),
    "ads": ("nightly", "titles"),
}
BUDGETS = """\
[search-day]
limit = "6 CNY"
per = "day"
timezone = "Asia/Shanghai"
where = { team = "search" }

[research-month]
limit = "60 USD"
per = "month"
timezone = "Asia/Shanghai"
where = { team = "research" }
"""


def records(calls_a_day: int = 120, days: int = DAYS, seed: int = 7) -> Iterator[Record]:
    """The calls in order of their end."""
    book, dice = load_book(), random.Random(seed)  # a story, no secret
    number = 0
    for day in range(days):
        midnight = FIRST + timedelta(days=day)
        local = midnight + timedelta(hours=8)
        busy = (0.45 if local.weekday() >= 5 else 1.0) * (0.8 + 0.012 * day) * dice.uniform(0.9, 1.1)
        busy *= 1.7 if day == 19 else 1  # a launch
        instants = sorted(_hour(dice) for _ in range(max(1, round(calls_a_day * busy))))
        for hours in instants:
            number += 1
            yield _record(book, dice, number, midnight + timedelta(microseconds=int(hours * 3_600_000_000)))


def _hour(dice: random.Random) -> float:
    return min(23.99, max(0.0, dice.gauss(14, 4.5))) if dice.random() < 0.85 else dice.uniform(0, 23.99)


def _record(book: Book, dice: random.Random, number: int, ended: datetime) -> Record:
    (model,) = dice.choices(MODELS, [one.weight for one in MODELS])
    team = dice.choice(model.teams)
    end = End.COMPLETE
    size = dice.lognormvariate(0, 0.7)
    received = int(model.tokens[0] * size)
    written = int(model.tokens[1] * dice.lognormvariate(0, 0.6))
    seconds = model.seconds * (0.3 + 0.7 * dice.lognormvariate(0, 0.4))
    usage: Usage = Usage(
        input_tokens=received,
        output_tokens=written,
        cache_read_input_tokens=int(received * model.cached * dice.uniform(0.5, 1.2)) if model.cached else None,
        reasoning_output_tokens=int(written * model.reasoning) if model.reasoning else None,
    )
    changes: dict[str, Any] = {}
    chance = dice.random()
    if chance < 0.015:
        end, usage = End.ERROR, Usage(source=Source.NONE)
        changes = {"error_type": "RateLimitError", "status_code": 429}
    elif chance < 0.04:
        end = End.CLOSED_EARLY
        usage = Usage(input_tokens=received, output_tokens=written // 3, source=Source.COUNTED)
    elif chance < 0.06:
        near = (int(written * 0.8), int(written * 1.2) + 1)
        usage = Usage(
            input_tokens=received, output_tokens=written, source=Source.ESTIMATED, ranges={"output_tokens": near}
        )
    start = nanoseconds(ended) - int(seconds * 1e9)
    attempts = (Attempt(200, None, start, int(seconds * 1e9), usage=True),)
    if chance > 0.97:
        attempts = (Attempt(503, None, start, 10**8), *attempts)

    def price(record: Record) -> Cost:
        return book.price(record.usage, provider=model.provider, model=model.name, at=record.ended_at)

    return Record(
        id=f"call-{number:08d}",
        provider=model.provider,
        otel_provider=model.provider,
        api="openai.chat",
        operation="chat",
        request_model=model.name,
        response_model=None,
        host=f"api.{model.provider}.example",
        port=443,
        started_ns=start,
        ended_ns=nanoseconds(ended),
        end=end,
        stream=dice.random() < 0.6,
        time_to_first_chunk=seconds / 5,
        usage=usage,
        attempts=attempts,
        tags={"team": team, "user": f"user-{min(int(dice.expovariate(0.12)), 40):02d}"},
        scope=SCOPES.get(team, ()),
        trace_id=f"{number // 6 + 2**100:032x}",
        response_id=f"resp-{number}",
        budget_window=_windows(team, ended),
        pricer=price,
        **changes,
    )


def _windows(team: str, ended: datetime) -> dict[str, str]:
    local = ended + timedelta(hours=8)
    if team == "search":
        return {"search-day": f"{local:%Y-%m-%d}"}
    return {"research-month": f"{local:%Y-%m}"} if team == "research" else {}


def write(path: Path | str, made: Iterator[Record]) -> str:
    """Write records into a new ledger; its path."""
    ledger = Ledger(path)
    for number, one in enumerate(made):
        ledger.write(one)
        if number % 5_000 == 4_999:
            ledger.flush(60)
    ledger.close(120)
    return ledger.path


def total(made: Iterator[Record]) -> dict[str, Decimal]:
    """What the records cost, by currency."""
    sums: dict[str, Decimal] = {}
    for one in made:
        money = one.cost.total
        if money is not None:
            sums[money.currency] = sums.get(money.currency, Decimal(0)) + money.amount
    return sums


if __name__ == "__main__":
    write(sys.argv[1], records(int(sys.argv[2]) if len(sys.argv) > 2 else 120))
