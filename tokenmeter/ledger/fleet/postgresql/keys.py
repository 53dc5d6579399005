"""The keys of a file's small tables, as the keys of the same things in the database of a fleet.

What calls have in common, sets of tags and texts have numbers in every file and others in the database, where a digest
of the content finds them. What the database does not take has no key, and the calls that name it are refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from tokenmeter.ledger.charged_once import delegated_dims
from tokenmeter.ledger.fleet.postgresql.schema import REFUSALS
from tokenmeter.ledger.shapes import encode
from tokenmeter.ledger.tables import DIMS

if TYPE_CHECKING:
    import psycopg

    from tokenmeter.ledger.fleet.source_file import SourceFile

__all__ = ["Keys", "digest_of", "is_refusal"]

_COLUMNS: Final[dict[str, tuple[str, ...]]] = {"dims": DIMS, "tagsets": ("tags",), "texts": ("text",)}
"""The small tables, and what stands in them beside number and digest."""
_AT_ONCE: Final = 500
_REMEMBERED: Final = 100_000


class Keys:
    """The keys of one file, looked up once and remembered."""

    def __init__(self, file: SourceFile, database: psycopg.Connection[Any]) -> None:
        self._file = file
        self._database = database
        self.of: Final[dict[str, dict[int | None, int | None]]] = {table: {None: None} for table in _COLUMNS}
        """By table, the key there of each key here; None is the key of nothing."""
        self.refused: dict[tuple[str, int], str] = {}
        """Why the database does not take something, by table and key here."""
        self._delegated: dict[int, int] = {}

    def learn(self, table: str, numbers: Iterable[int | None]) -> None:
        """Look up, or store, what these numbers of a file stand for."""
        known = self.of[table]
        if len(known) > _REMEMBERED:
            known.clear()
            known[None] = None
        new = sorted({one for one in numbers if one is not None and one not in known})
        for at in range(0, len(new), _AT_ONCE):
            self._learn(table, new[at : at + _AT_ONCE])

    def _learn(self, table: str, numbers: Sequence[int]) -> None:
        columns = _COLUMNS[table]
        marks = ", ".join("?" * len(numbers))
        query = f"SELECT id, {', '.join(columns)} FROM {table} WHERE id IN ({marks})"
        found = {digest_of(values): (number, values) for number, *values in self._file.read(query, numbers)}
        there = self._there(table, found)
        insert = _insert_into(table)
        # In the order of the digests, so that two shippers never wait for each other.
        missing = [(digest, found[digest]) for digest in sorted(found.keys() - there.keys())]
        for digest, (number, values) in missing:
            self._insert(table, number, insert, (digest, *values))
        if missing:
            there = self._there(table, found)
        for digest, (number, _) in found.items():
            if digest in there:
                self.of[table][number] = there[digest]

    def _there(self, table: str, digests: Iterable[bytes]) -> dict[bytes, int]:
        query = f"SELECT digest, id FROM tokenmeter.{table} WHERE digest = ANY(%s)"
        return dict(self._database.execute(query, (list(digests),)))

    def _insert(self, table: str, number: int, insert: str, values: Sequence[Any]) -> None:
        import psycopg

        try:
            self._database.execute(insert, values)
        except psycopg.Error as error:
            if not is_refusal(error):
                raise
            self.refused[table, number] = " ".join(str(error).split())

    def delegated(self, number: int) -> int:
        """The key of the dimensions of a call that is not charged."""
        if number not in self._delegated:
            ((*values,),) = self._file.read(f"SELECT {', '.join(DIMS)} FROM dims WHERE id = ?", (number,))
            dims = delegated_dims(values)
            digest = digest_of(dims)
            self._database.execute(_insert_into("dims"), (digest, *dims))
            self._delegated[number] = self._there("dims", [digest])[digest]
        return self._delegated[number]

    def why_not(self, table: str, number: int | None) -> str:
        """Why there is no key."""
        return self.refused.get((table, number or 0), f"the file has no {number} in {table}")


def _insert_into(table: str) -> str:
    columns = _COLUMNS[table]
    return (
        f"INSERT INTO tokenmeter.{table} (digest, {', '.join(columns)}) "
        f"VALUES (%s{', %s' * len(columns)}) ON CONFLICT (digest) DO NOTHING"
    )


def is_refusal(error: Exception) -> bool:
    """Whether an error is about the data of a row, so that other rows may go in."""
    import psycopg

    state = getattr(error, "sqlstate", None)
    return isinstance(error, psycopg.DataError) if state is None else state.startswith(REFUSALS)


def digest_of(values: Sequence[Any]) -> bytes:
    """A digest of what stands in a row of a small table, by which the database finds it."""
    return blake2b(encode(values).encode("utf-8", "surrogatepass"), digest_size=16).digest()
