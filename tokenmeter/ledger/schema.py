"""The ledger's schema version, opening its file, and the remedy for each failure.

`PRAGMA user_version` counts the versions a file has been through. A newer file is refused rather than guessed at, and
so is an SQLite file that is not a ledger. Files of the first schema (versions 1 to 3) had one wide row for each call in
the table `calls`: the first write puts the narrow tables beside it (`tables.py`), and the view `calls` shows both.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tokenmeter._support.private_file import create_private
from tokenmeter.components import FIELDS
from tokenmeter.errors import ConfigurationError, TokenmeterError
from tokenmeter.ledger.amounts import register_sums
from tokenmeter.ledger.calls_view import view, wide_view
from tokenmeter.ledger.report.periods import Zone
from tokenmeter.ledger.rollup import make_triggers
from tokenmeter.ledger.shapes import restored
from tokenmeter.ledger.tables import DIMS, GROWING, INDEXES, LOSSES, ROW, TABLES

if TYPE_CHECKING:
    import sqlite3

__all__ = [
    "VERSION", "EmptyLedgerError", "LedgerError", "has_narrow_rows", "has_wide_rows", "make_indexes",
    "open_for_reading", "open_for_writing", "prepare", "remedy",
]  # fmt: skip

APPLICATION_ID: Final = 0x746B6D72
"""`PRAGMA application_id` of a ledger ("tkmr"), by which `file` and we tell it from other SQLite files."""

VERSION: Final = max(5, *(part.ledger or 0 for part in FIELDS))
"""The schema version that this library writes."""
# Short, because the writer retries by itself and a fork waits for the attempt in hand.
_BUSY_MS: Final = 250


class LedgerError(TokenmeterError, OSError):
    """A ledger file cannot be used; the message names it and the way out."""


class EmptyLedgerError(LedgerError):
    """A ledger file has no tables yet."""


def open_for_writing(path: str) -> sqlite3.Connection:
    """Open or create a ledger and bring it to the current schema.

    A new file is readable by its owner alone. Raises LedgerError for a newer or foreign file, OSError and
    sqlite3.Error for what the file system does.
    """
    import sqlite3

    create_private(path)
    connection = sqlite3.connect(path, timeout=_BUSY_MS / 1000, isolation_level=None, check_same_thread=False)
    with ExitStack() as unready:
        unready.callback(connection.close)
        _bring_up_to_date(connection, path)
        unready.pop_all()
    return connection


def _bring_up_to_date(connection: sqlite3.Connection, path: str) -> None:
    if _version(connection, path) == VERSION:
        _pragmas(connection)
        return
    connection.execute("PRAGMA journal_mode = WAL")
    _pragmas(connection)
    connection.execute("BEGIN IMMEDIATE")  # another process may be creating it: look again under the lock
    _make_tables(connection)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")


def _make_tables(connection: sqlite3.Connection) -> None:
    """Make the narrow tables if they are not there, and the columns that they lack, then view and triggers anew."""
    execute = connection.execute
    if not _columns(connection, "call_rows"):
        if _columns(connection, "calls"):
            execute("ALTER TABLE calls RENAME TO wide_calls")
        else:
            execute(LOSSES)
        for statement in TABLES:
            execute(statement)
        if _columns(connection, "wide_calls"):  # those come first
            execute("INSERT INTO sqlite_sequence SELECT 'call_rows', coalesce(max(seq), 0) FROM wide_calls")
        execute("INSERT INTO tagsets (id, tags) VALUES (1, '{}')")
        execute("INSERT INTO settings VALUES ('zone', ?)", (_home_zone(),))
    for table, declared in GROWING.items():
        for name in sorted(declared.keys() - _columns(connection, table)):
            execute(f"ALTER TABLE {table} ADD COLUMN {name} {declared[name]}")
    wide = _columns(connection, "wide_calls")
    execute("DROP VIEW IF EXISTS calls")
    execute(f"CREATE VIEW calls AS {view(wide=wide)}")
    make_triggers(connection, wide=bool(wide))
    make_indexes(connection)


def make_indexes(connection: sqlite3.Connection) -> None:
    """Make the indexes of calls that are not there."""
    for name, columns in INDEXES.items():
        connection.execute(f"CREATE INDEX IF NOT EXISTS {name} ON call_rows {columns}")


def has_narrow_rows(connection: sqlite3.Connection) -> bool:
    """Whether the file has the narrow tables: an older one has not been written to since."""
    return bool(_columns(connection, "call_rows"))


def has_wide_rows(connection: sqlite3.Connection) -> bool:
    """Whether the file has the table of the first schema beside the narrow ones, or nothing else."""
    return bool(_columns(connection, "wide_calls")) or not has_narrow_rows(connection)


def _columns(connection: sqlite3.Connection, table: str) -> set[str]:
    """The columns of a table or view; none if it is not there."""
    return {row[1] for row in connection.execute(f"PRAGMA main.table_info({table})")}


def _home_zone() -> str:
    """The machine's zone, or UTC where it has no name that another machine knows."""
    name = Zone.named(None).name
    try:
        return Zone.named(name).name
    except ConfigurationError:
        return "UTC"


def _pragmas(connection: sqlite3.Connection) -> None:
    # With WAL, NORMAL survives every crash of the process; a power cut may take the last commits, never the file.
    connection.execute("PRAGMA synchronous = NORMAL")
    # Ids and hashes reach every page of an index: with the 2 MB of SQLite they are read and written again and again.
    connection.execute("PRAGMA cache_size = -16000")
    connection.execute("PRAGMA wal_autocheckpoint = 4000")


def _is_ledger(connection: sqlite3.Connection) -> bool:
    marked: int = connection.execute("PRAGMA application_id").fetchone()[0]
    return marked == APPLICATION_ID


def _version(connection: sqlite3.Connection, path: str) -> int:
    """The file's schema version, 0 for an empty file. Raises LedgerError for one we must not write."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    unmarked = not _is_ledger(connection)
    used = version or connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
    if unmarked and used and not _is_ledger(connection):  # asked again: another process may just have made it
        raise LedgerError(f"{path} is an SQLite file of something else, not a ledger: name another file")
    if version > VERSION:
        raise LedgerError(
            f"{path} was written by a newer tokenmeter (schema {version}, this one knows {VERSION}): "
            "upgrade tokenmeter-sdk, or name another file"
        )
    return version


def open_for_reading(path: str) -> sqlite3.Connection:
    """Open an existing ledger read-only; reading while others write is fine.

    Raises LedgerError naming the remedy when it is missing, foreign, newer, empty or damaged.
    """
    import sqlite3

    file = Path(path)
    if "://" in path:
        scheme, _, rest = path.partition("://")
        place = f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"
        raise LedgerError(
            f"{place}: this is for a ledger file: tokenmeter ledger merge {place} --to FILE copies the calls into one"
        )
    if not file.is_file():
        raise LedgerError(
            f"there is no ledger at {path}: tokenmeter.configure(ledger={path!r}) or TOKENMETER_LEDGER makes one"
        )
    try:
        connection = _readable(file)
        with ExitStack() as unready:
            unready.callback(connection.close)
            if not _version(connection, path):
                raise EmptyLedgerError(f"{path} is empty: no call has been written to it yet")
            connection.execute("SELECT 1 FROM calls LIMIT 1").close()
            prepare(connection)
            unready.pop_all()
        return connection
    except sqlite3.Error as error:
        raise LedgerError(remedy(path, error)) from error


def prepare(connection: sqlite3.Connection) -> None:
    """Define the functions of our queries, and views of this connection.

    `calls` restores texts in Python; columns that an older version wrote nothing into are NULL there. `tag_names` and
    `whole` say which tags there are, and how many calls from when to when; a copy of some calls has made its own, of
    all from which they are.
    """
    register_sums(connection)
    connection.create_function("restored", 2, restored, deterministic=True)
    if narrow := _columns(connection, "call_rows"):
        query = view(wide=_columns(connection, "wide_calls"), missing={*ROW} - narrow, restore=_in_python)
        if lacks := {*DIMS} - _columns(connection, "dims"):
            nulls = ", ".join(f"NULL AS {name}" for name in sorted(lacks))
            connection.execute(f"CREATE TEMP VIEW dims AS SELECT *, {nulls} FROM main.dims")
    else:  # wide rows alone, in which a component's column may be missing
        query = wide_view(_columns(connection, "calls"), "main.calls")
    connection.execute(f"CREATE TEMP VIEW calls AS {query}")
    connection.execute(f"CREATE TEMP VIEW IF NOT EXISTS tag_names AS {_TAG_NAMES}")
    connection.execute(f"CREATE TEMP VIEW IF NOT EXISTS whole AS {_WHOLE}")


_TAG_NAMES: Final = "SELECT key AS name FROM calls, json_each(calls.tags)"
_WHOLE: Final = (
    "SELECT (SELECT count(*) FROM calls) AS calls, (SELECT min(ended_us) FROM calls) AS first_us, "
    "(SELECT max(ended_us) FROM calls) AS last_us"
)


def _in_python(shape: str, values: str) -> str:
    return f"restored((SELECT texts.text FROM texts WHERE texts.id = {shape}), {values})"


def _readable(file: Path) -> sqlite3.Connection:
    """A read-only connection. WAL needs its side files: where they cannot be made, the file alone is read."""
    import sqlite3

    uri = file.resolve().as_uri()
    connection = sqlite3.connect(f"{uri}?mode=ro", uri=True, timeout=5, isolation_level=None)
    try:
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
    except sqlite3.OperationalError:
        connection.close()
        wal = file.with_name(file.name + "-wal")
        if wal.exists() and wal.stat().st_size:  # calls not yet folded into the file would be missing
            raise
        connection = sqlite3.connect(f"{uri}?mode=ro&immutable=1", uri=True, isolation_level=None)
    return connection


def remedy(path: str, error: Exception) -> str:
    """What went wrong with a ledger file, in words, and the way out."""
    text = str(error)
    if isinstance(error, LedgerError):
        return text
    if Path(path).is_dir():
        return f"{path} is a folder: name a file"
    if not Path(path).parent.is_dir():
        return f"the folder of {path} does not exist: make it"
    for words, advice in (
        ("locked", "another program holds it: see who has it open"),
        ("readonly", "it cannot be written: give this user the right to write the file and its folder"),
        ("unable to open", "it cannot be opened: give this user the right to write the file and its folder"),
        ("full", "the disk is full: make room"),
        ("disk I/O", "the disk does not take it: make room or see to the disk"),
        ("not a database", "it is not a ledger, or it is damaged: move it away, a new one will be made"),
        ("malformed", "it is damaged: move it away, a new one will be made; `sqlite3 FILE .recover` saves what it can"),
    ):
        if words in text:
            return f"{path}: {advice} ({text})"
    return f"{path}: {text}"
