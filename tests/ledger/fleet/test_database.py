"""The URL of a fleet's database: its engine, and that its password is never shown."""

from __future__ import annotations

import pytest

from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger.fleet.database import is_url, shown


def test_other_engines_are_named() -> None:
    assert is_url("postgres://db/spend")
    assert is_url("clickhouses://db/spend")
    assert not is_url("spend.db")
    with pytest.raises(ConfigurationError, match="a fleet's database is PostgreSQL or ClickHouse"):
        is_url("mysql://u:secret@db/spend")


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("postgresql://u:p%40ss@db:5432/spend?sslmode=require", "postgresql://u@db:5432/spend"),
        ("postgresql://db/spend", "postgresql://db/spend"),
        ("postgresql:///spend?password=p", "postgresql:///spend"),
        ("postgresql://u:a:b@[::1]:5/x", "postgresql://u@[::1]:5/x"),
    ],
)
def test_a_password_is_never_shown(url: str, text: str) -> None:
    assert shown(url) == text
