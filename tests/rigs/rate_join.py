"""The SQL join of `docs/batch.md`: random calls, the exported table of rates, and the rows that the query gives."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tokenmeter.cli import main
from tokenmeter.prices.book import Book

DOCS = Path(__file__).parents[2] / "docs" / "batch.md"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PROVIDERS = ("deepseek", "openai", "alibaba", "zhipu", "google", "anthropic", "volcengine")
TOKENS = (
    "input_tokens", "output_tokens", "cache_read_input_tokens", "cache_write_input_tokens", "reasoning_output_tokens",
)  # fmt: skip
"""The columns of tokens that the query reads."""


def export_rates(folder: Path, params: Mapping[str, Any]) -> None:
    """Write the rates of the providers as Parquet files in a folder."""
    flags = [word for name, value in params.items() for word in ("--param", f"{name}={value}")]
    for provider in PROVIDERS:
        output = str(folder / f"{provider}.parquet")
        asked = ["prices", "export", "--provider", provider, "--output", output, "--until", "2027-06-01", *flags]
        assert main(asked) == 0


def join_query(folder: Path) -> tuple[str, str]:
    """The macro and the query of the documentation over the files in a folder."""
    block = re.findall(r"```sql\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)[0]
    macro, query = block.replace("'rates.parquet'", f"'{folder}/*.parquet'").split(";\n\n")
    return macro, query.strip().rstrip(";")


def random_calls(book: Book, count: int) -> list[dict[str, Any]]:
    """Calls of every name of a model that the book knows for the providers, and of names that it does not know."""
    some = random.Random(20)
    names = [
        (provider, model)
        for provider in PROVIDERS
        for prices in [book.provider_prices(provider)]
        if not isinstance(prices, str)
        for model in prices.names.all()
    ]
    names += [("deepseek", "deepseek-chat"), ("deepseek", "deepseek-reasoner")] * 60
    names += [("openai", "no such model"), ("nobody", "gpt-4o")]
    return [_call(some, number, *some.choice(names)) for number in range(count)]


def _call(some: random.Random, number: int, provider: str, model: str) -> dict[str, Any]:
    total = some.randrange(some.choice((500, 300_000, 1_200_000)))
    output = some.randrange(some.choice((50, 20_000)))
    read = some.choice((None, None, 0, some.randrange(total + 1)))
    since = some.choice((1_672_000_000_000_000, 1_760_000_000_000_000, 1_785_000_000_000_000))
    return {
        "number": number,
        "provider": provider,
        "model": model,
        "at": EPOCH + timedelta(microseconds=some.randrange(since, 1_800_000_000_000_000)),
        "input_tokens": some.choice((total, total, total, 32_000, 32_001, 128_000, 200_000, 200_001)),
        "output_tokens": output,
        "cache_read_input_tokens": None if read is None else min(read, 30_000),
        "cache_write_input_tokens": some.choice((None, None, 0, 0, 0, 0, some.randrange(100))),
        "reasoning_output_tokens": some.choice((None, 0, some.randrange(output + 1))),
    }


def call_table(rows: list[dict[str, Any]]) -> Any:
    """The calls as a pyarrow table."""
    import pyarrow as pa

    fields = [
        ("number", pa.int64()), ("provider", pa.string()), ("model", pa.string()),
        ("at", pa.timestamp("us", tz="UTC")), *((name, pa.int64()) for name in TOKENS),
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=pa.schema(fields))
