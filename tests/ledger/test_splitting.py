"""A ledger in parts: each call in exactly one file, sums equal to the digit, and merged again it answers the same."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.rigs.asker import UTC_ZONE
from tests.rigs.fleet import file_calls
from tests.rigs.made_records import NOON, priced, record, unpriced
from tests.rigs.planted_bills import ALIYUN, PLANTS, Bill
from tests.rigs.random_ledger import random_record
from tests.rigs.wide_ledger import made_wide
from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger.bills.saved import save_bills
from tokenmeter.ledger.copying import merge
from tokenmeter.ledger.report.periods import Zone
from tokenmeter.ledger.report.query import Question, ask
from tokenmeter.ledger.report.render import as_json
from tokenmeter.ledger.report.stats import parse_stats
from tokenmeter.ledger.rollup import wrong_days
from tokenmeter.ledger.schema import LedgerError
from tokenmeter.ledger.splitting import INDEX, UNTAGGED, Split, file_name, split
from tokenmeter.ledger.valuation.valuation import value_ledger
from tokenmeter.ledger.writer import Ledger
from tokenmeter.prices.book import load_book
from tokenmeter.record import Record

SHANGHAI = Zone.named("Asia/Shanghai")
QUESTIONS = ((), ("model",), ("day", "team"), ("month", "source"), ("tenant",), ("currency", "status"))


def written(path: Path, records: Iterable[Record], lost: Iterable[tuple[int, int]] = ()) -> Path:
    ledger = Ledger(path, queue_size=10**6)
    for one in records:
        ledger.write(one)
    ledger.close(60)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany("INSERT INTO losses (first_us, last_us, calls, reason) VALUES (?, ?, ?, 'full')",
                               [(at, at, number) for at, number in lost])  # fmt: skip
    return path


def answers(path: Path) -> list[dict[str, Any]]:
    """Every question of a ledger, without its name and where the answer came from."""
    found = []
    for by in QUESTIONS:
        asked = Question(by=by, zone=SHANGHAI, stats=parse_stats("sum,p95,max:duration") if by == ("model",) else ())
        try:
            found.append(as_json(ask(str(path), asked)) | {"ledger": "", "source": ""})
        except ConfigurationError:  # a tag that no call has
            found.append({})
    return found


def merged(done: Split, target: Path) -> Path:
    merge([str(Path(done.folder) / one.file) for one in done.parts], str(target))
    return target


def assert_whole(path: Path, done: Split, target: Path) -> None:
    """The parts hold each call once, as it is; merged they answer as the ledger does."""
    source, seen = file_calls(path), Counter[str]()
    for part in done.parts:
        file = Path(done.folder) / part.file
        calls = file_calls(file)
        assert len(calls) == part.calls
        assert calls.items() <= source.items()
        seen.update(calls.keys())
        with closing(sqlite3.connect(file)) as connection:
            assert wrong_days(connection) == 0
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    there = {name for name in os.listdir(done.folder) if not name.endswith(("-shm", "-wal"))}
    assert there == {INDEX, *(one.file for one in done.parts)}
    assert seen == Counter(source.keys())
    sums: dict[str, Decimal] = {}
    for part in done.parts:
        for currency, amount in part.sums.items():
            sums[currency] = sums.get(currency, Decimal(0)) + Decimal(amount)
    expected: dict[str, Decimal] = {}
    for call in source.values():
        if call["amount"] is not None:
            expected[call["currency"]] = expected.get(call["currency"], Decimal(0)) + call["amount"]
    assert sums == expected
    assert answers(merged(done, target)) == answers(path)
    assert file_calls(target) == source


ODD = (
    "../x", "", "Acme", "acme", "ACME", "con", "é", "e\u0301", "搜索", "a/b", ".", "..", "~untagged", "a\nb", "x" * 300,
    "acme~1234",
)  # fmt: skip
VALUES = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=6) | st.sampled_from(ODD)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.none() | VALUES, st.integers(0, 2**30)), min_size=1, max_size=40),
    st.booleans(),
    st.lists(st.integers(0, 120), max_size=3, unique=True),
)
def test_each_call_is_in_exactly_one_file(
    tmp_path_factory: pytest.TempPathFactory, calls: list[tuple[str | None, int]], monthly: bool, lost: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("split")
    records = []
    for number, (value, seed) in enumerate(calls):
        one = random_record(random.Random(seed), number)
        records.append(one._replace(tags={**one.tags, **({} if value is None else {"tenant": value})}))
    at = [(int((NOON + timedelta(days=days)).timestamp() * 10**6), 3) for days in lost]
    path = written(folder / "spend.db", records, at)
    before = path.read_bytes()
    tagged = any(value is not None for value, _ in calls)
    done = split(str(path), str(folder / "parts"), "month" if monthly or not tagged else "tenant", SHANGHAI)
    assert_whole(path, done, folder / "merged.db")
    assert path.read_bytes() == before
    if not monthly and tagged:
        values = {value for value, _ in calls}
        names = Counter(one.file.casefold() for one in done.parts)
        assert max(names.values()) == 1, "no two names are one on a system that knows no case"
        assert {one.value for one in done.parts} == values | ({None} if lost else set())


@given(st.lists(VALUES, unique=True))
def test_a_name_is_safe_and_of_one_value(values: list[str]) -> None:
    names = [file_name(value) for value in values]
    assert len({name.casefold() for name in names}) == len(values)
    for name in names:
        assert name.isascii()
        assert len(name) < 80
        assert os.path.basename(name) == name
        assert not name.startswith(".")
        assert name != UNTAGGED


def test_values_that_are_plain_are_the_names() -> None:
    assert [file_name(one) for one in ("acme", "team-7", "2026-11")] == ["acme.db", "team-7.db", "2026-11.db"]
    assert file_name("../x").startswith("x~")
    assert file_name("con") != "con.db"


def test_the_same_calls_by_month_of_two_clocks(tmp_path: Path) -> None:
    new_year = NOON.replace(month=12, day=31, hour=20)
    path = written(tmp_path / "spend.db", [record(ended=new_year, id="a" * 32), record(ended=NOON, id="b" * 32)])
    found = {}
    for zone in (UTC_ZONE, SHANGHAI):
        done = split(str(path), str(tmp_path / zone.name.replace("/", "-")), "month", zone)
        found[zone.name] = [(one.file, one.calls) for one in done.parts]
    month = f"{NOON:%Y-%m}.db"
    assert found == {
        "UTC": [(month, 1), (f"{NOON:%Y}-12.db", 1)],
        "Asia/Shanghai": [(month, 1), (f"{NOON.year + 1}-01.db", 1)],
    }


def test_losses_of_a_split_by_tag_are_with_the_calls_that_have_none(tmp_path: Path) -> None:
    path = written(tmp_path / "spend.db", [record(tags={"tenant": "a"})], [(10**15, 7)])
    done = split(str(path), str(tmp_path / "parts"), "tenant", UTC_ZONE)
    assert [(one.file, one.calls, one.losses) for one in done.parts] == [(UNTAGGED, 0, 7), ("a.db", 1, 0)]
    assert_whole(path, done, tmp_path / "merged.db")


def test_a_tag_named_month_and_one_that_no_call_has(tmp_path: Path) -> None:
    path = written(tmp_path / "spend.db", [record(tags={"month": "may"})])
    assert [one.file for one in split(str(path), str(tmp_path / "a"), "tag:month", UTC_ZONE).parts] == ["may.db"]
    with pytest.raises(ConfigurationError, match="--by: no call has this tag; did you mean 'month'"):
        split(str(path), str(tmp_path / "b"), "monht", UTC_ZONE)
    assert not (tmp_path / "b").exists()


def test_valuations_and_wide_rows_go_along(tmp_path: Path) -> None:
    some = random.Random(7)
    records = [random_record(some, number)._replace(tags={"tenant": f"t{number % 3}"}) for number in range(60)]
    made_wide(written(tmp_path / "source.db", records), tmp_path / "spend.db")
    path = written(tmp_path / "spend.db", [random_record(some, number + 60) for number in range(20)])
    value_ledger(str(path), load_book(), at=None, name="list")
    done = split(str(path), str(tmp_path / "parts"), "tenant", UTC_ZONE)
    assert_whole(path, done, tmp_path / "merged.db")

    def valued(ledger: Path) -> list[Any]:
        with closing(sqlite3.connect(ledger)) as connection:
            return connection.execute("SELECT * FROM valued_calls ORDER BY call_id").fetchall()

    parts = [row for one in done.parts for row in valued(tmp_path / "parts" / one.file)]
    assert sorted(parts, key=lambda row: row[1]) == valued(path) == valued(tmp_path / "merged.db")


def test_a_bill_goes_with_its_month_or_stays(tmp_path: Path) -> None:
    bill = Bill(ALIYUN)
    PLANTS["untracked traffic"][0](bill)
    answer = ALIYUN.reconciled(tmp_path, bill.records, bill.lines)  # of 2025-08-21 to 2025-09-03
    path = tmp_path / "spend.db"
    save_bills(str(path), [answer])
    done = split(str(path), str(tmp_path / "months"), "month", SHANGHAI)
    assert done.left == ("alibaba in CNY, 2025-08-21 to 2025-09-03",)
    cut = len([1 for day, _ in answer.days if day < "2025-09"])
    answer.days, answer.until_us = answer.days[:cut], answer.days[cut][1]
    answer.differences = [one for one in answer.differences if one.day < "2025-09"]
    save_bills(str(path), [answer], replace=True)
    done = split(str(path), str(tmp_path / "again"), "month", SHANGHAI)
    assert (done.left, [(one.file, one.bills) for one in done.parts]) == ((), [("2025-08.db", 1), ("2025-09.db", 0)])
    with closing(sqlite3.connect(path)) as one, closing(sqlite3.connect(merged(done, tmp_path / "all.db"))) as other:
        for table in ("reconciled_bills", "reconciled_differences"):
            query = f"SELECT * FROM {table}"  # noqa: S608
            assert one.execute(query).fetchall() == other.execute(query).fetchall() != []


# Folders that are there, and splits that were stopped -----------------------------------------------------------------


def tenants(path: Path, count: int, each: int = 3) -> Path:
    costs = [priced("0.1"), priced("0.00000000000000001", "USD"), unpriced()]
    return written(path, [
        record(costs[number % 3], id=f"{number:032x}", ended=NOON + timedelta(seconds=number),
               tags={"tenant": f"t{number % count}"})
        for number in range(count * each)
    ])  # fmt: skip


def test_a_split_that_was_killed_goes_on(tmp_path: Path) -> None:
    path, folder = tenants(tmp_path / "spend.db", 150), tmp_path / "parts"
    code = (
        "from tokenmeter.ledger.splitting import split; from tokenmeter.ledger.report.periods import Zone; "
        f"split({str(path)!r}, {str(folder)!r}, 'tenant', Zone.named('UTC'))"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        while process.poll() is None and len(list(folder.glob("*.db"))) < 20:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    began = len(list(folder.glob("*.db")))
    assert 20 <= began < 150
    assert json.loads((folder / INDEX).read_text())["complete"] is False
    done = split(str(path), str(folder), "tenant", UTC_ZONE)
    assert done.went_on == began
    assert_whole(path, done, tmp_path / "merged.db")
    index = json.loads((folder / INDEX).read_text())
    assert index["complete"] is True
    assert [one["file"] for one in index["parts"]] == [one.file for one in done.parts]
    assert stat.S_IMODE((folder / INDEX).stat().st_mode) == 0o600


@pytest.mark.parametrize("change", ["grown", "by another", "damaged"])
def test_a_split_that_was_stopped_goes_on_with_the_same_ledger_alone(tmp_path: Path, change: str) -> None:
    path, folder = tenants(tmp_path / "spend.db", 3), tmp_path / "parts"
    split(str(path), str(folder), "tenant", UTC_ZONE)
    index = json.loads((folder / INDEX).read_text())
    (folder / INDEX).write_text(json.dumps(index | {"complete": False}))
    by = "tenant"
    if change == "grown":
        written(path, [record(id="f" * 32, tags={"tenant": "t1"})])
    elif change == "by another":
        by = "month"
    else:
        written(folder / "t1.db", [record(id="f" * 32)])
    with pytest.raises(LedgerError, match="does not hold" if change == "damaged" else "was stopped"):
        split(str(path), str(folder), by, UTC_ZONE)


def test_folders_that_have_something_in_them_are_refused(tmp_path: Path) -> None:
    path, folder = tenants(tmp_path / "spend.db", 2), tmp_path / "parts"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(LedgerError, match="has something in it"):
        split(str(path), str(folder), "tenant", UTC_ZONE)
    (folder / "notes.txt").unlink()
    split(str(path), str(folder), "tenant", UTC_ZONE)
    with pytest.raises(LedgerError, match="is complete"):
        split(str(path), str(folder), "tenant", UTC_ZONE)
    assert stat.S_IMODE(folder.stat().st_mode) & 0o700 == 0o700


def test_a_ledger_that_is_not_there_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="there is no ledger"):
        split(str(tmp_path / "none.db"), str(tmp_path / "parts"), "month", UTC_ZONE)
    assert list(tmp_path.iterdir()) == []


def test_many_tenants_need_no_more_files_open_than_few(tmp_path: Path) -> None:
    import resource

    path = tenants(tmp_path / "spend.db", 400, each=2)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    open_now = max(map(int, os.listdir("/proc/self/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_now + 40, before[1]))
    try:
        done = split(str(path), str(tmp_path / "parts"), "tenant", UTC_ZONE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert (len(done.parts), {one.calls for one in done.parts}) == (400, {2})
