"""Keeps the first records of a process until the price book is loaded, which takes longer than the loss window.

They are written without a cost at once, while a thread of its own loads the book, and again with their cost when it is
there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from tokenmeter._support.guard import guard
from tokenmeter.record import Record

__all__ = ["FirstRecords"]


class FirstRecords:
    """The records that were written without a cost. The writer's thread alone adds and takes.

    `loaded` is called once, on the loading thread. `pricing` is the lock under which records are priced.
    """

    def __init__(self, loaded: Callable[[], None], pricing: threading.Lock) -> None:
        self.book_is_loaded = False
        self._records: list[Record] = []
        self._loading = False
        self._loaded = loaded
        self._pricing = pricing

    def __len__(self) -> int:
        return len(self._records)

    def add(self, records: list[Record]) -> None:
        """Keep records to price later."""
        self._records += records
        if self._records and not self._loading:
            self._loading = True
            loader = threading.Thread(
                target=self._load_book, args=(self._records[0],), name="tokenmeter-prices", daemon=True
            )
            try:
                loader.start()
            except RuntimeError:  # no more threads
                self._load_book(self._records[0])

    def take(self) -> list[Record]:
        """Remove all, to price them. The first of them loads the book if nothing has."""
        self.book_is_loaded = True
        taken, self._records = self._records, []
        return taken

    def _load_book(self, record: Record) -> None:
        with self._pricing, guard("pricing a record for the ledger"):
            _ = record.cost
        self.book_is_loaded = True
        self._loaded()
