"""How far a file is shipped: a row of the database, changed in the transaction of the calls."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import psycopg

    from tokenmeter.ledger.fleet.source_file import SourceFile

__all__ = ["Place", "checked_place", "locked_place", "save_place"]


class Place(NamedTuple):
    """The sequence of the last call shipped and its id, that of the last loss, and calls that await their cost."""

    seq: int
    last_id: str | None
    losses_seq: int
    provisional: tuple[int, ...]


def locked_place(database: psycopg.Connection[Any], name: str) -> Place:
    """The place of a file as the database has it, locked until the end of the transaction."""
    database.execute("INSERT INTO tokenmeter.shipped_files (file) VALUES (%s) ON CONFLICT DO NOTHING", (name,))
    found = database.execute(
        "SELECT seq, last_id, losses_seq, provisional FROM tokenmeter.shipped_files WHERE file = %s FOR UPDATE", (name,)
    ).fetchone()
    assert found is not None
    return Place(found[0], found[1], found[2], tuple(found[3]))


def checked_place(database: psycopg.Connection[Any], file: SourceFile) -> Place:
    """The place, if it is one of this very file; else the file is a copy that went its own way, and begins anew."""
    with database.transaction():
        place = locked_place(database, file.name)
    if _is_of(place, file):
        return place
    file.rename()
    with database.transaction():
        return locked_place(database, file.name)


def _is_of(place: Place, file: SourceFile) -> bool:
    if not place.seq:
        return True
    hex_id = "CASE typeof(id) WHEN 'blob' THEN lower(hex(id)) ELSE id END"
    if found := file.read(f"SELECT {hex_id} FROM call_rows WHERE seq = ?", (place.seq,)):
        return bool(found[0][0] == place.last_id)
    given = file.read("SELECT seq FROM sqlite_sequence WHERE name = 'call_rows'")
    return bool(given and given[0][0] >= place.seq)  # deleted since


def save_place(database: psycopg.Connection[Any], file: SourceFile, place: Place) -> None:
    """Note the place that is reached by this transaction."""
    database.execute(
        "UPDATE tokenmeter.shipped_files SET seq = %s, last_id = %s, losses_seq = %s, provisional = %s, host = %s, "
        "path = %s, shipped_at = now() WHERE file = %s",
        (place.seq, place.last_id, place.losses_seq, list(place.provisional), socket.gethostname(), file.path,
         file.name),
    )  # fmt: skip
