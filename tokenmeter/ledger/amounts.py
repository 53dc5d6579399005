"""Amounts of money as two integers, whole units and parts of 10⁻¹², so that SQL sums them exactly.

An amount with finer digits, or too large for SQLite's integers, is kept as text instead. Sums of the parts are split
once more in SQL (`EXACT_TOTAL`), since SQLite refuses a sum beyond 2⁶³ and nine million parts would reach it.
"""

from __future__ import annotations

import re
from decimal import ROUND_FLOOR, Decimal
from typing import TYPE_CHECKING, Final, NamedTuple

from tokenmeter.money import EXACT, plain

if TYPE_CHECKING:
    import sqlite3

__all__ = [
    "NO_AMOUNT", "PICO", "Amount", "amount_sql", "exact_total", "order_sql", "register_sums", "split_amount",
    "sum_parts_sql", "sum_sql",
]  # fmt: skip

PICO: Final = 10**12
_HALF: Final = 10**6
_LARGEST: Final = 2**63 - 1
_COMPLEMENT: Final = str.maketrans("0123456789", "9876543210")
_PLAIN: Final = re.compile(r"(-?)(0|[1-9][0-9]{0,17})(?:\.([0-9]{0,11}[1-9]))?")


class Amount(NamedTuple):
    """An amount as columns: `whole` and `pico` have its sign, `text` stands where they cannot say it."""

    whole: int | None
    pico: int | None
    text: str | None


NO_AMOUNT: Final = Amount(None, None, None)


def split_amount(text: str | None) -> Amount:
    """The columns of an amount in plain notation; all None if it is not known."""
    if text is None:
        return NO_AMOUNT
    found = _PLAIN.fullmatch(text)
    if found is None:
        return Amount(None, None, text)
    sign, whole, fraction = found.groups()
    parts = int(whole), int(f"{fraction or '':0<12}")
    if not sign:
        return Amount(*parts, None)
    return Amount(-parts[0], -parts[1], None) if any(parts) else Amount(None, None, text)


def amount_sql(name: str) -> str:
    """The amount of a row as plain text, as SQL over the columns `name_whole`, `name_pico` and `name_text`."""
    whole, pico, text = f"{name}_whole", f"{name}_pico", f"{name}_text"
    digits = f"abs({whole}) || rtrim(rtrim('.' || printf('%012d', abs({pico})), '0'), '.')"
    signed = f"CASE WHEN {whole} < 0 OR {pico} < 0 THEN '-' ELSE '' END || {digits}"
    return f"CASE WHEN {whole} IS NULL THEN {text} ELSE {signed} END"


def sum_sql(name: str, where: str | None = None) -> str:
    """The exact sum of an amount over rows, as text, NULL of none; `where` is SQL that a row must fulfil."""
    return f"exact_total({sum_parts_sql(name, where)})"


def sum_parts_sql(name: str, where: str | None = None) -> str:
    """The parts of such a sum, which `exact_total` puts together."""
    whole, pico, text = (
        column if where is None else f"CASE WHEN {where} THEN {column} END"
        for column in (f"{name}_whole", f"{name}_pico", f"{name}_text")
    )
    return f"sum({whole}), sum({pico} / {_HALF}), sum({pico} % {_HALF}), exact_sum({text}){_few(text)}"


def _few(text: str) -> str:
    """Spares an aggregate in Python the rows without a text, nearly all: SQLite has filters since 3.30."""
    import sqlite3

    return f" FILTER (WHERE {text} IS NOT NULL)" if sqlite3.sqlite_version_info >= (3, 30) else ""


def order_sql(name: str) -> tuple[str, str, str]:
    """What sorts as an amount does, as SQL: integers, and a text for amounts that these cannot say, which come last."""
    whole, pico, text = f"{name}_whole", f"{name}_pico", f"{name}_text"
    return f"coalesce({whole}, whole_of({text}))", f"coalesce({pico}, pico_of({text}))", f"sortable({text})"


class _ExactSum:
    """SQL aggregate: the exact sum of decimal texts; NULL of none."""

    def __init__(self) -> None:
        self._sum: Decimal | None = None

    def step(self, amount: str | None) -> None:
        if amount is not None:
            self._sum = Decimal(amount) if self._sum is None else EXACT.add(self._sum, Decimal(amount))

    def finalize(self) -> str | None:
        return None if self._sum is None else plain(self._sum)


def exact_total(whole: int | None, high: int | None, low: int | None, text: str | None) -> str | None:
    """The exact sum of whole units, of the upper and lower halves of parts, and of a text; None of none."""
    if whole is None or high is None or low is None:
        return text
    total = EXACT.add(Decimal(whole), EXACT.scaleb(Decimal(high * _HALF + low), -12))
    return plain(total if text is None else EXACT.add(total, Decimal(text)))


def _floor(amount: str) -> int:
    """An amount in parts of 10⁻¹², rounded down."""
    return int(EXACT.scaleb(Decimal(amount), 12).to_integral_value(ROUND_FLOOR))


def _whole_of(amount: str | None) -> int | None:
    if amount is None:
        return None
    parts = _floor(amount)
    whole = abs(parts) // PICO if parts >= 0 else -(abs(parts) // PICO)
    return max(-_LARGEST, min(whole, _LARGEST))


def _pico_of(amount: str | None) -> int | None:
    if amount is None:
        return None
    parts = _floor(amount)
    return parts % PICO if parts >= 0 else -(-parts % PICO)


def _sortable(amount: str | None) -> str | None:
    """A text that sorts as the number does: sign, then digits of one width before the point."""
    if amount is None:
        return None
    number = Decimal(amount)
    whole, _, fraction = plain(abs(number)).partition(".")
    digits = f"{whole:0>60}.{fraction}"
    if number >= 0:
        return f"1{digits}"
    return "0" + digits.translate(_COMPLEMENT) + "~"


def register_sums(connection: sqlite3.Connection) -> None:
    """Define the SQL functions `exact_sum` and `exact_total`, and of order `sortable`, `whole_of` and `pico_of`."""
    for function in (_sortable, _whole_of, _pico_of):
        connection.create_function(function.__name__[1:], 1, function, deterministic=True)
    connection.create_aggregate("exact_sum", 1, _ExactSum)  # type: ignore[arg-type]
    connection.create_function("exact_total", 4, exact_total, deterministic=True)
