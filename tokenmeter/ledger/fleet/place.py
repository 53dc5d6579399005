"""The place of a file in a database of a fleet: whether it is one of this very file, or of one it was copied from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenmeter.ledger.fleet.engine import FleetStore, Place

if TYPE_CHECKING:
    from tokenmeter.ledger.fleet.source_file import SourceFile

__all__ = ["checked_place"]


def checked_place(store: FleetStore, file: SourceFile) -> Place:
    """The place, if it is one of this very file; else the file is a copy that went its own way, and begins anew."""
    with store.transaction():
        place = store.place(file.name)
    if _is_of(place, file):
        return place
    file.rename()
    with store.transaction():
        return store.place(file.name)


def _is_of(place: Place, file: SourceFile) -> bool:
    if not place.seq:
        return True
    hex_id = "CASE typeof(id) WHEN 'blob' THEN lower(hex(id)) ELSE id END"
    if found := file.read(f"SELECT {hex_id} FROM call_rows WHERE seq = ?", (place.seq,)):
        return bool(found[0][0] == place.last_id)
    given = file.read("SELECT seq FROM sqlite_sequence WHERE name = 'call_rows'")
    return bool(given and given[0][0] >= place.seq)  # deleted since
