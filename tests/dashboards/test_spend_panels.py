"""Every query of the dashboard over a ledger, on a real database of each engine, against the file's report and page."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.rigs import spend_story
from tests.rigs.clickhouse_server import ClickHouseServer, clickhouse_server
from tests.rigs.fleet import ship, written
from tests.rigs.made_records import priced, record
from tests.rigs.postgres_server import PostgresServer, postgres_server
from tokenmeter.dashboards.spend_panels import ENGINES, NONE, POSTGRESQL, price_changes, sections, variables
from tokenmeter.ledger.page.dearest import dearest_calls, dearest_traces, unpriced_models
from tokenmeter.ledger.page.figures import PageFigures, gather
from tokenmeter.ledger.report.periods import Zone
from tokenmeter.ledger.report.query import ask
from tokenmeter.ledger.report.question import Question
from tokenmeter.ledger.report.selection import select, snapshot
from tokenmeter.ledger.report.stats import measured, parse_stats
from tokenmeter.ledger.upkeep import set_zone

SHANGHAI = Zone.named("Asia/Shanghai")
SINCE, UNTIL = datetime(2026, 8, 3, 5, 17, tzinfo=UTC), datetime(2026, 8, 28, 21, 3, tzinfo=UTC)
TITLES = [panel.title for section in sections(POSTGRESQL) for panel in section.panels]
LOST = 7
SERVERS: dict[str, Callable[[], AbstractContextManager[PostgresServer | ClickHouseServer]]] = {
    "postgresql": postgres_server,
    "clickhouse": clickhouse_server,
}


def macros(engine: str, query: str) -> str:
    """A query with the macros as the documentation of Grafana's data source of this engine gives them."""
    if engine == "postgresql":
        first, last = (f"'{at:%Y-%m-%dT%H:%M:%SZ}'" for at in (SINCE, UNTIL))
        sql = re.sub(r"\$__timeFilter\((\w+)\)", rf"\1 BETWEEN {first} AND {last}", query)
        return sql.replace("$__timeFrom()", first).replace("$__timeTo()", last)
    first, last = (f"toDateTime({at.timestamp():.0f})" for at in (SINCE, UNTIL))
    sql = re.sub(r"\$__timeFilter\((\w+)\)", rf"\1 >= {first} AND \1 <= {last}", query)
    return sql.replace("$__fromTime", first).replace("$__toTime", last)


def aware(value: Any) -> Any:
    """An instant of UTC as such, which the client of ClickHouse gives without its zone."""
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) and value.tzinfo is None else value


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> str:
    import sqlite3
    from contextlib import closing

    path = spend_story.write(tmp_path_factory.mktemp("story") / "spend.db", spend_story.records(40))
    set_zone(path, SHANGHAI.name)
    with closing(sqlite3.connect(path)) as connection, connection:
        for at, calls in ((SINCE - timedelta(days=2), 100), (SINCE + timedelta(days=2), LOST)):
            us = int(at.timestamp() * 10**6)
            connection.execute("INSERT INTO losses (first_us, last_us, calls, reason) VALUES (?, ?, ?, 'full')",
                               (us, us, calls))  # fmt: skip
    return path


class Board:
    """The dashboard as someone has it open: a span of time, and what is chosen."""

    def __init__(self, engine: str, server: PostgresServer | ClickHouseServer, url: str) -> None:
        self.engine = ENGINES[engine]
        self.panels = {panel.title: panel for section in sections(self.engine) for panel in section.panels}
        self._name, self._server, self._url = engine, server, url
        self.chosen: dict[str, list[str]] = {"tag": ["team"]}
        for one in variables(self.engine):
            if one.several:
                self.chosen[one.name] = [row[0] for row in self.rows(one.query)]

    def rows(self, query: str, **chosen: str) -> list[tuple[Any, ...]]:
        """What the engine answers."""

        def quoted(found: re.Match[str]) -> str:
            values = [chosen[found[1]]] if found[1] in chosen else self.chosen[found[1]]
            return ",".join("'" + value.replace("'", "''") + "'" for value in values)

        sql = re.sub(r"\$\{(\w+):sqlstring\}", quoted, macros(self._name, query))
        assert "$" not in sql
        return [tuple(map(aware, row)) for row in self._server.execute(sql, self._url)]

    def panel(self, title: str, **chosen: str) -> list[tuple[Any, ...]]:
        return self.rows(self.panels[title].query, **chosen)

    def each(self, title: str) -> dict[str, list[tuple[Any, ...]]]:
        """The rows of a panel that is drawn for each currency."""
        assert self.panels[title].each
        return {currency: self.panel(title, currency=currency) for currency in self.chosen["currency"]}


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture(scope="module")
def server(engine: str) -> Iterator[PostgresServer | ClickHouseServer]:
    with SERVERS[engine]() as started:
        yield started


@pytest.fixture(scope="module")
def board(engine: str, server: PostgresServer | ClickHouseServer, ledger: str) -> Board:
    url = server.database("board")
    ship(Path(ledger), url)
    return Board(engine, server, url)


@pytest.fixture(scope="module")
def page(ledger: str) -> PageFigures:
    with snapshot(ledger) as held:
        return gather(held, asked(), None)


def asked(*by: str, stats: str = "") -> Question:
    return Question(by=by, zone=SHANGHAI, since=SINCE, until=UNTIL, stats=parse_stats(stats))


def reported(ledger: str, *by: str) -> list[Any]:
    return [row for row in ask(ledger, asked(*by)).rows if row.cost is not None]


def key(value: str | None) -> str:
    return NONE if value is None else value


def test_the_choices_are_what_calls_have(board: Board, ledger: str) -> None:
    assert board.chosen["currency"] == ["CNY", "USD"]
    assert set(board.chosen["model"]) == {
        key(row.group[0]) for row in ask(ledger, Question(by=("model",), zone=SHANGHAI)).rows
    }
    (tag,) = [one for one in variables(board.engine) if one.name == "tag"]
    assert ("team",) in board.rows(tag.query)


def test_numbers(board: Board, ledger: str, page: PageFigures) -> None:
    totals = {row.currency: row.cost for row in page.totals.totals if row.currency is not None}
    assert dict(board.panel("Spend")) == totals
    saved: dict[str, Decimal] = {}
    with select(ledger, asked()) as (connection, where, values):
        for (currency,), some in measured(connection, (), where, values, parse_stats("sum:cache_saved")).items():
            if currency is not None and isinstance(amount := some["cache_saved_sum"], Decimal):
                saved[currency] = amount
    assert dict(board.panel("Saved by caches")) == saved
    assert len(saved) == 2
    unpriced = sum(calls for _, calls in page.totals.reasons)
    assert board.panel("Calls without a price") == [(unpriced,)]
    assert unpriced > 0
    assert board.panel("Calls that were lost") == [(LOST,)] == [(page.totals.lost,)]


@pytest.mark.parametrize(("title", "by"), [("model", "model"), ("$tag", "team")])
def test_bars_are_the_report_by_day(board: Board, ledger: str, title: str, by: str) -> None:
    rows = reported(ledger, "day", by)
    for currency, found in board.each(f"$currency a day by {title}").items():
        expected = {(row.group[0], key(row.group[1])): row.cost for row in rows if row.currency == currency}
        assert {(f"{SHANGHAI.local(at):%Y-%m-%d}", metric): cost for at, metric, cost in found} == expected
        assert len(found) == len(expected) > 30
        assert {SHANGHAI.local(at).hour for at, *_ in found} == {0}


def test_tables_by_model_and_tag(board: Board, ledger: str) -> None:
    for title, by in (("Most of $currency by model", ("provider", "model")), ("Most of $currency by $tag", ("team",))):
        rows = reported(ledger, *by)
        for currency, found in board.each(title).items():
            expected = {tuple(map(key, row.group)): (row.cost, row.calls) for row in rows if row.currency == currency}
            assert {tuple(map(key, row[: len(by)])): (row[-3], row[-1]) for row in found} == expected
            assert abs(Decimal(sum(row[-2] for row in found)) - 1) < Decimal("1e-12")
            assert [row[-3] for row in found] == sorted((row[-3] for row in found), reverse=True)


def test_components_are_the_pages(board: Board, page: PageFigures) -> None:
    for currency, found in board.each("$currency by component").items():
        expected = {one.component: (one.cost, one.calls) for one in page.components if one.currency == currency}
        assert {row[0]: (row[2], row[4]) for row in found} == expected
        assert len(found) >= 3


def test_sources_are_the_pages(board: Board, page: PageFigures) -> None:
    for total in page.totals.totals:
        if total.currency is not None:
            found = board.panel("$currency by where its tokens come from", currency=total.currency)
            assert {row[0]: (row[2], row[4]) for row in found} == {
                name: (tally.cost, tally.calls) for name, tally in total.sources.items()
            }


def statistics(ledger: str) -> dict[tuple[Any, ...], Any]:
    with select(ledger, asked()) as (connection, where, values):
        stats = parse_stats("p50,p95,p50:duration,p95:duration,sum:cache_saved")
        return dict(measured(connection, ("provider", "model"), where, values, stats))


def test_cache_and_latency_are_the_reports_statistics(board: Board, ledger: str) -> None:
    expected = statistics(ledger)
    for currency, found in board.each("$currency saved by caches, by model").items():
        saved = {group[:2]: some["cache_saved_sum"] for group, some in expected.items() if group[2] == currency}
        assert {(row[0], row[1]): row[4] for row in found} == {
            name: one for name, one in saved.items() if one is not None
        }
        assert all(0 <= row[5] <= 1 for row in found if row[5] is not None)
    for currency, found in board.each("Latency against $currency a call").items():
        points = {f"{group[0]} {group[1]}": some for group, some in expected.items() if group[2] == currency}
        assert {row[0]: (row[3], row[5], row[2], row[4]) for row in found} == {
            name: (some["cost_p50"], some["cost_p95"], some["duration_p50"], some["duration_p95"])
            for name, some in points.items()
        }


def test_dearest_calls_and_runs_are_the_pages(board: Board, ledger: str) -> None:
    with snapshot(ledger) as held:
        for currency in ("CNY", "USD"):
            calls = board.panel("Dearest calls in $currency", currency=currency)
            assert [(row[-1], row[6], SHANGHAI.local(row[0]), key(row[2])) for row in calls] == [
                (one.id, one.cost, one.ended.replace(microsecond=row[0].microsecond), key(one.tags.get("team")))
                for one, row in zip(dearest_calls(held, asked(), currency, 20), calls, strict=True)
            ]
            runs = board.panel("Dearest runs in $currency", currency=currency)
            assert [(row[0], row[4], row[5]) for row in runs] == [
                (one.trace, one.calls, one.cost) for one in dearest_traces(held, asked(), currency, 20)
            ]
            assert len(calls) == len(runs) == 20


def test_unpriced_models_are_the_pages(board: Board, ledger: str) -> None:
    with snapshot(ledger) as held:
        expected = unpriced_models(held, asked(), 20)
    found = board.panel("Models with calls without a price")
    assert sorted(found, key=str) == sorted(
        ((one.provider, key(one.model), one.reason, one.calls) for one in expected), key=str
    )
    assert found


def test_price_changes_are_those_that_the_page_marks(board: Board, page: PageFigures) -> None:
    found = board.rows(price_changes(board.engine).query)
    assert {(at, title, provider) for at, title, _, provider in found} == {
        (one.at.astimezone(UTC), f"{one.model} {one.currency}", one.provider) for one in page.changes
    }
    assert len(found) == len(page.changes) > 0
    steps = {f"{one.model} {one.currency}": {step.component for step in one.steps} for one in page.changes}
    for _, title, text, _ in found:
        assert {part.split(" ")[0] for part in text.split(", ")} == steps[title]
        assert " → " in text


def test_a_choice_of_models_narrows_every_panel(board: Board, ledger: str) -> None:
    model = "deepseek-chat"
    expected = [row.cost for row in reported(ledger, "model") if row.group[0] == model]
    assert [cost for _, cost in board.panel("Spend", model=model)] == expected
    for title, panel in board.panels.items():
        if title != "Calls that were lost":
            assert "${model:sqlstring}" in panel.query, title


@pytest.mark.parametrize("title", TITLES)
def test_no_sum_of_money_crosses_currencies(title: str, board: Board) -> None:
    """Rows of both currencies at once are those of each alone: so nothing was added, however much is chosen."""
    panel = board.panels[title]
    money = re.findall(r"sum\((?:amount|cost|cache_saved)\)", panel.query)
    if money:
        assert re.search(r"GROUP BY [^)]*currency", panel.query), panel.title
        assert "currency IN (${currency:sqlstring})" in panel.query
    if panel.each and panel.kind != "bars" and "LIMIT" not in panel.query:
        apart = [row for currency in board.chosen["currency"] for row in board.panel(panel.title, currency=currency)]
        assert sorted(board.panel(panel.title), key=str) == sorted(apart, key=str)


def test_hostile_names_are_values_and_no_sql(board: Board) -> None:
    assert board.panel("Most of $currency by $tag", tag="a' OR 1=1 --", currency="CNY")[0][0] == NONE
    assert board.panel("Spend", model="'); DROP SCHEMA tokenmeter; --") == []
    assert board.panel("Spend")


def test_names_with_quotes_and_backslashes_are_counted(
    engine: str, server: PostgresServer | ClickHouseServer, tmp_path: Path
) -> None:
    names = ["C:\\new\\table.gguf", "it's \\", "\\'; --", 'say "hi"']
    costs = [priced(f"0.{number}", model=name) for number, name in enumerate(names, 1)]
    records = [
        record(cost, id=name, ended=SINCE + timedelta(days=1), request_model=name, tags={name: "yes"})
        for cost, name in zip(costs, names, strict=True)
    ]
    url = server.database("names")
    ship(written(tmp_path / "names.db", records), url)
    board = Board(engine, server, url)
    assert board.panel("Spend") == [("CNY", Decimal("1.0"))]
    assert {row[1] for row in board.panel("Most of $currency by model")} == set(names)
    (tag,) = [one for one in variables(board.engine) if one.name == "tag"]
    for name in [row[0] for row in board.rows(tag.query)]:
        assert {row[0]: row[-1] for row in board.panel("Most of $currency by $tag", tag=name)} == {"yes": 1, NONE: 3}
