"""An accumulator fed with records, and its sums."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tokenmeter.otel.sums import Accumulator
from tokenmeter.record import Record


def sums(accumulator: Accumulator, table: str, *names: str) -> dict[tuple[Any, ...], Any]:
    """Rows of a table by the values of some attributes, added up."""
    accumulator.fold()
    found: dict[tuple[Any, ...], Any] = {}
    for attributes, value in accumulator.rows(table):
        key = tuple(attributes.get(name) for name in names)
        found[key] = found.get(key, 0) + value
    return found


def fed(records: Iterable[Record], **options: Any) -> Accumulator:
    accumulator = Accumulator(**options)
    for one in records:
        accumulator.add(one)
    return accumulator
