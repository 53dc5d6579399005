"""A ledger file of the first schema, as tokenmeter wrote it until its rows became narrow."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

_TABLE = """
CREATE TABLE calls (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, parent_id TEXT, started_at TEXT NOT NULL, ended_at TEXT NOT NULL,
    started_us INTEGER NOT NULL, ended_us INTEGER NOT NULL, duration REAL NOT NULL, time_to_first_chunk REAL,
    provider TEXT, otel_provider TEXT, model TEXT, request_model TEXT, response_model TEXT, api TEXT,
    operation TEXT NOT NULL, host TEXT, port INTEGER, region TEXT, service_tier TEXT, stream INTEGER NOT NULL,
    end_state TEXT NOT NULL, error_type TEXT, status_code INTEGER, finish_reasons TEXT, response_id TEXT,
    input_tokens INTEGER, output_tokens INTEGER, cache_read_input_tokens INTEGER, cache_write_input_tokens INTEGER,
    audio_input_tokens INTEGER, image_input_tokens INTEGER, video_input_tokens INTEGER,
    reasoning_output_tokens INTEGER, audio_output_tokens INTEGER, image_output_tokens INTEGER,
    usage TEXT, usage_source TEXT NOT NULL, usage_sources TEXT, usage_ranges TEXT, usage_raw TEXT, unknown_fields TEXT,
    status TEXT NOT NULL, amount TEXT, currency TEXT, list_amount TEXT, charges TEXT, rate_id TEXT, effective_from TEXT,
    dating TEXT, confidence TEXT, list TEXT, priced_at TEXT, book TEXT, covered_by TEXT, cost_flags TEXT,
    cost_reason TEXT, vendor_amount TEXT, vendor_currency TEXT, attempt_count INTEGER, attempts TEXT,
    tags TEXT NOT NULL, scope TEXT, trace_id TEXT, span_id TEXT, params TEXT, flags TEXT, reason TEXT,
    cost_source TEXT, budget_window TEXT
)
"""
_REST = (
    "CREATE TABLE losses (seq INTEGER PRIMARY KEY, first_us INTEGER NOT NULL, last_us INTEGER NOT NULL, "
    "calls INTEGER NOT NULL, reason TEXT NOT NULL)",
    "CREATE INDEX calls_ended ON calls (ended_us)",
    "CREATE INDEX calls_trace ON calls (trace_id) WHERE trace_id IS NOT NULL",
    "PRAGMA application_id = 1953197426",
    "PRAGMA user_version = 3",
)


def made_wide(source: Path, target: Path, *, without: tuple[str, ...] = (), most: int = -1) -> None:
    """Write the first `most` calls of a ledger as the first schema had them, `without` columns that came later."""
    with closing(sqlite3.connect(target)) as wide:
        wide.execute("PRAGMA journal_mode = WAL")
        for statement in (_TABLE, *_REST):
            wide.execute(statement)
        names = ", ".join(row[1] for row in wide.execute("PRAGMA table_info(calls)") if row[1] != "seq")
        wide.execute("ATTACH ? AS narrow", (str(source),))
        wide.execute(f"INSERT INTO calls ({names}) SELECT {names} FROM narrow.calls ORDER BY seq LIMIT {most}")  # noqa: S608
        wide.execute("INSERT INTO losses SELECT * FROM narrow.losses")
        for name in without:
            wide.execute(f"ALTER TABLE calls DROP COLUMN {name}")
        wide.commit()
