"""The tags that keep FOCUS rows apart: those that are named, or those of few values.

A tag of many values, such as a user, makes a row of nearly every call. The ledger knows these tags, for it keeps them
out of its sums by day; of rows of the first schema and of sealed months the values are counted.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from tokenmeter._support.bounded import BoundedDict
from tokenmeter.ledger.row_writer import TAG_VALUES

if TYPE_CHECKING:
    import sqlite3

__all__ = ["FocusTags", "crowded_tags"]

_MOST: Final = 4_096


class FocusTags:
    """Chooses the tags of rows."""

    def __init__(self, named: Iterable[str] | None, crowded: Iterable[str] = ()) -> None:
        """`named` are the only tags kept; None keeps all but those that are `crowded`."""
        self._named = None if named is None else frozenset(named)
        self._crowded = frozenset(crowded)
        self._known: BoundedDict[str, str] = BoundedDict(_MOST)
        self.left_out: set[str] = set()
        """Crowded tags that calls had."""

    def of(self, text: str) -> str:
        """The JSON of the tags that are kept, of the JSON of all tags of a call."""
        found = self._known.get(text)
        return self._known.put(text, self._chosen(text)) if found is None else found

    def _chosen(self, text: str) -> str:
        tags: dict[str, Any] = json.loads(text)
        if self._named is None:
            kept = sorted(tags.keys() - self._crowded)
            self.left_out |= tags.keys() & self._crowded
        else:
            kept = sorted(tags.keys() & self._named)
        return json.dumps({name: tags[name] for name in kept}, ensure_ascii=False, separators=(",", ":"))


def crowded_tags(connection: sqlite3.Connection, where: str, values: Iterable[Any]) -> list[str]:
    """The tags of many values; `where` is SQL that chooses the calls of an export."""
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if "row_tags" in tables and "wide_calls" not in tables:
        return [name for (name,) in connection.execute("SELECT name FROM row_tags")]
    query = (
        f"SELECT key FROM (SELECT DISTINCT tag.key, tag.atom FROM calls, json_each(calls.tags) AS tag WHERE {where})"  # noqa: S608
        f" GROUP BY key HAVING count(*) > {TAG_VALUES}"
    )
    return [name for (name,) in connection.execute(query, list(values))]
