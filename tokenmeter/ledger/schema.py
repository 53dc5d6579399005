"""The ledger's schema and migrations, opening its file, and the remedy for each failure.

One row per settled call. Instants are RFC 3339 text in UTC, with microseconds since the epoch beside them for
indexes; money and other fractions are exact text; what is not known is NULL; lists and mappings are JSON. `usage`
holds the whole usage of calls for which the token columns cannot say all. There is no column for prompt text,
answers or keys.

`PRAGMA user_version` counts the migrations a file has been through. A newer file is refused rather than guessed
at, and so is an SQLite file that is not a ledger.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tokenmeter._support.private_file import create_private
from tokenmeter.components import FIELDS
from tokenmeter.errors import TokenmeterError
from tokenmeter.usage import TOKEN_FIELDS

if TYPE_CHECKING:
    import sqlite3

__all__ = ["MIGRATIONS", "LedgerError", "open_for_reading", "open_for_writing", "remedy"]

APPLICATION_ID: Final = 0x746B6D72
"""`PRAGMA application_id` of a ledger ("tkmr"), by which `file` and we tell it from other SQLite files."""

_CALLS: Final = """
CREATE TABLE calls (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    parent_id TEXT,
    started_at TEXT NOT NULL,
    ended_at TEXT NOT NULL,
    started_us INTEGER NOT NULL,
    ended_us INTEGER NOT NULL,
    duration REAL NOT NULL,
    time_to_first_chunk REAL,
    provider TEXT,
    otel_provider TEXT,
    model TEXT,
    request_model TEXT,
    response_model TEXT,
    api TEXT,
    operation TEXT NOT NULL,
    host TEXT,
    port INTEGER,
    region TEXT,
    service_tier TEXT,
    stream INTEGER NOT NULL,
    end_state TEXT NOT NULL,
    error_type TEXT,
    status_code INTEGER,
    finish_reasons TEXT,
    response_id TEXT,
    {tokens},
    usage TEXT,
    usage_source TEXT NOT NULL,
    usage_sources TEXT,
    usage_ranges TEXT,
    usage_raw TEXT,
    unknown_fields TEXT,
    status TEXT NOT NULL,
    amount TEXT,
    currency TEXT,
    list_amount TEXT,
    charges TEXT,
    rate_id TEXT,
    effective_from TEXT,
    dating TEXT,
    confidence TEXT,
    list TEXT,
    priced_at TEXT,
    book TEXT,
    covered_by TEXT,
    cost_flags TEXT,
    cost_reason TEXT,
    vendor_amount TEXT,
    vendor_currency TEXT,
    attempt_count INTEGER,
    attempts TEXT,
    tags TEXT NOT NULL,
    scope TEXT,
    trace_id TEXT,
    span_id TEXT,
    params TEXT,
    flags TEXT,
    reason TEXT
)
"""


def _token_columns(version: int) -> list[str]:
    """The columns for tokens that a schema version brought."""
    return [f"{name} INTEGER" for name in TOKEN_FIELDS if _SINCE[name] == version]


_SINCE: Final = {part.usage: part.ledger for part in FIELDS}

# Calls that could not be kept (the queue was full while the file could not be written): the report names them,
# so that a sum is never taken for complete when it is not.
_LOSSES: Final = """
CREATE TABLE losses (
    seq INTEGER PRIMARY KEY,
    first_us INTEGER NOT NULL,
    last_us INTEGER NOT NULL,
    calls INTEGER NOT NULL,
    reason TEXT NOT NULL
)
"""

_PUBLISHED: Final[tuple[tuple[str, ...], ...]] = (
    (
        _CALLS.format(tokens=",\n    ".join(_token_columns(1))),
        _LOSSES,
        "CREATE INDEX calls_ended ON calls (ended_us)",
        "CREATE INDEX calls_trace ON calls (trace_id) WHERE trace_id IS NOT NULL",
    ),
    ("ALTER TABLE calls ADD COLUMN cost_source TEXT",),
    ("ALTER TABLE calls ADD COLUMN budget_window TEXT",),
)
"""Statements that lead from one `user_version` to the next, beside the columns that components bring. Published
ones are never edited: append."""


def _migrations() -> tuple[tuple[str, ...], ...]:
    """Each version's statements; from the second on, a component's column is added by the version its row names."""
    newest = max(len(_PUBLISHED), *(version or 1 for version in _SINCE.values()))
    by_hand = (*_PUBLISHED, *((),) * (newest - len(_PUBLISHED)))
    return by_hand[:1] + tuple(
        (*statements, *(f"ALTER TABLE calls ADD COLUMN {column}" for column in _token_columns(version)))
        for version, statements in enumerate(by_hand[1:], 2)
    )


MIGRATIONS: Final = _migrations()
"""Statements that lead from one `user_version` to the next."""

# Short, because the writer retries by itself and a fork waits for the attempt in hand.
_BUSY_MS: Final = 250


class LedgerError(TokenmeterError, OSError):
    """A ledger file cannot be used; the message names it and the way out."""


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
    if _version(connection, path) == len(MIGRATIONS):
        _pragmas(connection)
        return
    connection.execute("PRAGMA journal_mode = WAL")
    _pragmas(connection)
    connection.execute("BEGIN IMMEDIATE")  # another process may be creating it: look again under the lock
    version = _version(connection, path)
    for statements in MIGRATIONS[version:]:
        for statement in statements:
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    connection.execute("COMMIT")


def _pragmas(connection: sqlite3.Connection) -> None:
    # With WAL, NORMAL survives every crash of the process; a power cut may take the last commits, never the file.
    connection.execute("PRAGMA synchronous = NORMAL")


def _version(connection: sqlite3.Connection, path: str) -> int:
    """The file's schema version, 0 for an empty file. Raises LedgerError for one we must not write."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    ours = connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
    if not ours and (version or connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()):
        raise LedgerError(f"{path} is an SQLite file of something else, not a ledger: name another file")
    if version > len(MIGRATIONS):
        raise LedgerError(
            f"{path} was written by a newer tokenmeter (schema {version}, this one knows {len(MIGRATIONS)}): "
            "upgrade tokenmeter-sdk, or name another file"
        )
    return version


def open_for_reading(path: str) -> sqlite3.Connection:
    """Open an existing ledger read-only; reading while others write is fine.

    Raises LedgerError naming the remedy when it is missing, foreign, newer, empty or damaged.
    """
    import sqlite3

    file = Path(path)
    if not file.is_file():
        raise LedgerError(
            f"there is no ledger at {path}: tokenmeter.configure(ledger={path!r}) or TOKENMETER_LEDGER makes one"
        )
    try:
        connection = _readable(file)
        with ExitStack() as unready:
            unready.callback(connection.close)
            if not _version(connection, path):
                raise LedgerError(f"{path} is empty: no call has been written to it yet")
            connection.execute("SELECT 1 FROM calls LIMIT 1").close()
            unready.pop_all()
        return connection
    except sqlite3.Error as error:
        raise LedgerError(remedy(path, error)) from error


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
