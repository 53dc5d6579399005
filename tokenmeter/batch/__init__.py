"""Counts and prices columns of calls: Arrow record batches in, record batches out, whatever engine they come from.

    reader = tokenmeter.batch.price(duckdb.sql("FROM calls"))          # or a Polars frame, a pyarrow table, batches
    duckdb.sql("SELECT provider, sum(cost) FROM reader GROUP BY 1")

`count`, `price` and `reprice` take an object with the Arrow PyCapsule interface (`__arrow_c_stream__` or
`__arrow_c_array__`) or an iterable of such objects, and answer a `pyarrow.RecordBatchReader`: the columns that came in,
uncopied, and the results beside them. Rows are read as the answer is, a batch at a time. What is wrong with a row is a
reason in that row. pyarrow is needed (`pip install 'tokenmeter-sdk[ledger-fast]'`), and loaded on use. docs/batch.md
names the columns.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenmeter.prices.book import Book

__all__ = ["count", "price", "reprice"]


def count(
    batches: Any,
    *,
    column: str = "text",
    model: str | None = None,
    provider: str | None = None,
    at: datetime | str | None = None,
) -> Any:
    """Count the tokens of the texts in a column; `model` and `provider` are columns, or these for all rows.

    Adds `tokens`, `tokens_low`, `tokens_high`, `tokens_method`, `tokens_family`, `tokens_reason`. Raises
    ConfigurationError where a column that is needed is missing, has another type, or a result's name.
    """
    from tokenmeter.batch.counting import counted

    return counted(batches, column=column, model=model, provider=provider, at=at)


def price(
    batches: Any,
    *,
    provider: str | None = None,
    model: str | None = None,
    at: datetime | date | str | None = None,
    book: Book | None = None,
    **params: Any,
) -> Any:
    """What the calls of each row cost: `provider`, `model`, `at` and `params` are columns, or these for all rows.

    Adds `cost` and `cost_text`, `cost_currency`, `cost_status`, `cost_rate_id`, `cost_confidence`, `cost_book`,
    `cost_flags`, `cost_reason`, `cost_source`. Without `at` all rows are priced at the instant of this call. Raises
    ConfigurationError where a column that is needed is missing, has another type, or a result's name.
    """
    from tokenmeter.batch.pricing import priced

    return priced(batches, provider=provider, model=model, at=at, book=book, params=params)


def reprice(batches: Any, *, at: datetime | date | str | None = None, book: Book | None = None) -> Any:
    """What the calls of a ledger or of sealed months cost by this book: each at its own instant, or all `at` one.

    The columns are those of the view `calls`. Adds the columns of `price`, as `repriced`, `repriced_text`,
    `repriced_currency` and so on. Raises ConfigurationError as `price` does.
    """
    from tokenmeter.batch.pricing import repriced

    return repriced(batches, at=at, book=book)
