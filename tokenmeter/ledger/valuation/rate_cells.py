"""The prices of a book as tables in SQLite, which an interval join finds for each call: forms, periods and cells.

A form is what calls have in common that are priced alike (`Form`). It has periods, each from an instant on: those of
its rates, cut where windows of the day begin and end. A period has cells: ranges of tokens, one for each tier, with the
prices of a token as integers. A period without cells is one in which calls are left to the general way.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from itertools import pairwise
from math import ceil, gcd
from typing import Any, Final, NamedTuple

from tokenmeter.ledger.valuation.columns import USUAL
from tokenmeter.ledger.valuation.linear_prices import DIGITS, LinearPrices, linear_of
from tokenmeter.ledger.valuation.stored_calls import Form, params_of
from tokenmeter.prices.book import Book
from tokenmeter.prices.quote import Quote

__all__ = ["NO_PRICE", "PRICES", "Cell", "RateCells"]

PRICES: Final = ("input_each", "read_each", "written_each", "output_each", "thought_each")
"""Columns of the price of one token: of text input, cache reads, cache writes, output and reasoning."""
NO_PRICE: Final = 2**63 - 1
"""The price of tokens that have none: none of them cost nothing, and any would leave the range of integers."""
_FOREVER: Final = 2**62
_ANY: Final = (0, _FOREVER) * len(USUAL)
_FORMS_MOST: Final = 20_000
_TABLES: Final = (
    "CREATE TEMP TABLE price_forms (dims INTEGER, params INTEGER, form INTEGER, period INTEGER, since_us INTEGER,"
    " until_us INTEGER, PRIMARY KEY (dims, params)) WITHOUT ROWID",
    "CREATE TEMP TABLE price_periods (form INTEGER, since_us INTEGER, period INTEGER, PRIMARY KEY (form, since_us))"
    " WITHOUT ROWID",
    "CREATE TEMP TABLE price_cells (period INTEGER, cell INTEGER, alone INTEGER, "
    + ", ".join(f"{name}_{end} INTEGER" for name in USUAL for end in ("from", "below"))
    + ", "
    + ", ".join(f"{name} INTEGER" for name in PRICES)
    + ", PRIMARY KEY (period, cell)) WITHOUT ROWID",
    "CREATE TEMP TABLE price_notes (cell INTEGER PRIMARY KEY, one INTEGER, digits INTEGER, currency TEXT, rate_id TEXT,"
    " unpriced INTEGER, same_list INTEGER, more INTEGER, less INTEGER)",
)
"""`price_forms` has the longest period of a form, which most calls need no search for. `alone` is a cell for any
numbers of tokens. `one` is a unit of money as an integer of so many digits; an amount's rest times `more` is the
ledger's 10⁻¹² times `less`. `unpriced` are calls whose cost the ledger does not know; `same_list` says that it has the
calls in this currency too."""


class Cell(NamedTuple):
    """The prices of a tier, for calls that the ledger has in some currency, or does not know the cost of."""

    prices: LinearPrices
    digits: int
    """Decimals of the integers that amounts are computed in: the fewest that hold all prices."""
    spent_in: str | None
    unpriced: bool


class _Period(NamedTuple):
    """The time over which a form has the same cells, in microseconds."""

    period: int
    since_us: int
    until_us: int


class RateCells:
    """The tables, filled with the forms that calls turn out to have."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        book: Book,
        at: float | None,
        since: float,
        until: float,
        forms_most: int = _FORMS_MOST,
    ) -> None:
        """`at` is the instant of all calls; None is their own, from `since` until `until` (seconds since 1970)."""
        self._connection, self._book, self._at, self._since, self._until = connection, book, at, since, until
        self._forms_most, self._overflow = forms_most, False
        self._forms: dict[tuple[Form, bool], tuple[int, _Period | None]] = {}
        self._periods: dict[tuple[Any, ...], int] = {(): 0}
        self.cells: dict[int, Cell] = {}
        for statement in _TABLES:
            connection.execute(statement)

    def add(self, dims: int, params: int, form: Form | None, *, unpriced: bool, worth: bool = True) -> None:
        """Calls of some dims and params have a form; None are calls that are not valued at all.

        A new form of so few calls that it is not `worth` its periods is one of those that `forget` drops.
        """
        number, longest = -1, None
        if form is not None:
            known = self._forms.get((form, unpriced))
            if known is None and worth and len(self._forms) < self._forms_most:
                number = len(self._forms)
                known = self._forms[form, unpriced] = number, self._fill(number, form, unpriced=unpriced)
            self._overflow = self._overflow or known is None
            number, longest = known or (self._forms_most, None)
        self._connection.execute(
            "INSERT INTO temp.price_forms VALUES (?, ?, ?, ?, ?, ?)",
            (dims, params, number, *(longest or (None, None, None))),
        )

    def forget(self) -> None:
        """Drop the forms of few calls and those that are too many to keep, which have no prices here."""
        if self._overflow:
            self._connection.execute("DELETE FROM temp.price_forms WHERE form = ?", (self._forms_most,))
            self._overflow = False

    def _fill(self, number: int, form: Form, *, unpriced: bool) -> _Period | None:
        """Write the periods of a form, and answer the longest."""
        provider, model, response_model = form[:3]
        asked = model or response_model
        periods: list[tuple[int, int]] = []
        if provider is not None and asked:
            for since_us, found in self._cells(provider, asked, response_model, params_of(form)):
                period = self._period(found, form[-1], unpriced=unpriced)
                if not periods or periods[-1][1] != period:
                    periods.append((since_us, period))
        self._connection.executemany(
            "INSERT INTO temp.price_periods VALUES (?, ?, ?)", [(number, *one) for one in periods]
        )
        spans = [_Period(period, since_us, end) for (since_us, period), (end, _) in pairwise([*periods, (_FOREVER, 0)])]
        return max((one for one in spans if one.period), key=lambda one: one.until_us - one.since_us, default=None)

    def _cells(
        self, provider: str, model: str, response_model: str | None, params: dict[str, Any]
    ) -> Iterator[tuple[int, tuple[Any, ...]]]:
        """The cells from each instant on (microseconds) at which they change."""
        if self._at is not None:
            quote = self._book.quote(provider, model, response_model, params, self._at)
            yield -_FOREVER, () if quote is None else tuple(_cells(quote, self._at))
            return
        instant = self._since
        while instant <= self._until:
            quote = self._book.quote(provider, model, response_model, params, instant)
            if quote is None:
                return
            of_rate: dict[int, tuple[Any, ...]] = {}  # by identity: the quote keeps its rates
            for start, _ in quote.spans(instant, min(quote.until, self._until)):
                rate = id(quote.rate_between(start, start))
                if rate not in of_rate:
                    of_rate[rate] = tuple(_cells(quote, start))
                yield ceil(start * 1_000_000), of_rate[rate]
            instant = quote.until
        yield ceil(self._until * 1_000_000), ()

    def _period(self, cells: tuple[Any, ...], spent_in: str | None, *, unpriced: bool) -> int:
        """The number of the period that has such cells."""
        key = (*cells, spent_in, unpriced) if cells else ()
        if key not in self._periods:
            period = self._periods[key] = len(self._periods)
            for ranges, prices in cells:
                self._write(period, ranges, Cell(prices, _digits(prices), spent_in, unpriced))
        return self._periods[key]

    def _write(self, period: int, ranges: tuple[int, ...], cell: Cell) -> None:
        number, step = len(self.cells), 10 ** (DIGITS - cell.digits)
        self.cells[number] = cell
        prices = [NO_PRICE if unit is None else unit // step for unit in cell.prices.units]
        row = (period, number, ranges == _ANY, *ranges, *prices)
        self._connection.execute(f"INSERT INTO temp.price_cells VALUES ({', '.join('?' * len(row))})", row)  # noqa: S608
        same = not cell.unpriced and cell.prices.currency == (cell.spent_in or "")
        more, less = 10 ** max(0, 12 - cell.digits), 10 ** max(0, cell.digits - 12)
        self._connection.execute(
            "INSERT INTO temp.price_notes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                number, 10**cell.digits, cell.digits, cell.prices.currency, cell.prices.rate_id, cell.unpriced, same,
                more, less,
            ),
        )  # fmt: skip


def _cells(quote: Quote, instant: float) -> Iterator[tuple[tuple[int, ...], LinearPrices]]:
    """The ranges of tokens and the linear prices of each tier at an instant, of those that calls of text can be in."""
    for ranges, table in quote.cells(instant):
        prices = linear_of(table, quote)
        if prices is None or any(name not in USUAL and start for name, (start, _) in ranges.items()):
            continue
        edges: list[int] = []
        for name in USUAL:
            start, below = ranges.get(name, (None, None))
            edges += (0 if start is None else start, _FOREVER if below is None else below)
        yield tuple(edges), prices


def _digits(prices: LinearPrices) -> int:
    """The fewest decimals that hold all prices, one at least."""
    divisor, digits = gcd(*(unit for unit in prices.units if unit)), DIGITS
    while digits > 1 and divisor and divisor % 10 == 0:
        divisor, digits = divisor // 10, digits - 1
    return digits
