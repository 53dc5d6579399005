"""Sums of charges by row: in memory while their period is open, in a temporary file once it is over.

Calls come in the order in which they end. A row is final as soon as no later call can be in its period, so that memory
holds the rows of two days (or hours), however many an export has. Rows come out in the order of their keys.
"""

from __future__ import annotations

import pickle
import weakref
from collections.abc import Iterator
from tempfile import SpooledTemporaryFile
from typing import Any, Final

from tokenmeter.ledger.focus.row import ChargeKey, ChargeSums

__all__ = ["ChargeSpool"]

_IN_MEMORY: Final = 8 * 2**20
_AT_ONCE: Final = 500
_LONGEST: Final = {"day": 26 * 3600, "hour": 2 * 3600}
"""Seconds after its start by which a period is over on every clock, a day of 25 hours included."""


class ChargeSpool:
    """The rows of an export, in periods of a `day` or an `hour`."""

    def __init__(self, period: str) -> None:
        self._longest = _LONGEST[period]
        self._open: dict[ChargeKey, ChargeSums] = {}
        self._next = 0
        self._file = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - it lives as long as this object
        weakref.finalize(self, self._file.close)

    def reach(self, instant: int) -> None:
        """No call that ended before an instant (seconds since 1970) comes any more."""
        if instant >= self._next:
            self._write([key for key in self._open if key.start <= instant - self._longest])
            self._next = instant + self._longest // 2

    def sums(self, key: ChargeKey) -> ChargeSums:
        """The sums of a row, to add to."""
        found = self._open.get(key)
        if found is None:
            found = self._open[key] = ChargeSums()
        return found

    def close(self) -> None:
        """All calls came."""
        self._write(list(self._open))

    def __iter__(self) -> Iterator[tuple[ChargeKey, ChargeSums]]:
        """The rows in order, after `close`."""
        place = 0
        while True:
            self._file.seek(place)  # another reader may have been here
            try:
                page = pickle.load(self._file)
            except EOFError:
                return
            place = self._file.tell()
            for key, sums in page:
                yield ChargeKey(*key), ChargeSums(*sums)

    def _write(self, keys: list[ChargeKey]) -> None:
        keys.sort(key=_order)
        for first in range(0, len(keys), _AT_ONCE):
            page = [(tuple(key), self._open.pop(key).values()) for key in keys[first : first + _AT_ONCE]]
            pickle.dump(page, self._file, pickle.HIGHEST_PROTOCOL)


def _order(key: ChargeKey) -> tuple[Any, ...]:
    return tuple([(value is None, value) for value in key])
