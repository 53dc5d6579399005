"""Sealed months answer as the ledger does, to the last digit, by DuckDB and by SQLite."""

from __future__ import annotations

import json
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.rigs.random_ledger import random_ledger
from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger.report.periods import Zone
from tokenmeter.ledger.report.query import LedgerReport, Question, ask
from tokenmeter.ledger.report.render import as_json
from tokenmeter.ledger.report.stats import parse_stats
from tokenmeter.ledger.report.where import parse
from tokenmeter.ledger.schema import LedgerError
from tokenmeter.ledger.sealed.seal import bounds, close

pytest.importorskip("pyarrow")
SHANGHAI = Zone.named("Asia/Shanghai")
MONTHS = ("2026-09", "2026-10", "2026-11", "2026-12")
LATER = datetime(2027, 2, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("sealed")
    ledger = random_ledger(folder / "spend.db", 7, 1_500)
    for month in MONTHS:
        close(str(ledger), month, SHANGHAI, str(folder / "months"), now=LATER)
    return ledger, folder / "months"


def comparable(report: LedgerReport) -> dict[str, Any]:
    return as_json(report) | {"source": None, "ledger": None, "path": None}


QUESTIONS = [
    {"by": ()},
    {"by": ("provider", "model")},
    {"by": ("team", "tag:day", "model")},
    {"by": ("odd $.name", "ключ")},
    {"by": ("day", "team"), "tz": "America/New_York"},
    {"by": ("hour",), "since": "2026-10-24", "until": "2026-10-27", "tz": "Europe/Berlin"},
    {"by": ("week", "month", "currency"), "tz": "Asia/Kolkata"},
    {"by": ("scope", "stream", "end")},
    {"by": ("status", "reason", "source", "confidence", "error_type")},
    {"by": ("trace", "response_id", "list", "book", "dating", "cost_source")},
    {"by": ("model",), "since": "2026-10-05", "until": "2026-11-20", "tags": (("team", "x"), ("ключ", "é'\""))},
    {"by": ("model",), "providers": ("openai",), "models": ("a", "Ünï")},
    {"by": ("model",), "where": "cost > 0.5 and not (team = x or user in (y, '1'))"},
    {"by": ("team",), "where": "day = '2026-10-25' or hour < '2026-10-03T05:00+08:00'", "tz": "Asia/Shanghai"},
    {"by": ("team",), "where": "scope = 'night / job / 1' and stream = yes and status_code > 299.5"},
    {"by": ("team",), "where": "model like 'ü%' or user is not null"},
    {"by": ("model",), "where": "vendor_cost is not null and input_tokens >= 1000 and time_to_first_chunk < 0.5"},
    {"by": ("team",), "stats": "sum,p50,p95,max,min"},
    {"by": (), "stats": "p95:duration,median:time_to_first_chunk,sum:input_tokens,p0:output_tokens,max:attempts"},
    {"by": ("model",), "stats": "sum:duration"},
    {"by": ("account",), "where": "tool_definition_tokens > 100", "stats": "sum:tool_definition_tokens"},
    {"by": ("team",), "where": "account = 'key-1'"},
]  # fmt: skip


@pytest.mark.parametrize("without", ["", "duckdb"])
@pytest.mark.parametrize("asked", QUESTIONS, ids=str)
def test_sealed_months_answer_as_the_ledger_does(
    sealed: tuple[Path, Path], asked: dict[str, Any], without: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if without:
        monkeypatch.setitem(sys.modules, without, None)
    zone = Zone.named(asked.get("tz", "UTC"))
    question = Question(
        by=asked["by"],
        zone=zone,
        **{name: zone.midnight(*map(int, asked[name].split("-"))) for name in ("since", "until") if name in asked},
        **{name: asked[name] for name in ("providers", "models", "tags") if name in asked},
        where=parse(asked["where"]) if "where" in asked else None,
        stats=parse_stats(asked.get("stats", "")),
    )
    ledger, months = sealed
    expected, found = ask(str(ledger), question), ask(str(months), question)
    assert comparable(found) == comparable(expected)
    if without:
        assert found.source == "sealed"


@pytest.mark.parametrize("without", ["", "duckdb"])
def test_months_of_an_older_version_lack_columns(
    sealed: tuple[Path, Path], tmp_path: Path, without: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow.parquet as pq

    if without:
        monkeypatch.setitem(sys.modules, without, None)
    old = tmp_path / "old"
    shutil.copytree(sealed[1], old)
    for path in sorted(old.glob("*.parquet"))[:2]:
        later = ["account", "tool_definition_tokens", "cache_saved", "cache_saved_text"]
        pq.write_table(pq.read_table(path).drop_columns(later), path)
        manifest = json.loads(path.with_suffix(".json").read_text())
        path.with_suffix(".json").write_text(json.dumps(manifest | {"size": path.stat().st_size}))
    by_model = Question(by=("model",), zone=SHANGHAI)
    assert comparable(ask(str(old), by_model)) == comparable(ask(str(sealed[1]), by_model))
    for month in (old, sorted(old.glob("*.parquet"))[0]):  # of one that has them, too, and of none
        where = parse("account = 'key-1' or tool_definition_tokens > 3")
        found = ask(str(month), Question(by=("account", "month"), zone=SHANGHAI, where=where))
        assert {row.group[1] for row in found.rows} == ({"2026-11", "2026-12"} if month is old else set())


@pytest.mark.parametrize(
    ("asked", "source"),
    [
        ({}, "duckdb"),
        ({"where": "input_tokens > 5"}, "duckdb"),
        ({"where": "cost > 0.5"}, "sealed"),  # amounts of more than twelve decimals are there
        ({"where": "model like 'a%'"}, "sealed"),
        ({"stats": "p95:duration"}, "duckdb"),
        ({"stats": "sum:duration"}, "sealed"),
        ({"stats": "sum:cache_saved"}, "sealed"),
    ],
    ids=str,
)
def test_duckdb_answers_what_it_answers_alike(sealed: tuple[Path, Path], asked: dict[str, str], source: str) -> None:
    pytest.importorskip("duckdb")
    where = parse(asked["where"]) if "where" in asked else None
    question = Question(by=("model",), zone=SHANGHAI, where=where, stats=parse_stats(asked.get("stats", "")))
    assert ask(str(sealed[1]), question).source == source


def test_amounts_of_twelve_decimals_are_compared_and_ranked_by_duckdb(tmp_path: Path) -> None:
    pytest.importorskip("duckdb")
    from tests.rigs.made_records import NOON, priced, record
    from tokenmeter.ledger.writer import Ledger

    ledger = Ledger(tmp_path / "spend.db")
    for number in range(1, 41):
        ledger.write(record(priced(f"0.{number:012d}"), id=f"{number:032x}"))
    ledger.close(30)
    close(str(tmp_path / "spend.db"), "2026-11", SHANGHAI, str(tmp_path / "months"), now=LATER)
    question = Question(
        by=("model",), zone=SHANGHAI, where=parse("cost > 0.00000000002"), stats=parse_stats("sum,min,p50")
    )
    found = ask(str(tmp_path / "months" / "calls-2026-11.parquet"), question)
    assert found.source == "duckdb"
    assert comparable(found) == comparable(ask(str(tmp_path / "spend.db"), question))
    assert found.rows[0].calls == 20
    assert found.first == SHANGHAI.local(NOON).isoformat()


def test_components_are_summed_over_sealed_months_too(tmp_path: Path) -> None:
    from tests.rigs.made_records import priced, record
    from tokenmeter.ledger.writer import Ledger

    ledger = Ledger(tmp_path / "spend.db")
    for amount in ("3", "5", "0"):
        ledger.write(record(priced(amount)))
    ledger.close(30)
    close(str(tmp_path / "spend.db"), "2026-11", SHANGHAI, str(tmp_path / "months"), now=LATER)
    question = Question(by=("charge.component",), zone=SHANGHAI)
    found = ask(str(tmp_path / "months"), question)
    assert (found.source, found.rows[0].cost) == ("sealed", 8)
    assert comparable(found) == comparable(ask(str(tmp_path / "spend.db"), question))


def test_one_month_is_a_ledger_of_its_own(sealed: tuple[Path, Path]) -> None:
    ledger, months = sealed
    since, until = bounds("2026-10", SHANGHAI)
    alone = ask(str(months / "calls-2026-10.parquet"), Question(by=("team",), zone=SHANGHAI))
    part = ask(str(ledger), Question(by=("team",), zone=SHANGHAI, since=since, until=until))
    assert as_json(alone)["rows"] == as_json(part)["rows"]


def test_an_unknown_tag_is_refused_with_near_names(sealed: tuple[Path, Path]) -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'team'"):
        ask(str(sealed[1]), Question(by=("teem",), zone=SHANGHAI))


def test_a_folder_without_sealed_months_is_no_ledger(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="holds no sealed month"):
        ask(str(tmp_path), Question(by=(), zone=SHANGHAI))
