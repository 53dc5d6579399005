"""The database of a fleet by its URL: which engine it is, and the error that names a remedy."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Final

from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger.schema import LedgerError

__all__ = ["FleetError", "first_lack", "is_url", "shown"]

_SCHEMES: Final = ("postgresql://", "postgres://", "clickhouse://", "clickhouses://")
_OTHERS: Final = ("mysql://", "mariadb://", "sqlite://", "redis://", "http://", "https://")


class FleetError(LedgerError):
    """The database of a fleet cannot be used; the message names it and the way out."""

    away: bool = False
    """Whether waiting may mend it: the server is not there, or is starting."""


def is_url(text: str) -> bool:
    """Whether a text names a database of a fleet. Raises ConfigurationError for an engine that cannot be one."""
    if text.startswith(_OTHERS):
        raise ConfigurationError(
            f"{shown(text)}: a fleet's database is PostgreSQL or ClickHouse; write postgresql://HOST/DATABASE or "
            "clickhouse://HOST/DATABASE"
        )
    return text.startswith(_SCHEMES)


def shown(url: str) -> str:
    """A URL without its password."""
    scheme, separator, rest = url.partition("://")
    place, slash, path = rest.partition("/")
    user, at, host = place.rpartition("@")
    path = path.partition("?")[0]
    return f"{scheme}{separator}{user.partition(':')[0]}{at}{host}{slash}{path}"


def first_lack(tables: Mapping[str, Sequence[str]], there: Container[tuple[str, str]]) -> str | None:
    """The first table, or column of one, that a database lacks; `there` are its pairs of table and column."""
    for table, columns in tables.items():
        missing = [column for column in columns if (table, column) not in there]
        if missing:
            return f"the table {table}" if len(missing) == len(columns) else f"the column {table}.{missing[0]}"
    return None
