"""Upkeep of a database in ClickHouse: what it holds, whether sums are right, forgetting whose calls they were."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

from tokenmeter.ledger.fleet.clickhouse.client import remedies
from tokenmeter.ledger.fleet.clickhouse.days import DaySums
from tokenmeter.ledger.fleet.clickhouse.schema import connect_for_reading
from tokenmeter.ledger.tables import DIMS, ROLLED

if TYPE_CHECKING:
    from tokenmeter.ledger.fleet.engine import Connection

__all__ = ["forget_tag", "information", "wrong_days"]

_KEYS: Final = ", ".join(name for name in DIMS if name != "known")
_SUMS: Final = ", ".join(f"sum({name})" for name in ("calls", *ROLLED, "amount", "vendor_amount"))
_TAGS: Final = "mapSort(mapFilter((name, value) -> name NOT IN (SELECT name FROM row_tags), tags))"
_SUMMED: Final = (
    f"SELECT toString(tuple(day, {_KEYS}, tag, {_SUMS})) FROM (SELECT *, {_TAGS} AS tag FROM {{}}) "
    f"WHERE day IN (SELECT day FROM settled_days) GROUP BY day, {_KEYS}, tag"
)


def wrong_days(connection: Connection) -> tuple[int, int]:
    """How many rows the sums of settled days have, and how many of them are not what the rows of calls sum up to."""
    kept, made = (_SUMMED.format(table) for table in ("days", "calls"))
    count = "SELECT count() FROM ({} EXCEPT {})".format
    wrong = max(int(connection.execute(count(*pair)).fetchone()[0]) for pair in ((kept, made), (made, kept)))
    return int(connection.execute(f"SELECT count() FROM ({kept})").fetchone()[0]), wrong


_OF_TABLES: Final = "FROM system.parts WHERE database = currentDatabase() AND active"
_FILES: Final = "SELECT host, path, shipped_at FROM shipped_files WHERE path <> '' ORDER BY shipped_at DESC"


def information(connection: Connection) -> dict[str, Any]:
    """What this engine knows beside what every fleet's database does."""

    def one(query: str) -> Any:
        return connection.execute(query).fetchone()[0]

    on_rows = [name for (name,) in connection.execute("SELECT name FROM row_tags ORDER BY name")]
    tags = connection.execute("SELECT DISTINCT arrayJoin(mapKeys(tags)) AS name FROM calls ORDER BY name")
    return {
        "bytes": one(f"SELECT sum(bytes_on_disk) {_OF_TABLES}"),
        "schema": one("SELECT max(version) FROM versions"),
        "duplicates": one("SELECT count() FROM calls WHERE isNotNull(duplicate_of)"),
        "rollup_rows": one("SELECT sum(length(groups.calls)) FROM day_sums"),
        "kinds_of_calls": one(f"SELECT count() FROM (SELECT DISTINCT {_KEYS} FROM calls)"),
        "tags_in_rollup": [name for (name,) in tags if name not in on_rows],
        "tags_on_rows": on_rows,
        "files": [
            f"{host}:{path} ({at.isoformat(timespec='seconds')})" for host, path, at in connection.execute(_FILES)
        ],
    }


def forget_tag(url: str, name: str, value: str, replacement: str) -> int:
    """Replace the value of a tag in every call that has it; how many calls had. What they cost stays.

    Parts of the table are written anew, also rows that count no more; sums by day are made anew. Raises FleetError.
    """
    bound = {"name": name, "value": value, "new": replacement}
    having = "mapContains(tags, {name:String}) AND tags[{name:String}] = {value:String}"
    changed_tags = "mapUpdate(tags, map({name:String}, {new:String}))"
    with remedies(url), closing(connect_for_reading(url)) as client:
        changed = int(client.query(f"SELECT count() FROM calls WHERE {having}", bound).result_rows[0][0])
        if changed:
            days = client.query(f"SELECT DISTINCT toInt32(day) FROM call_rows WHERE {having}", bound).result_rows
            sums = DaySums(client)
            with sums.marked(day for (day,) in days):  # sums that another shipper is making now do not hold
                statement = f"ALTER TABLE call_rows UPDATE tags = {changed_tags} WHERE {having}"
                client.command(statement, bound, settings={"mutations_sync": 2})
            client.command("TRUNCATE TABLE day_sums")
            sums.renew()
    return changed
