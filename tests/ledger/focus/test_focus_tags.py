"""Tags that keep FOCUS rows apart: by default those of few values, and sums are the same whichever they are."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from tests.rigs.asker import UTC_ZONE
from tests.rigs.made_records import NOON, priced, record
from tests.rigs.wide_ledger import made_wide
from tokenmeter.cli import main
from tokenmeter.ledger.focus.charges import export
from tokenmeter.ledger.focus.focus_tags import FocusTags
from tokenmeter.ledger.report.periods import Zone
from tokenmeter.ledger.report.query import Question
from tokenmeter.ledger.sealed.seal import close
from tokenmeter.ledger.writer import Ledger

ALL = Question(by=(), zone=UTC_ZONE)
USERS = 120


@pytest.fixture(scope="module")
def spend(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Three teams and many users, and a tag that only one call has."""
    ledger = Ledger(tmp_path_factory.mktemp("tags") / "spend.db")
    for number in range(3 * USERS):
        tags = {"team": "abc"[number % 3], "user": f"u{number // 3}", **({"rare": "x"} if number == 7 else {})}
        ledger.write(record(priced("0.25"), ended=NOON + timedelta(seconds=number), tags=tags))
    ledger.close(30)
    return ledger.path


def told_apart(path: str, tags: tuple[str, ...] | None = None) -> tuple[int, Decimal, tuple[str, ...]]:
    answer = export(path, ALL, tags=tags)
    return len(answer.rows), sum((row["BilledCost"] for row in answer.rows), Decimal(0)), answer.left_tags  # type: ignore[misc]


@pytest.mark.parametrize(
    ("tags", "rows", "left"),
    [(None, 4, ("user",)), (("team",), 3, ()), (("user",), USERS, ()), (("team", "user"), 3 * USERS, ()), ((), 1, ())],
    ids=str,
)
def test_a_tag_of_many_values_keeps_rows_apart_only_where_it_is_named(
    spend: str, tags: tuple[str, ...] | None, rows: int, left: tuple[str, ...]
) -> None:
    assert told_apart(spend, tags) == (rows, Decimal("0.25") * 3 * USERS, left)


def test_the_first_schema_and_sealed_months_leave_out_the_same(spend: str, tmp_path: Path) -> None:
    made_wide(Path(spend), tmp_path / "wide.db")
    assert told_apart(str(tmp_path / "wide.db")) == told_apart(spend)
    pytest.importorskip("pyarrow")
    close(spend, "2026-11", Zone.named("UTC"), str(tmp_path), now=datetime(2027, 1, 1, tzinfo=UTC))
    assert told_apart(str(tmp_path)) == told_apart(spend)


def test_a_tag_that_no_exported_call_has_is_not_said_to_be_left_out(spend: str) -> None:
    late = Question(by=(), zone=UTC_ZONE, since=NOON + timedelta(days=1))
    assert export(spend, late).left_tags == ()


def test_standard_error_names_the_tags_that_are_left_out(spend: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", spend, "--format", "focus"]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 5
    said = "tags of many values are left out, sums are the same: 'user' (--focus-tags KEYS names tags)\n"
    assert err == said
    assert main(["report", spend, "--format", "focus", "--focus-tags", "user"]) == 0
    assert capsys.readouterr().err == ""


def test_many_texts_of_tags_are_not_all_kept() -> None:
    tags = FocusTags(None, ["user"])
    for number in range(10_000):
        assert tags.of(f'{{"user": "u{number}", "team": "a"}}') == '{"team":"a"}'
    assert len(tags._known) <= 4_096
    assert tags.left_out == {"user"}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux for the most memory of a process")
def test_an_export_of_many_rows_takes_little_memory(tmp_path: Path) -> None:
    """As many rows as calls, over 40 days."""
    ledger = Ledger(tmp_path / "spend.db")
    for number in range(12_000):
        tags = {"user": f"u{number}"}
        ledger.write(record(priced("0.25"), ended=NOON + timedelta(seconds=300 * number), tags=tags))
    ledger.close(60)
    code = (
        "import sys; from tokenmeter.cli import main; status = main(sys.argv[1:]);"
        "print(*(line.split()[1] for line in open('/proc/self/status') if 'VmHWM' in line)); sys.exit(status)"
    )
    arguments = ["report", ledger.path, "--format", "focus", "--focus-tags", "user", "-o", str(tmp_path / "focus.csv")]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert len((tmp_path / "focus.csv").read_text("utf-8").splitlines()) == 12_001
    assert int(done.stdout) < 55_000, "kB; 37,000 when this was written, and 77,000 with all rows in memory"
