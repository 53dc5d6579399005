"""Upkeep of a database in PostgreSQL: what it holds, whether the roll-up is right, forgetting whose calls they were."""

from __future__ import annotations

import json
import os
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

from tokenmeter.ledger.fleet.postgresql.keys import digest_of
from tokenmeter.ledger.fleet.postgresql.schema import SHIPPING, connect_for_reading, remedy
from tokenmeter.ledger.fleet.postgresql.staging import SUMS
from tokenmeter.ledger.shapes import encode

if TYPE_CHECKING:
    import psycopg

    from tokenmeter.ledger.fleet.engine import Connection

__all__ = ["forget_tag", "information", "wrong_days"]

_KEYS: Final = "day, dims, tagset"
_SUMMED: Final = [name for name in SUMS if not name.endswith("_at")]  # a row that was taken away leaves its instants
_MADE: Final = ", ".join(f"{SUMS[name].format(sign='')} AS {name}" for name in _SUMMED)
_PARTITIONS: Final = (
    "SELECT pg_get_expr(c.relpartbound, c.oid) AS bound FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid "
    "WHERE i.inhparent = 'tokenmeter.call_rows'::regclass"
)
_FIRST: Final = f"SELECT min(substring(bound FROM '''([^'']+)''')::timestamptz) FROM ({_PARTITIONS}) AS p"
# Sums of months that were dropped stay in the roll-up on purpose.
_DROPPED: Final = f"SELECT {_KEYS} FROM days WHERE first_at < coalesce(({_FIRST}), '-infinity')"


def wrong_days(connection: Connection) -> tuple[int, int]:
    """How many rows the roll-up has, and how many of them are not what the rows of calls sum up to."""
    made = f"SELECT {_KEYS}, {_MADE} FROM call_rows GROUP BY {_KEYS}"
    kept = f"SELECT {_KEYS}, {', '.join(_SUMMED)} FROM days WHERE calls > 0"
    made, kept = (f"SELECT * FROM ({one}) AS q WHERE ({_KEYS}) NOT IN ({_DROPPED})" for one in (made, kept))
    count = "SELECT count(*) FROM ({} EXCEPT {}) AS q".format
    wrong = max(int(connection.execute(count(*pair)).fetchone()[0]) for pair in ((kept, made), (made, kept)))
    return int(connection.execute("SELECT count(*) FROM days WHERE calls > 0").fetchone()[0]), wrong


_SIZE: Final = (
    "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class AS c "
    "JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = 'tokenmeter' AND c.relkind = 'r'"
)
_FILES: Final = "SELECT host, path, shipped_at FROM shipped_files WHERE path IS NOT NULL ORDER BY shipped_at DESC"


def information(connection: Connection) -> dict[str, Any]:
    """What this engine knows beside what every fleet's database does."""

    def one(query: str) -> Any:
        return connection.execute(query).fetchone()[0]

    tags = connection.execute('SELECT DISTINCT jsonb_object_keys(tags) COLLATE "C" FROM tagsets ORDER BY 1')
    on_rows = [name for (name,) in connection.execute("SELECT name FROM row_tags ORDER BY 1")]
    files = connection.execute(_FILES)
    return {
        "bytes": one(_SIZE),
        "schema": one("SELECT max(version) FROM versions"),
        "duplicates": one("SELECT count(*) FROM call_rows WHERE duplicate_of IS NOT NULL"),
        "rollup_rows": one("SELECT count(*) FROM days"),
        "kinds_of_calls": one("SELECT count(*) FROM dims"),
        "tags_in_rollup": [name for (name,) in tags if name not in on_rows],
        "tags_on_rows": on_rows,
        "files": [f"{host}:{path} ({at.isoformat(timespec='seconds')})" for host, path, at in files],
    }


def forget_tag(url: str, name: str, value: str, replacement: str) -> int:
    """Replace the value of a tag in every call that has it; how many calls had. What they cost stays.

    A set of tags is changed where it is, so that the roll-up and shippers that remember its key go on. Raises
    FleetError.
    """
    import psycopg

    try:
        with closing(connect_for_reading(url)) as connection:
            with connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(%s)", (SHIPPING,))
                changed = _forget(connection, name, value, replacement)
            connection.execute("VACUUM tokenmeter.call_rows")  # the rows as they were are in the file until then
            connection.execute("VACUUM tokenmeter.tagsets")
    except psycopg.Error as error:
        raise remedy(url, error) from error
    return changed


def _forget(connection: psycopg.Connection[Any], name: str, value: str, replacement: str) -> int:
    sets = connection.execute(
        "SELECT id, tags FROM tokenmeter.tagsets WHERE tags ->> %s = %s", (name, value)
    ).fetchall()
    for number, tags in sets:
        new = encode(dict(sorted((tags | {name: replacement}).items())))  # as a file has it
        digest = digest_of([new])
        if connection.execute("SELECT 1 FROM tokenmeter.tagsets WHERE digest = %s", (digest,)).fetchone():
            digest = os.urandom(16)  # sums of both sets are added up by reports
        connection.execute(
            "UPDATE tokenmeter.tagsets SET tags = %s::jsonb, digest = %s WHERE id = %s", (new, digest, number)
        )
    numbers = [number for number, _ in sets]
    changed: int = connection.execute(
        "UPDATE tokenmeter.call_rows SET tags = tags || %s::jsonb WHERE tags ->> %s = %s",
        (json.dumps({name: replacement}), name, value),
    ).rowcount
    found = connection.execute(
        "SELECT count(*) FROM tokenmeter.call_rows WHERE tagset = ANY(%s) AND NOT coalesce(tags, '{}') ? %s",
        (numbers, name),
    ).fetchone()
    return changed + (0 if found is None else int(found[0]))
