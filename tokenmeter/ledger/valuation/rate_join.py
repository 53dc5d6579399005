"""Prices the calls of a ledger inside SQLite, by an interval join with the prices of a book.

Most calls use text, caches and reasoning only, at linear prices. SQLite finds the period and the tier of each (see
`rate_cells`), multiplies integers and writes the amount, without a Python object for the call. What this cannot say
(media, fees, steps, nothing to pay, nothing known) is named by its place, for the general way; amounts, sums and what
changed are those of that way, to the digit. Rows go page by page in the order of their ids, which is that of the table
that is written to.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final, NamedTuple

from tokenmeter.ledger.schema import has_narrow_rows, has_wide_rows
from tokenmeter.ledger.valuation.columns import PLAIN, USUAL
from tokenmeter.ledger.valuation.linear_prices import DIGITS
from tokenmeter.ledger.valuation.rate_cells import PRICES, Cell, RateCells
from tokenmeter.ledger.valuation.stored_calls import Form
from tokenmeter.prices.book import Book

__all__ = ["PageSums", "can_join", "priced_pages"]

_ROWS: Final = 25_000
_FEW: Final = 64
"""Calls of one form on a page, of which the general way prices fewer sooner than their periods are made."""
_LOW: Final = 31
"""Bits of the lower part of an amount: sums of both parts fit into integers."""
_DIMS: Final = (
    "provider", "request_model", "response_model", "service_tier", "region", "currency", "status", "end_state",
)  # fmt: skip
_PAGE: Final = (
    "CREATE TEMP TABLE page (place INTEGER PRIMARY KEY, seq INTEGER, id, form INTEGER, cell INTEGER, usual INTEGER,"
    " amount, whole INTEGER, pico INTEGER)"
)
_LINEAR: Final = ("input_tokens - read - written", "read", "written", "output_tokens - thought", "thought")
_AMOUNT: Final = " + ".join(f"({tokens}) * k.{price}" for tokens, price in zip(_LINEAR, PRICES, strict=True))
_RANGED: Final = ("input_tokens", "output_tokens", "read", "written", "thought")
_IN_RANGE: Final = " AND ".join(
    f"{column} >= {name}_from AND {column} < {name}_below" for column, name in zip(_RANGED, USUAL, strict=True)
)
_END: Final = (
    "SELECT coalesce((SELECT id FROM call_rows WHERE {0} ORDER BY id LIMIT 1 OFFSET ?2 - 1),"
    " (SELECT max(id) FROM call_rows WHERE {0}))"
)
_FILL: Final = f"""
INSERT INTO temp.page
SELECT NULL, seq, id, f.form, k.cell, plain AND min({", ".join(_LINEAR)}) >= 0, {_AMOUNT}, whole, pico
FROM (
    SELECT seq, id, dims, coalesce(params, 0) AS params, ended_us + coalesce(priced_us, 0) AS instant, {PLAIN} AS plain,
        input_tokens, output_tokens, coalesce(cache_read_input_tokens, 0) AS read,
        coalesce(cache_write_input_tokens, 0) AS written, coalesce(reasoning_output_tokens, 0) AS thought,
        amount_whole AS whole, amount_pico AS pico
    FROM call_rows
) AS c
LEFT JOIN temp.price_forms AS f ON f.dims = c.dims AND f.params = c.params
LEFT JOIN temp.price_cells AS k ON k.period = CASE
    WHEN c.instant >= f.since_us AND c.instant < f.until_us THEN f.period
    ELSE (
        SELECT period FROM temp.price_periods AS p WHERE p.form = f.form AND p.since_us <= c.instant
        ORDER BY p.since_us DESC LIMIT 1
    )
END AND (k.alone OR ({_IN_RANGE}))
WHERE {{}} AND c.id <= ? ORDER BY c.id
"""  # noqa: S608
# Integers that leave their range become fractions in SQLite, which no amount is.
_SET_ASIDE: Final = f"""
UPDATE temp.page SET cell = NULL
WHERE cell IS NOT NULL AND (
    usual AND typeof(amount) = 'integer' AND amount > 0 AND amount < {2**62}
    AND (whole IS NOT NULL AND pico IS NOT NULL OR cell IN (SELECT cell FROM temp.price_notes WHERE unpriced))
) IS NOT 1
"""  # noqa: S608
_WRITE: Final = """
INSERT INTO valued_calls
SELECT ?, CASE typeof(id) WHEN 'blob' THEN lower(hex(id)) ELSE id END, 'priced',
    rtrim(rtrim(printf('%d.%0*d', amount / one, digits, amount % one), '0'), '.'), currency, rate_id, NULL
FROM temp.page JOIN temp.price_notes USING (cell) ORDER BY place
"""
_SUMS: Final = f"""
SELECT cell, count(*), sum(amount >> {_LOW}), sum(amount & {2**_LOW - 1}), sum(whole), sum(pico),
    sum(same_list AND amount / one = whole AND (amount % one) * more = pico * less)
FROM temp.page JOIN temp.price_notes USING (cell) GROUP BY cell
"""  # noqa: S608
_LEFT: Final = "SELECT seq FROM temp.page WHERE cell IS NULL AND form >= 0"


class PageSums(NamedTuple):
    """Calls of a page that one cell prices: how many, what they cost in units of 10⁻¹⁸, and in which currency."""

    calls: int
    total: int
    currency: str
    spent: int | None
    """What the ledger says that they cost, in units of 10⁻¹⁸; None where it does not know."""
    spent_in: str | None
    changed: int


def can_join(connection: sqlite3.Connection) -> bool:
    """Whether the ledger has narrow rows alone."""
    return has_narrow_rows(connection) and not has_wide_rows(connection)


def priced_pages(
    connection: sqlite3.Connection, book: Book, at: datetime | None, name: str, *, rows: int = _ROWS, few: int = _FEW
) -> Iterator[tuple[list[PageSums], list[int]]]:
    """Write what calls cost into `valued_calls`, page by page: the sums of each, and the places of the calls left.

    A page has so many `rows`; calls of a new form that has fewer than `few` of them are left. No statement is open
    while a page is answered, so that the connection can write.
    """
    connection.execute("PRAGMA temp_store = MEMORY")  # a page, and the prices
    (first,) = connection.execute("SELECT min(ended_us) FROM call_rows").fetchone()  # alone each uses the index
    (last,) = connection.execute("SELECT max(ended_us) FROM call_rows").fetchone()
    if first is None:
        return
    cells = RateCells(connection, book, None if at is None else at.timestamp(), first // 10**6, last // 10**6 + 86_400)
    connection.execute(_PAGE)
    id_: Any = None
    while True:
        after = "?1 IS NULL" if id_ is None else "id > ?1"
        end = connection.execute(_END.format(after), (id_, rows)).fetchone()[0]
        if end is None:
            break
        connection.execute(_FILL.format(after), (id_, end))
        while _add_forms(connection, cells, few):
            connection.execute("DELETE FROM temp.page")
            connection.execute(_FILL.format(after), (id_, end))
        connection.execute(_SET_ASIDE)
        id_ = end
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(_WRITE, (name,))
        connection.execute("COMMIT")
        sums = [_sums(cells.cells[row[0]], *row[1:]) for row in connection.execute(_SUMS)]
        left = connection.execute(_LEFT).fetchall()
        connection.execute("DELETE FROM temp.page")
        cells.forget()
        yield sums, [seq for (seq,) in left]


def _add_forms(connection: sqlite3.Connection, cells: RateCells, few: int) -> bool:
    """Add the forms of the page that are new; whether there are any."""
    rows = connection.execute(
        f"SELECT c.dims, coalesce(c.params, 0), count(*), texts.text, {', '.join(f'd.{name}' for name in _DIMS)}"  # noqa: S608
        " FROM temp.page JOIN call_rows AS c USING (seq) JOIN dims AS d ON d.id = c.dims"
        " LEFT JOIN texts ON texts.id = c.params WHERE temp.page.form IS NULL GROUP BY 1, 2"
    ).fetchall()
    new: list[tuple[int, int, Form | None, bool]] = []
    calls: Counter[tuple[Form | None, bool]] = Counter()
    for dims, params, count, text, provider, model, response_model, tier, region, currency, status, end in rows:
        form: Form | None = (provider, model, response_model, text, tier, region, currency)
        if end in ("delegated", "refused"):
            form = None
        new.append((dims, params, form, status == "unpriced"))
        calls[form, status == "unpriced"] += count
    for dims, params, found, unpriced in new:
        cells.add(dims, params, found, unpriced=unpriced, worth=calls[found, unpriced] >= few)
    return bool(rows)


def _sums(cell: Cell, calls: int, high: int, low: int, whole: int | None, pico: int | None, same: int) -> PageSums:
    total = ((high << _LOW) + low) * 10 ** (DIGITS - cell.digits)
    spent = None if cell.unpriced or whole is None or pico is None else whole * 10**DIGITS + pico * 10 ** (DIGITS - 12)
    return PageSums(calls, total, cell.prices.currency, spent, cell.spent_in, calls - same)
