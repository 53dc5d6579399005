"""The SQL that reports send to ClickHouse: parsed, values bound and never part of it. Answers are in test_reports."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.ledger.fleet.test_reports import _KEYS, _WHERE
from tests.rigs.made_records import NOON
from tokenmeter.exchange import ExchangeRates
from tokenmeter.ledger.fleet.clickhouse import copies, days, dialect, duplicates, engine, upkeep
from tokenmeter.ledger.fleet.clickhouse.snapshot import _Queries
from tokenmeter.ledger.report.conversion import Conversion
from tokenmeter.ledger.report.periods import Zone
from tokenmeter.ledger.report.query import Question, answered
from tokenmeter.ledger.report.stats import parse_stats
from tokenmeter.ledger.report.where import parse

BERLIN = Zone.named("Europe/Berlin")
SPOKEN = engine.dialect_of(BERLIN, datetime(2026, 1, 1, tzinfo=UTC), NOON)


class Driver:
    """Takes queries as clickhouse-connect's client does, and has no rows but counts of zero."""

    def __init__(self) -> None:
        self.queries: list[tuple[str, dict[str, Any]]] = []

    def query(self, text: str, parameters: dict[str, Any] | None = None, settings: object = None) -> SimpleNamespace:
        self.queries.append((text, parameters or {}))
        return SimpleNamespace(column_names=["n"], result_rows=[(0,)] if "FROM losses" in text else [])


def sent(source: str = "rows", **asked: Any) -> list[tuple[str, dict[str, Any]]]:
    driver = Driver()
    question = Question(zone=BERLIN, **asked)
    table = getattr(engine, source)(SPOKEN)
    answered(cast("Any", _Queries(cast("Any", driver))), "db", question, table, [0, None, None])
    return driver.queries


def bound(text: str) -> list[str]:
    return re.findall(r"\{(v[0-9]+):(?:String|Int64|Float64)\}", text)


ASKED = [
    *({"by": tuple(by.split())} for by in _KEYS),
    *({"by": ("provider", "team"), "where": parse(where, SPOKEN)} for where in _WHERE),
    {"by": ("day", "team"), "since": NOON, "until": datetime(2026, 12, 1, tzinfo=UTC), "source": "days"},
    {"by": ("charge.component", "model"), "source": "charges", "tags": (("team", "ads"),)},
    {"by": ("model", "user"), "stats": parse_stats("sum,p50,max,p95:duration,sum:output_tokens,min:vendor_cost")},
    {"by": ("day",), "conversion": Conversion("USD", ExchangeRates.of("CNY=0.14USD@2026-01-01"))},
    {"by": (), "providers": ("a'b", "c"), "models": ("{v0:String}", "?")},
]


@pytest.mark.parametrize("asked", ASKED)
def test_every_question_parses_and_binds_what_was_given(asked: dict[str, Any]) -> None:
    sqlglot = pytest.importorskip("sqlglot", reason="the SQL of ClickHouse is parsed by sqlglot")
    queries = sent(**asked)
    assert queries
    for text, values in queries:
        assert "?" not in text
        assert sorted(bound(text)) == sorted(values)
        for value in values.values():
            assert value == "yes" or f"'{value}'" not in text
        assert type(sqlglot.parse_one(text, read="clickhouse")).__name__ == "Select"


@pytest.mark.parametrize(
    ("since", "until"), [(None, None), (1_793_534_400_000_000, None), (1_793_534_400_000_000, 1_793_534_500_000_000)]
)
def test_every_query_of_a_copy_parses(since: int | None, until: int | None) -> None:
    sqlglot = pytest.importorskip("sqlglot", reason="the SQL of ClickHouse is parsed by sqlglot")
    made = copies.copies(since, until)
    assert {"call_rows", "texts", "dims", "tagsets", "days", "losses", "whole"} <= made.keys()
    for _, query, values in made.values():
        assert query.count("?") == len(values)
        sqlglot.parse_one(query.replace("?", "1"), read="clickhouse")


@pytest.mark.parametrize(
    "statement", [days._CHANGED, days._RENEW, duplicates._TWICE, duplicates._CORRECT, upkeep._SUMMED]
)
def test_every_statement_of_the_upkeep_parses(statement: str) -> None:
    sqlglot = pytest.importorskip("sqlglot", reason="the SQL of ClickHouse is parsed by sqlglot")
    sqlglot.parse_one(statement.replace("{}", "calls"), read="clickhouse")


def test_a_report_is_this_query() -> None:
    text, values = sent(by=("day", "team"), where=parse("cost > 0.05", SPOKEN), since=NOON)[-3]
    assert text.startswith(
        "SELECT formatDateTime((ended_at + toIntervalSecond(CASE WHEN ended_at < "
        "fromUnixTimestamp64Micro(1774746000000000, 'UTC') THEN 3600 WHEN ended_at < "
        "fromUnixTimestamp64Micro(1792890000000000, 'UTC') THEN 7200 ELSE 3600 END)), '%Y-%m-%d'), "
        "arrayElementOrNull(mapValues(calls.tags), indexOf(mapKeys(calls.tags), {v0:String})), currency, usage_source, "
        "sum(calls) AS calls, "
    )
    assert text.endswith(
        " FROM calls WHERE end_state <> 'delegated' AND ended_at >= fromUnixTimestamp64Micro({v1:Int64}, 'UTC') "
        "AND (amount > toDecimal256({v2:String}, 38)) GROUP BY 1, 2, 3, 4"
    )
    assert values == {"v0": "team", "v1": 1_793_534_400_000_000, "v2": "0.05"}


def test_a_backslash_in_a_likeness_is_no_escape() -> None:
    assert dialect._LIKE.format(column="c", negated="", value="?") == (
        r"lower(c) LIKE lower(replaceAll(?, '\\', '\\\\'))"
    )
