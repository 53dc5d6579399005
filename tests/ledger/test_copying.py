"""Ledgers copied: files of the first schema become narrow, a copy that was killed goes on, merging doubles nothing."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.rigs.asker import UTC_ZONE
from tests.rigs.ledger_rows import rows
from tests.rigs.made_records import NOON, nanoseconds, priced, record, unpriced
from tests.rigs.wide_ledger import made_wide
from tokenmeter.ledger.copying import merge, migrate
from tokenmeter.ledger.report.query import Question, ask
from tokenmeter.ledger.report.render import as_json
from tokenmeter.ledger.report.stats import parse_stats
from tokenmeter.ledger.rollup import wrong_days
from tokenmeter.ledger.schema import LedgerError
from tokenmeter.ledger.sealed.seal import close
from tokenmeter.ledger.writer import Ledger
from tokenmeter.money import Money
from tokenmeter.record import Attempt, End, Record
from tokenmeter.usage import Source, Usage

ATTEMPT = Attempt(200, None, nanoseconds(NOON), 900_000_001, "req-1", usage=True)
FORMS = (
    record(),
    record(unpriced("no rate")),
    record(priced("0"), end=End.CLOSED_EARLY, time_to_first_chunk=0.123456789, stream=True),
    record(priced("0.00000000000000001", "USD"), vendor_cost=Money(Decimal("0.1"), "USD")),
    record(attempts=(ATTEMPT,), usage_raw={"prompt_tokens": 7, "d": {"c": [1, 2]}}, params={"n": 1, "tier": "flex"}),
    record(attempts=(ATTEMPT._replace(status=429, reason="no usage in an error", usage=False), ATTEMPT)),
    record(attempts=(ATTEMPT._replace(error='odd "name"', request_id=None),), flags=("total_mismatch",), reason="why"),
    record(tags={"team": "搜索", "q'": 'a "b"'}, scope=("nightly", "answer"), parent_id="ab" * 16, id="cd" * 16),
    record(usage=Usage(output_tokens=9, source=Source.COUNTED, ranges={"output_tokens": (8, 11)})),
    record(usage=Usage(input_tokens=1, cache_writes={"1h": 5}, quantities={"pages": Decimal("1.5")})),
    record(response_id="chatcmpl-0123456789abcdef", trace_id="0a" * 16, span_id="0b" * 8),
    record(response_id="chatcmpl-0123456789abcdef"),
)


def many(count: int) -> list[Record]:
    return [
        record(priced(f"0.00{number + 1}"), ended=NOON + timedelta(minutes=number), tags={"user": f"u{number}"},
               attempts=(ATTEMPT,), usage_raw={"n": number})
        for number in range(count)
    ]  # fmt: skip


def written(path: Path, records: list[Record] | tuple[Record, ...]) -> Path:
    ledger = Ledger(path)
    for one in records:
        ledger.write(one)
    ledger.close(30)
    return path


def wide(tmp_path: Path, records: list[Record] | tuple[Record, ...]) -> Path:
    made_wide(written(tmp_path / "source.db", records), tmp_path / "old.db")
    return tmp_path / "old.db"


def shown(path: Path) -> list[dict[str, Any]]:
    """The wide rows, without what only narrow files have; JSON read, since tags may stand in another order."""
    only_narrow = {"seq", "calls", "duplicate_of", "scope_run", "stale", "vendor_gap"}
    only_narrow |= {"account", "tool_definition_tokens", "cache_saved"}
    found = []
    for row in rows(path):
        kept = {name: value for name, value in row.items() if name not in only_narrow and name[-5:] not in _PARTS}
        found.append(kept | {"tags": json.loads(row["tags"])})
    return found


_PARTS = {"whole", "_pico", "_text"}


def test_a_migrated_file_shows_every_call_as_the_old_one_does(tmp_path: Path) -> None:
    old = wide(tmp_path, FORMS)
    before = old.read_bytes()
    copied = migrate(str(old), str(tmp_path / "new.db"))
    assert (copied.read, copied.new, copied.refused) == (len(FORMS), len(FORMS), 0)
    assert shown(tmp_path / "new.db") == shown(old)
    assert old.read_bytes() == before


def test_every_report_of_both_files_is_equal(tmp_path: Path) -> None:
    old = wide(tmp_path, [*FORMS, *many(100)])
    migrate(str(old), str(tmp_path / "new.db"))
    for by in ((), ("model",), ("day", "team"), ("user",), ("hour", "source"), ("scope",), ("rate_id", "currency")):
        question = Question(by=by, zone=UTC_ZONE, stats=parse_stats("sum,p95,max:duration"))
        answers = [as_json(ask(str(path), question)) | {"ledger": ""} for path in (old, tmp_path / "new.db")]
        assert answers[0] == answers[1]


def test_an_old_file_is_written_on_beside_its_old_rows(tmp_path: Path) -> None:
    old = wide(tmp_path, FORMS)
    written(old, many(5))
    assert len(rows(old)) == len(FORMS) + 5
    assert [row["seq"] for row in rows(old)][: len(FORMS)] == list(range(1, len(FORMS) + 1))
    report = ask(str(old), Question(by=(), zone=UTC_ZONE))
    # The last one of FORMS is a response that another call recorded.
    assert (sum(row.calls for row in report.rows), report.source) == (len(FORMS) - 1 + 5, "rows")
    copied = migrate(str(old), str(tmp_path / "new.db"))
    assert copied.read == len(FORMS) + 5
    assert shown(tmp_path / "new.db") == shown(old)
    with closing(sqlite3.connect(old)) as connection, connection:
        connection.execute("DELETE FROM calls WHERE provider = 'deepseek'")
        assert connection.execute("SELECT count(*) FROM calls").fetchone() == (0,)


def test_a_migration_that_was_killed_goes_on(tmp_path: Path) -> None:
    old, new = wide(tmp_path, many(12_000)), tmp_path / "new.db"
    code = f"from tokenmeter.ledger.copying import migrate; migrate({str(old)!r}, {str(new)!r})"
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        while process.poll() is None and _copied(new) < 2_000:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    began = _copied(new)
    copied = migrate(str(old), str(new))
    assert 0 < began <= 12_000
    assert copied.read == 12_000 - began
    assert shown(new) == shown(old)
    with closing(sqlite3.connect(new)) as connection:
        assert wrong_days(connection) == 0
    assert ask(str(new), Question(by=("day",), zone=UTC_ZONE)).source == "rollup"


def _copied(path: Path) -> int:
    if not path.exists():
        return 0
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            number: int = connection.execute("SELECT count(*) FROM call_rows").fetchone()[0]
    except sqlite3.OperationalError:
        return 0
    return number


def test_a_file_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    old = wide(tmp_path, FORMS)
    other = written(tmp_path / "other.db", [record()])
    with pytest.raises(LedgerError, match="is there already and is no unfinished copy"):
        migrate(str(old), str(other))
    assert len(rows(other)) == 1


def test_merging_twice_in_any_order_doubles_nothing(tmp_path: Path) -> None:
    one, two = written(tmp_path / "one.db", many(30)), written(tmp_path / "two.db", FORMS)
    target = tmp_path / "all.db"
    merge([str(one), str(two)], str(target))
    again = merge([str(two), str(one)], str(target))
    assert [copied.new for copied in again] == [0, 0]
    assert len(rows(target)) == 30 + len(FORMS)
    with closing(sqlite3.connect(target)) as connection:
        assert wrong_days(connection) == 0


def test_a_ledger_is_not_merged_into_itself(tmp_path: Path) -> None:
    path = written(tmp_path / "one.db", many(3))
    os.link(path, tmp_path / "same.db")
    with pytest.raises(LedgerError, match="into itself"):
        merge([str(path)], str(tmp_path / "same.db"))


def test_a_copy_knows_whose_response_a_call_repeats(tmp_path: Path) -> None:
    pair = [record(response_id="chatcmpl-0123456789abcdef", id=digit * 32) for digit in "ab"]
    source = written(tmp_path / "spend.db", pair)
    merge([str(source)], str(tmp_path / "all.db"))
    assert [row["duplicate_of"] for row in rows(tmp_path / "all.db")] == [None, "a" * 32]


def test_sealed_months_come_back_into_a_file(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="sealed months need pyarrow")
    path = written(tmp_path / "spend.db", [*many(200), *FORMS])
    close(str(path), "2026-11", UTC_ZONE, str(tmp_path / "sealed"), unfinished=True)
    (copied,) = merge([str(tmp_path / "sealed")], str(tmp_path / "back.db"))
    with closing(sqlite3.connect(path)) as connection:
        count = connection.execute("SELECT count(*) FROM calls").fetchone()[0]
    assert (copied.read, copied.new, copied.refused) == (count, count, 0)
    question = Question(by=("day", "team", "user"), zone=UTC_ZONE)
    assert ask(str(tmp_path / "back.db"), question).rows == ask(str(path), question).rows
