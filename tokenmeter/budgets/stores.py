"""Opens the budget store that a setting names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tokenmeter.budgets.contract import BudgetStore
from tokenmeter.errors import ConfigurationError

__all__ = ["check_store", "open_store"]

_FORMS: Final = "memory, sqlite:PATH or redis://HOST:PORT/0"


def check_store(address: str, place: str) -> None:
    """Raise ConfigurationError for what names no store."""
    kind, _, rest = address.partition(":")
    if kind == "memory" or (kind == "sqlite" and rest) or (kind in ("redis", "rediss", "unix") and rest):
        return
    raise ConfigurationError(f"{place}={address!r}: give {_FORMS}")


def open_store(address: str, clock: Callable[[], int], *, deadline: float, opens: bool) -> BudgetStore | None:
    """The store at an address; None for memory, which each enforcer has. With `opens` calls go on while it is away.

    `deadline` is how long one operation may take, in seconds. Raises ConfigurationError for a file that cannot be used,
    MissingExtra where the client library is not installed.
    """
    kind, _, rest = address.partition(":")
    if kind == "memory":
        return None
    from tokenmeter.budgets.fallback import FallbackStore

    if kind == "sqlite":
        from tokenmeter.budgets.sqlite_store import SqliteBudgetStore

        return FallbackStore(SqliteBudgetStore(rest.removeprefix("//"), clock, deadline=deadline), opens=opens)
    from tokenmeter.budgets.redis_store import RedisBudgetStore

    return FallbackStore(RedisBudgetStore(address, clock, deadline=deadline), opens=opens)
