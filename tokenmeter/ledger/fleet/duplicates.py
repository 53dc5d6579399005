"""Charges a response once that calls of several files recorded: a gateway and its client, each on its machine.

The rule is that of one file (`charged_once.py`): a vendor's own id, and calls that overlap in time. The one that is
in the database first is charged; the others are stored as delegated to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any, Final

from tokenmeter.ledger.charged_once import UNCHARGED, RecordingCall, recorded_by
from tokenmeter.ledger.fleet.engine import FleetStore, StoredKeys
from tokenmeter.ledger.fleet.source_file import SHIPPED, SourceFile
from tokenmeter.ledger.rows import is_unique

__all__ = ["Duplicates"]

_AT: Final = {name: 1 + place for place, name in enumerate(SHIPPED)}
_ID, _ENDED, _SPAN, _DIMS, _RESPONSE = (_AT[name] for name in ("id", "ended_us", "span_us", "dims", "response_id"))
_OF: Final = _AT["duplicate_of"]
_CLEARED: Final = tuple(_AT[name] for name in (*UNCHARGED, "provisional"))
_AT_ONCE: Final = 500

_Response = tuple[str | None, str]


class Duplicates:
    """Finds them among the calls of one file."""

    def __init__(self, file: SourceFile, store: FleetStore, keys: StoredKeys) -> None:
        self._file = file
        self._store = store
        self._keys = keys
        self._dims: dict[int, tuple[str | None, str | None]] = {}
        """Provider and end of calls, by the key of their dimensions in the file."""

    def mark(self, calls: Sequence[list[Any]], rows: Sequence[Sequence[Any]]) -> None:
        """Make those of the calls delegated whose response another one recorded, in the transaction that inserts them.

        `calls` have the keys of the database, `rows` are the same calls and more with those of the file. Most batches
        have no such call, so that the responses alone are looked at first.
        """
        responses = [row[_RESPONSE] for row in rows if is_unique(row[_RESPONSE])]
        if not responses:
            return
        found = self._recorders({*responses}, min(row[_ENDED] - row[_SPAN] for row in rows))
        if found or len({*responses}) < len(responses):
            self._mark(calls, rows, found)

    def _mark(
        self, calls: Sequence[list[Any]], rows: Sequence[Sequence[Any]], found: dict[_Response, list[RecordingCall]]
    ) -> None:
        by_seq = {row[0]: row for row in rows}
        self._learn({row[_DIMS] for row in rows})
        for call in sorted(calls, key=itemgetter(0)):
            row = by_seq[call[0]]
            provider, end = self._dims[row[_DIMS]]
            if row[_OF] is not None or end == "delegated" or not is_unique(row[_RESPONSE]):
                continue
            mine = RecordingCall(row[_ID], row[_ENDED] - row[_SPAN], row[_ENDED])
            ones = found.setdefault((provider, row[_RESPONSE]), [])
            first = recorded_by(mine, ones)
            if first is None:
                ones.append(mine)
                continue
            for at in _CLEARED:
                call[at] = None
            call[_DIMS] = self._keys.delegated(row[_DIMS])
            call[_OF] = first

    def _recorders(self, responses: set[str], since_us: int) -> dict[_Response, list[RecordingCall]]:
        """The calls in the database that recorded these responses, the first ones first."""
        found: dict[_Response, list[RecordingCall]] = {}
        for provider, response, name, started_us, ended_us in self._store.recorders(responses, since_us):
            found.setdefault((provider, response), []).append(RecordingCall(name, started_us, ended_us))
        return found

    def _learn(self, numbers: Iterable[int]) -> None:
        new = sorted({*numbers} - self._dims.keys())
        for at in range(0, len(new), _AT_ONCE):
            some = new[at : at + _AT_ONCE]
            query = f"SELECT id, provider, end_state FROM dims WHERE id IN ({', '.join('?' * len(some))})"
            self._dims.update({number: (provider, end) for number, provider, end in self._file.read(query, some)})
