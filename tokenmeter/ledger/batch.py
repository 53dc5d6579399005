"""The batch in hand: turns waiting records into rows, and commits them together with the losses so far.

The writer's thread fills and commits it, another thread only where that one has ended. A batch that the file does not
take stays in hand.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from tokenmeter._support.guard import guard
from tokenmeter.calls.usual_call import Settled, record_of
from tokenmeter.ledger.file import LedgerFile
from tokenmeter.ledger.first_records import FirstRecords
from tokenmeter.ledger.losses import Losses
from tokenmeter.ledger.rows import StoredRow, row
from tokenmeter.ledger.wakeups import FlushMark, answer
from tokenmeter.record import Record

__all__ = ["COMMIT_RECORDS", "Batch", "Waiting"]

COMMIT_RECORDS: Final = 500
"""Records that are committed at once."""

_NOT_STORED: Final = "the record could not be stored; the log says why"

Waiting = deque[Settled | FlushMark]
"""Records, and flushes between them, in the order they came."""


class Batch:
    """What was taken from the queue and is not yet committed. `book_loaded` is called when records can be priced."""

    def __init__(self, path: str, book_loaded: Callable[[], None]) -> None:
        self.file = LedgerFile(path)
        self.io = threading.Lock()
        """Held while the file is touched."""
        self.pricing = threading.Lock()
        """Held while records are priced: modules and prices are loaded meanwhile."""
        self.written = 0
        self.commits = 0
        self.commit_seconds: float | None = None
        """How long the last commit took."""
        self.losses = Losses()
        self._first = FirstRecords(book_loaded, self.pricing)
        self._rows: list[StoredRow] = []
        self._unpriced: list[StoredRow] = []  # rows of the first records, until they are priced
        self._marks: list[FlushMark] = []  # flushes that wait for those rows

    def __len__(self) -> int:
        """Records that are not in the file with their cost."""
        return len(self._rows) + len(self._first)

    @property
    def holds_rows(self) -> bool:
        """Whether rows are here that the file has not taken, beside those of the first records."""
        return bool(self._rows)

    @property
    def awaits_book(self) -> bool:
        """Whether first records are here that were written without a cost."""
        return len(self._first) > 0

    def fill(self, queue: Waiting, *, ending: bool) -> bool:
        """Turn waiting records into rows, as far as the batch has room; whether there is anything to commit."""
        first = self._first
        records: list[Record] = []
        while queue and len(self) + len(records) < COMMIT_RECORDS:
            item = queue.popleft()
            if isinstance(item, FlushMark):
                self._marks.append(item)
            else:
                records.append(record_of(item))
        if first.book_is_loaded or self._marks or ending or len(first) + len(records) >= COMMIT_RECORDS:
            self._unpriced = []
            self._make_rows(first.take() + records)
        else:
            with guard("making a row of the ledger"):
                self._unpriced += [row(record, priced=False) for record in records]
            first.add(records)
        return bool(self._rows or self._unpriced or self._marks or self.losses)

    def _make_rows(self, records: list[Record]) -> None:
        for record in records:
            made = len(self._rows)
            with self.pricing, guard("making a row of the ledger"):
                self._rows.append(row(record))
            if len(self._rows) == made:
                self.losses.add(record.ended_ns // 1000, 1, _NOT_STORED)

    def commit(self, queue: Waiting) -> bool:
        """Commit what is in hand; on failure it stays in hand. Answers the flushes that this settles."""
        rows, reached = self._rows, self._marks
        # In trouble, flushes far back in the queue are answered by this attempt, too; not those that come during it.
        asked = [item for item in list(queue) if isinstance(item, FlushMark)] if self.file.problem else []
        losses = self.losses.take()
        refused: int | None = 0
        if rows or losses or self._unpriced:
            began = time.monotonic()
            with self.io:
                refused = self.file.write(rows, losses, unpriced=self._unpriced)
            self.commit_seconds = time.monotonic() - began
            self.commits += refused is not None
        if refused is None:
            self.losses.give_back(losses)
            if self.file.problem is not None:
                self._marks = []
                answer([*reached, *asked], done=False)
            return False
        if refused:
            self.losses.add(time.time_ns() // 1000, refused, _NOT_STORED)
        self.written += len(rows) - refused
        self._rows, self._unpriced, self._marks = [], [], []
        answer(reached, done=True)
        return True
