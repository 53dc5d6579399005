"""Opens a database in PostgreSQL, brings its schema up to date, and names the remedy for each failure.

Everything is in the schema `tokenmeter`. Its versions are the files of `ledger/sql/postgresql`, each applied in one
transaction. A newer schema is refused rather than guessed at; one that lacks a table or a column of its version is
refused, too. Columns that a user added are left alone.
"""

from __future__ import annotations

from contextlib import ExitStack
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger.fleet.database import FleetError, first_lack, shown
from tokenmeter.ledger.tables import DIMS, ROLLED
from tokenmeter.usage import TOKEN_FIELDS

if TYPE_CHECKING:
    import psycopg

__all__ = [
    "REFUSALS",
    "SHIPPING",
    "check_driver",
    "connect",
    "connect_for_reading",
    "connect_for_shipping",
    "remedy",
]

_LOCK: Final = 0x746B6D72
"""The advisory lock under which the schema is changed."""
SHIPPING: Final = _LOCK + 1
"""The advisory lock under which calls are inserted or changed, so that each sees those of all the others."""
_OPTIONS: Final[dict[str, Any]] = {
    "application_name": "tokenmeter",
    # After these seconds, or milliseconds, a server that does not answer is away.
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
"""What a URL may set otherwise."""

REFUSALS: Final = ("22", "23514")
"""How the SQLSTATE of an error begins where one row is to blame: data that a type or a check does not take."""

_TABLES: Final[dict[str, tuple[str, ...]]] = {
    "settings": ("name", "value"),
    "dims": ("id", "digest", *DIMS),
    "tagsets": ("id", "digest", "tags"),
    "row_tags": ("name",),
    "texts": ("id", "digest", "text"),
    "call_rows": (
        "id", "ended_at", "day", "dims", "tagset", "tags", *TOKEN_FIELDS, "tool_definition_tokens", "amount",
        "amount_text", "cache_saved", "more",
    ),
    "days": ("day", "dims", "tagset", "calls", *ROLLED, "amount", "vendor_amount", "first_at", "last_at"),
    "losses": ("file", "seq", "first_us", "last_us", "calls", "reason"),
    "shipped_files": ("file", "seq", "last_id", "losses_seq", "provisional"),
    "calls": ("id", "ended_at", "calls", "account", "tool_definition_tokens", "cache_saved"),
}  # fmt: skip
"""Tables and columns without which the newest version is not whole."""


def connect(url: str) -> psycopg.Connection[Any]:
    """A connection that commits by itself. Raises FleetError."""
    driver = _driver()
    try:
        options = _OPTIONS | driver.conninfo.conninfo_to_dict(url)
        connection: psycopg.Connection[Any] = driver.connect(
            **options,
            autocommit=True,
            prepare_threshold=None,  # a pooler may give each transaction another session
        )
    except driver.Error as error:
        raise remedy(url, error) from error
    return connection


def check_driver() -> None:
    """Raise ConfigurationError where psycopg is not installed."""
    try:
        there = find_spec("psycopg") is not None
    except ValueError:  # it is being imported, or was taken away
        there = False
    if not there:
        raise ConfigurationError(
            "a ledger in PostgreSQL needs psycopg: pip install 'tokenmeter-sdk[fleet]' or 'psycopg[binary]'"
        )


def _driver() -> Any:
    check_driver()
    import psycopg

    return psycopg


def connect_for_shipping(url: str, zone: str) -> psycopg.Connection[Any]:
    """Connect, and bring the schema up to date; `zone` is the clock of days if it is made now. Raises FleetError."""
    driver = _driver()
    connection = connect(url)
    with ExitStack() as unready:
        unready.callback(connection.close)
        try:
            if _version(connection, url) != len(_versions()):
                _upgrade(connection, url, zone)
            _check(connection, url)
        except driver.Error as error:
            raise remedy(url, error) from error
        unready.pop_all()
    return connection


def connect_for_reading(url: str) -> psycopg.Connection[Any]:
    """Connect to a database to which files were shipped. Raises FleetError."""
    driver = _driver()
    connection = connect(url)
    with ExitStack() as unready:
        unready.callback(connection.close)
        try:
            version = _version(connection, url)
            if version < len(_versions()):
                state = "was made by an older tokenmeter" if version else "holds no ledger yet"
                brings = "brings it up to date" if version else "brings the first calls"
                raise FleetError(f"{shown(url)} {state}: tokenmeter ledger ship FILE {shown(url)} {brings}")
            _check(connection, url)
        except driver.Error as error:
            raise remedy(url, error) from error
        unready.pop_all()
    return connection


@cache
def _versions() -> tuple[str, ...]:
    """The statements of each version, in their order."""
    folder = files("tokenmeter.ledger") / "sql" / "postgresql"
    found = sorted(folder.iterdir(), key=lambda file: int(file.name.partition("_")[0]))
    return tuple(file.read_text(encoding="utf-8") for file in found)


# Not to_regclass, whose answer a session remembers while another one makes the tables.
_TABLES_THERE: Final = (
    "SELECT c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace "
    "WHERE n.nspname = 'tokenmeter' AND c.relkind IN ('r', 'p')"
)


def _version(connection: psycopg.Connection[Any], url: str) -> int:
    """The version of the schema, 0 where there is none. Raises FleetError for one that is newer or not whole."""
    tables = {name for (name,) in connection.execute(_TABLES_THERE)}
    if "versions" not in tables:
        if tables & _TABLES.keys():
            raise _broken(url, "the table versions")
        return 0
    there = [one for (one,) in connection.execute("SELECT version FROM tokenmeter.versions ORDER BY 1")]
    if there and there[-1] > len(_versions()):
        raise FleetError(
            f"{shown(url)} was made by a newer tokenmeter (schema {there[-1]}, this one knows {len(_versions())}): "
            "upgrade tokenmeter-sdk"
        )
    if there != list(range(1, len(there) + 1)) or not there:
        raise _broken(url, "a version before its last")
    return len(there)


def _upgrade(connection: psycopg.Connection[Any], url: str, zone: str) -> None:
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        for version in range(_version(connection, url) + 1, len(_versions()) + 1):
            connection.execute(_versions()[version - 1].encode())
            connection.execute("INSERT INTO tokenmeter.versions (version) VALUES (%s)", (version,))
        connection.execute("INSERT INTO tokenmeter.settings VALUES ('zone', %s) ON CONFLICT DO NOTHING", (zone,))


def _check(connection: psycopg.Connection[Any], url: str) -> None:
    """Raise FleetError where a table or a column is missing."""
    rows = connection.execute(
        "SELECT c.relname, a.attname FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid "
        "JOIN pg_namespace AS n ON n.oid = c.relnamespace "
        "WHERE n.nspname = 'tokenmeter' AND a.attnum > 0 AND NOT a.attisdropped"
    )
    there = set(rows)
    if (lack := first_lack(_TABLES, there)) is not None:
        raise _broken(url, lack)


def _broken(url: str, what: str) -> FleetError:
    return FleetError(
        f"{shown(url)}: the schema tokenmeter lacks {what}: restore it from a backup, or drop the schema "
        "(DROP SCHEMA tokenmeter CASCADE) and ship the files again"
    )


def remedy(url: str, error: Exception) -> FleetError:
    """What went wrong with a database, in words, and the way out."""
    if isinstance(error, FleetError):
        return error
    state = getattr(error, "sqlstate", None) or ""
    text = " ".join(str(error).split())
    for states, words, advice in _REMEDIES:
        if state in states or any(word in text for word in words):
            return FleetError(f"{shown(url)}: {advice} ({text})")
    import psycopg

    made = FleetError(f"{shown(url)}: {text}")
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        made = FleetError(f"{shown(url)}: the server does not answer, or ended the connection ({text})")
        made.away = True
    return made


_REMEDIES: Final = (
    (("28P01", "28000"), ("password", "pg_hba.conf"),
     "it does not let this user in: see to user and password in the URL, PGPASSWORD or ~/.pgpass"),
    (("3D000",), ("does not exist\" FATAL", "database \""), "there is no such database: createdb makes it"),
    (("42501",), ("permission denied",),
     "this user lacks a right: let the owner of the schema tokenmeter ship once, and grant the right that is named"),
    (("42P01", "42703", "42883"), (),
     "the schema tokenmeter is not whole: restore it, or drop it and ship the files again"),
    (("23502",), (), "a column that was added to the tables needs a value: give it a default, or let it be NULL"),
    (("53100",), ("No space left",), "its disk is full: make room"),
    (("22023",), ("invalid connection option", "missing \"=\"", "invalid URI", "invalid port"),
     "the URL is not understood: postgresql://USER:PASSWORD@HOST:PORT/DATABASE"),
)  # fmt: skip
"""SQLSTATEs, words of the message where there is none, and what to do."""
