"""What the keys of a file's small tables stand for, read from the file and remembered."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from tokenmeter.ledger.charged_once import delegated_dims
from tokenmeter.ledger.tables import DIMS

if TYPE_CHECKING:
    from tokenmeter.ledger.fleet.source_file import SourceFile

__all__ = ["Contents"]

_COLUMNS: Final[dict[str, tuple[str, ...]]] = {"dims": DIMS, "tagsets": ("tags",), "texts": ("text",)}
_AT_ONCE: Final = 500
_REMEMBERED: Final = 100_000


class Contents:
    """The contents of one file's small tables: dims as their values, tags as a mapping, texts as they are."""

    def __init__(self, file: SourceFile) -> None:
        self._file = file
        self.of: Final[dict[str, dict[int | None, Any]]] = {table: {None: None} for table in _COLUMNS}

    def learn(self, table: str, numbers: Iterable[int | None]) -> None:
        """Read what these numbers stand for."""
        known = self.of[table]
        if len(known) > _REMEMBERED:
            known.clear()
            known[None] = None
        new = sorted({one for one in numbers if one is not None and one not in known})
        columns = ", ".join(_COLUMNS[table])
        for at in range(0, len(new), _AT_ONCE):
            some = new[at : at + _AT_ONCE]
            marks = ", ".join("?" * len(some))
            for number, *values in self._file.read(f"SELECT id, {columns} FROM {table} WHERE id IN ({marks})", some):
                known[number] = tuple(values) if table == "dims" else values[0]
                if table == "tagsets":
                    known[number] = json.loads(values[0])

    def delegated(self, number: int) -> tuple[Any, ...]:
        """The dimensions of a call that is not charged."""
        return delegated_dims(self.of["dims"][number])

    def why_not(self, table: str, number: int | None) -> str:
        """Why there is nothing."""
        return f"the file has no {number} in {table}"
