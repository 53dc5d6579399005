"""A ledger file of version 4, as tokenmeter wrote it before calls had an account."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

_SCHEMA = (Path(__file__).parent.parent / "data" / "ledger_version_4.sql").read_text(encoding="utf-8")


def made_version_4(source: Path, target: Path) -> Path:
    """Write the calls of a ledger as version 4 had them, without the columns that came later."""
    with closing(sqlite3.connect(target, isolation_level=None)) as old:
        old.execute("PRAGMA journal_mode = WAL")
        old.executescript(_SCHEMA)
        old.execute("ATTACH ? AS later", (str(source),))
        for table in ("settings", "texts", "tagsets", "row_tags", "losses", "dims", "call_rows"):  # triggers sum days
            names = ", ".join(row[1] for row in old.execute(f"PRAGMA main.table_info({table})"))
            old.execute(f"INSERT INTO main.{table} ({names}) SELECT {names} FROM later.{table}")  # noqa: S608
    return target
