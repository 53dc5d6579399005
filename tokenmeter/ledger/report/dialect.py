"""What engines say in different SQL, of what a report asks: periods, tags, exact money, likeness.

Everything else of a question is the same text in every engine. `SQLITE` is that of a ledger file, whose functions are
our own (`columns.register`); a fleet's database has another (`ledger/fleet/postgresql/dialect.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from tokenmeter.ledger.amounts import order_sql, sum_sql
from tokenmeter.ledger.report.columns import KEYS, TAG

__all__ = ["SQLITE", "Dialect"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Dialect:
    """The SQL of one engine. A `?` is where a value is bound."""

    keys: Mapping[str, str]
    """What a report can be grouped by, as SQL over `calls`."""
    tag: str
    """The value of a tag, whose name is bound."""
    has_tag: str
    """A query that answers a row if a call has the tag whose name is bound."""
    tags: str
    """A query for the names of all tags, in their order."""
    compared: str
    """A comparison of money, of `column`, `operator` and `value`."""
    like: str
    """Likeness of `column` and `value`, `negated` or not: letters of either case are alike in ASCII."""
    total: Callable[[str, str | None], str]
    """The exact sum, as text, of `amount` or `vendor` over the calls of which a condition holds."""
    sum_of_x: str
    """The exact sum of an amount of money `x`, as text."""
    utc_day: str
    """The day of UTC on which a call ended, in days since 1970."""
    order: Callable[[str], tuple[str, ...]]
    """What sorts as an amount of money does, which is SQL over `calls` itself."""
    rank: str = "(m * {percent} + 99) / 100"
    """The rank of a percentile among `m` values, a whole number."""


_PARTS: Final = {"amount": order_sql("amount"), "vendor_amount": order_sql("vendor")}


def _order(amount: str) -> tuple[str, ...]:
    return _PARTS.get(amount) or (f"sortable({amount})",)


SQLITE: Final = Dialect(
    keys=KEYS,
    tag=TAG,
    has_tag="SELECT 1 FROM tag_names WHERE name = ? LIMIT 1",
    tags="SELECT DISTINCT name FROM tag_names ORDER BY 1",
    compared="compare_exactly({column}, {value}) {operator} 0",
    like="{column} {negated}LIKE {value}",
    total=sum_sql,
    sum_of_x="exact_sum(x)",
    utc_day="(ended_us - (ended_us % 86400000000 + 86400000000) % 86400000000) / 86400000000",
    order=_order,
)
