"""Amounts of money as two integers, whole units and parts of 10⁻¹², so that SQL sums them exactly.

An amount with finer digits, or too large for SQLite's integers, is kept as text instead. Sums of the parts are split
once more in SQL (`EXACT_TOTAL`), since SQLite refuses a sum beyond 2⁶³ and nine million parts would reach it.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Final, NamedTuple

from tokenmeter.money import EXACT, plain

if TYPE_CHECKING:
    import sqlite3

__all__ = ["NO_AMOUNT", "PICO", "Amount", "amount_sql", "register_sums", "split_amount", "sum_sql"]

PICO: Final = 10**12
_HALF: Final = 10**6
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
    whole, pico, text = (
        column if where is None else f"CASE WHEN {where} THEN {column} END"
        for column in (f"{name}_whole", f"{name}_pico", f"{name}_text")
    )
    return f"exact_total(sum({whole}), sum({pico} / {_HALF}), sum({pico} % {_HALF}), exact_sum({text}))"


class _ExactSum:
    """SQL aggregate: the exact sum of decimal texts; NULL of none."""

    def __init__(self) -> None:
        self._sum: Decimal | None = None

    def step(self, amount: str | None) -> None:
        if amount is not None:
            self._sum = Decimal(amount) if self._sum is None else EXACT.add(self._sum, Decimal(amount))

    def finalize(self) -> str | None:
        return None if self._sum is None else plain(self._sum)


def _exact_total(whole: int | None, high: int | None, low: int | None, text: str | None) -> str | None:
    if whole is None or high is None or low is None:
        return text
    total = EXACT.add(Decimal(whole), EXACT.scaleb(Decimal(high * _HALF + low), -12))
    return plain(total if text is None else EXACT.add(total, Decimal(text)))


def register_sums(connection: sqlite3.Connection) -> None:
    """Define the SQL functions `exact_sum` and `exact_total` on a connection."""
    connection.create_aggregate("exact_sum", 1, _ExactSum)  # type: ignore[arg-type]
    connection.create_function("exact_total", 4, _exact_total, deterministic=True)
