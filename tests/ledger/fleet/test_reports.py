"""The same questions to a file and to the database that it was shipped to: the same answers, to the last digit."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.rigs.clickhouse_server import ClickHouseServer
from tests.rigs.fleet import ship, some_calls, written
from tests.rigs.made_records import NOON, priced, record, unpriced
from tests.rigs.postgres_server import PASSWORD, PostgresServer
from tokenmeter.cli import main
from tokenmeter.cost import STALE, Cost
from tokenmeter.errors import ConfigurationError
from tokenmeter.exchange import ExchangeRates
from tokenmeter.ledger.file import LedgerFile
from tokenmeter.ledger.fleet import reports
from tokenmeter.ledger.fleet.database import shown
from tokenmeter.ledger.losses import Loss
from tokenmeter.ledger.report import compare
from tokenmeter.ledger.report.conversion import Conversion
from tokenmeter.ledger.report.periods import Zone
from tokenmeter.ledger.report.query import Question, ask
from tokenmeter.ledger.report.render import as_json
from tokenmeter.ledger.report.stats import parse_stats
from tokenmeter.ledger.report.where import parse
from tokenmeter.money import Money
from tokenmeter.offers import Price
from tokenmeter.record import Record


def _empty(request: pytest.FixtureRequest, name: str) -> str:
    """An empty database of the engine of a parameter."""
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("server")
        return server.database(name)
    clickhouse: ClickHouseServer = request.getfixturevalue("clickhouse")
    return clickhouse.url_of(name)


def many() -> list[Record]:
    """Calls of all kinds, over half a year and a change of clocks."""
    calls = some_calls(240)
    for number in range(240):
        cost = priced(f"0.{number + 1:013d}") if number % 3 else unpriced(f"reason {number % 2}")
        calls.append(
            record(
                cost, ended=NOON - timedelta(hours=number * 19, minutes=number * 7), id=f"old-{number}",
                request_model=("Qwen-Max", "qwen_max", "Éclair", "glm%")[number % 4],
                region="cn" if number % 2 else None,
                service_tier="batch" if number % 5 == 0 else None, stream=number % 2 == 0,
                vendor_cost=Money(Decimal("0.01"), "CNY") if number % 4 == 0 else None,
                response_id=f"response-{number:020d}", tags={"team": f"t{number % 4}", "hour": f"h{number % 3}"},
            )
        )  # fmt: skip
    return calls


@pytest.fixture(scope="module", params=["postgresql", "clickhouse"])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A file of which one half is in two sittings, and the database that it is in."""
    url = _empty(request, "reports")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "Europe/Berlin")
        path = tmp_path_factory.mktemp("reports") / "spend.db"
        calls = many()
        written(path, calls[:200])
        ship(path, url, 70)
        written(path, calls[200:])
        file = LedgerFile(str(path))
        file.write([], [Loss(1_793_000_000_000_000, 1_794_000_000_000_000, 17, "the queue was full")])
        file.let_go()
        ship(path, url)
        yield str(path), url


_KEYS = (
    "provider model", "request_model response_model api operation", "host region service_tier status currency", "scope",
    "end source stream", "list rate_id book dating confidence cost_source", "covered_by error_type reason", "team",
    "user", "team user model", "tag:hour", "hour", "day", "week", "month", "day team", "trace response_id",
    "scope_run", "",
)  # fmt: skip
_WHERE = (
    "cost > 0.05", "cost = 0.0012", "cost <= 0.0000000000012 and cost > 0",
    "not (team = 'search' or model = 'qwen-max')",
    "request_model like 'QWEN_MAX'", "request_model like 'é%' or request_model like 'glm%'", "team in ('ads', '推荐')",
    "user = 'u7'", "duration >= 1.0", "input_tokens > 1100", "attempts = 2", "cost is null", "team is not null",
    "region is null and stream = 'yes'", "request_model > 'a'", "day > '2026-10-25'", "hour like '2026-11-01%'",
    "vendor_cost > 0.009", "tag:hour = 'h1'", "reason not in ('reason 1')", "scope like '%step 2'",
    "output_tokens < 5.5",
    "status_code is null", "model < 'qwen' and currency != 'USD'",
)  # fmt: skip
_TIMES = (
    (None, None), (NOON, None), (datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 3, 7, 30, tzinfo=UTC)),
    (datetime(2026, 10, 24, 22, tzinfo=UTC), datetime(2026, 10, 25, 23, tzinfo=UTC)),
)  # fmt: skip


def same(both: tuple[str, str], by: str = "", zone: str = "Europe/Berlin", **asked: Any) -> str:
    """Assert that both answer the same; what answered in the database."""
    path, url = both
    question = Question(by=tuple(by.split()), zone=Zone.named(zone), **asked)
    file, fleet = ask(path, question), reports.ask(url, question)
    one, other = (json.loads(json.dumps(as_json(answer), default=str)) for answer in (file, fleet))
    for answer in (one, other):
        answer.pop("ledger", None)
        answer.pop("path", None)
        answer.pop("answered_from", None)
        answer.pop("source", None)
    assert other == one
    assert (fleet.held, fleet.first, fleet.last, fleet.lost) == (file.held, file.first, file.last, file.lost)
    assert fleet.reasons == file.reasons
    assert fleet.rows == file.rows
    return fleet.source


@pytest.mark.parametrize("zone", ["Europe/Berlin", "UTC", "Asia/Shanghai", "Asia/Kathmandu", "America/St_Johns"])
@pytest.mark.parametrize("by", _KEYS)
def test_every_key_is_answered_the_same(both: tuple[str, str], by: str, zone: str) -> None:
    same(both, by, zone)


@pytest.mark.parametrize("where", _WHERE)
def test_every_condition_is_answered_the_same(both: tuple[str, str], where: str) -> None:
    same(both, "provider team", where=parse(where))


@pytest.mark.parametrize("times", _TIMES)
@pytest.mark.parametrize("by", ["model", "day", "hour team"])
def test_every_period_is_answered_the_same(both: tuple[str, str], by: str, times: tuple[datetime, datetime]) -> None:
    same(both, by, since=times[0], until=times[1])


def test_names_and_tags_are_answered_the_same(both: tuple[str, str]) -> None:
    same(both, "day", providers=("openai", "alibaba"), tags=(("team", "ads"),))
    same(both, "model", models=("gpt-4o",), tags=(("user", "u7"),))


@pytest.mark.parametrize(
    ("by", "asked", "source"),
    [
        ("model team", {}, "rollup"),
        ("day month", {}, "rollup"),
        ("provider", {"where": parse("team = 'ads' and status = 'priced'")}, "rollup"),
        ("provider", {"since": datetime(2026, 10, 24, 22, tzinfo=UTC)}, "rollup"),
        ("provider", {"since": NOON}, "rows"),
        ("day", {"zone": "Asia/Shanghai"}, "rows"),
        ("user", {}, "rows"),
        ("hour", {}, "rows"),
        ("model", {"where": parse("cost > 1")}, "rows"),
    ],
)
def test_the_roll_up_answers_where_it_can(both: tuple[str, str], by: str, asked: dict[str, Any], source: str) -> None:
    assert same(both, by, **asked) == source


@pytest.mark.parametrize("by", ["", "provider team", "day", "hour"])
@pytest.mark.parametrize(
    "stats",
    [
        "sum,p0,p1,median,p95,max",
        "p50:duration,p99:time_to_first_chunk,max:attempts",
        "sum:output_tokens,min:vendor_cost",
    ],
)
def test_every_statistic_is_answered_the_same(both: tuple[str, str], by: str, stats: str) -> None:
    assert same(both, by, stats=parse_stats(stats)) == "rows"


@pytest.mark.parametrize("by", ["", "provider team", "day", "hour user"])
@pytest.mark.parametrize("currency", ["USD", "CNY"])
def test_sums_are_converted_the_same(both: tuple[str, str], by: str, currency: str) -> None:
    rates = "CNY=0.14USD@2026-08-01,CNY=0.1401USD@2026-11-01,CNY=0.139USD@2026-11-02,USD=7.1CNY@2026-11-02"
    conversions = [Conversion(currency, ExchangeRates.of(rates)) for _ in both]
    assert same(both, by, conversion=conversions[0]) == "rows"
    path, url = both
    asked = {"by": tuple(by.split()), "zone": Zone.named("UTC"), "where": parse("cost < 1")}
    file = ask(path, Question(conversion=conversions[0], **asked))
    fleet = reports.ask(url, Question(conversion=conversions[1], **asked))
    assert [(row.converted, row.unconverted) for row in fleet.rows] == [
        (row.converted, row.unconverted) for row in file.rows
    ]
    assert any(row.converted for row in file.rows)
    assert any(row.unconverted for row in file.rows) == (currency == "USD"), "no rate reaches the first months"


def test_stale_and_single_source_prices_are_summed_the_same(any_url: str, path: Path) -> None:
    cost = priced("0.7", confidence="single-source")
    stale = type(cost)(cost.offer, cost.status, cost.amount, cost.lines, cost.at, flags=(STALE,))
    url = any_url
    ship(written(path, [record(cost), record(stale), record(priced("1"))]), url)
    same((str(path), url), "model", "UTC")


@pytest.mark.parametrize("by", ["", "provider model", "team"])
@pytest.mark.parametrize("where", [None, "cost > 0.01 or stream = 'yes'"])
def test_an_earlier_period_is_compared_the_same(both: tuple[str, str], by: str, where: str | None) -> None:
    month = datetime(2026, 11, 1, tzinfo=UTC)
    earlier = datetime(2026, 9, 1, tzinfo=UTC), month
    condition = None if where is None else parse(where)
    question = Question(by=tuple(by.split()), zone=Zone.named("UTC"), since=month, where=condition)
    file = compare.compare(ask(both[0], question), *earlier)
    fleet = reports.compare(both[1], reports.ask(both[1], question), *earlier)
    assert file.comparison is not None
    assert any(row.previous for row in file.rows)
    assert fleet.comparison == file.comparison
    assert fleet.rows == file.rows
    assert fleet.totals == file.totals


def test_components_are_answered_the_same(any_url: str, path: Path) -> None:
    plain = priced("1").offer
    records = [record(priced("0"), tags={"team": "ads"}), record(unpriced())]
    for number in range(40):
        names = [("input", 1000 + number), ("cache_read", number), ("output", 7 * number)][: 1 + number % 3]
        lines = tuple((Price(name, Decimal("2.5"), 1_000_000), n, Decimal("2.5") * n / 1_000_000) for name, n in names)
        cost = Cost(plain, "priced", sum((part for _, _, part in lines), Decimal(0)), lines, NOON)
        ended = NOON + timedelta(hours=number * 5)
        records.append(record(cost, ended=ended, tags={"team": ("ads", "search")[number % 2]}))
    url = any_url
    ship(written(path, records), url)
    for by in ("charge.component", "model charge.component team", "day charge.component"):
        assert same((str(path), url), by, "UTC", where=parse("team is not null or model is not null")) == "charges"
        same((str(path), url), by, "Asia/Shanghai")
        same((str(path), url), by, "UTC", tags=(("team", "ads"),), since=NOON + timedelta(days=2))


def test_an_empty_database_answers_nothing(any_url: str, path: Path) -> None:
    LedgerFile(str(path)).write([], [])
    ship(path, any_url)
    same((str(path), any_url), "model day", "UTC")


def test_an_unknown_tag_is_named_with_those_that_are_there(both: tuple[str, str]) -> None:
    for asked in ({"by": ("taem",)}, {"by": (), "where": parse("taem = 'x'")}):
        messages = []
        for answer in (lambda q: ask(both[0], q), lambda q: reports.ask(both[1], q)):
            with pytest.raises(ConfigurationError) as failed:
                answer(Question(zone=Zone.named("UTC"), **asked))  # type: ignore[arg-type]
            messages.append(str(failed.value))
        assert messages[0] == messages[1]
        assert "did you mean 'team'?" in messages[0]


def test_a_user_who_may_only_read_gets_answers(request: pytest.FixtureRequest, both: tuple[str, str]) -> None:
    if both[1].startswith("clickhouse"):
        clickhouse: ClickHouseServer = request.getfixturevalue("clickhouse")
        url = clickhouse.url_of("reports", user="reader", password="read")
        assert reports.ask(url, Question(by=("model",), zone=Zone.named("UTC"))).held == len(many())
        return
    server: PostgresServer = request.getfixturevalue("server")
    server.execute("CREATE ROLE reader LOGIN PASSWORD 'r'")
    for right in ("USAGE ON SCHEMA tokenmeter", "SELECT ON ALL TABLES IN SCHEMA tokenmeter"):
        server.execute(f"GRANT {right} TO reader", both[1])
    url = server.url_of("reports", user="reader", password="r")
    assert reports.ask(url, Question(by=("model",), zone=Zone.named("UTC"))).held == len(many())


def test_the_command_prints_the_same(both: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    printed = []
    for place in both:
        assert main(["report", place, "--by", "team,model", "--top", "3", "--tz", "UTC"]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0].replace(both[0], "X").splitlines()[1:] == printed[1].splitlines()[1:]


@pytest.mark.parametrize(
    "words",
    [
        ["--stat", "sum:cache_saved,p50:cache_saved", "--by", "model,team"],
        ["--stat", "sum:cache_saved", "--since", "2026-11-01", "--tz", "UTC"],
        ["--convert", "USD", "--rates", "CNY=0.14USD@2026-01-01", "--by", "day"],
        ["--format", "focus"],
        ["--format", "focus", "--charge-period", "hour", "--focus-tags", "team", "--until", "2026-11"],
        ["--format", "html", "--tz", "UTC"],
        ["--format", "html", "--by", "team,user", "--tz", "UTC", "--since", "2026-11", "--compare", "2026-10"],
    ],
)  # fmt: skip
def test_every_form_is_the_same(both: tuple[str, str], words: list[str], tmp_path: Path) -> None:
    """Also those that are answered from a copy of the calls."""
    written_forms = []
    for number, place in enumerate(both):
        target = tmp_path / f"{number}.out"
        form = [] if "--format" in words else ["--json"]
        assert main(["report", place, *words, *form, "--output", str(target)]) == 0
        text = target.read_text()
        assert PASSWORD not in text
        for name in (shown(place), place, f"<h1>{Path(place).name}", f"Spend · {Path(place).name}"):
            text = text.replace(name, "PLACE")
        written_forms.append(re.sub(r"made [-0-9]+ [:0-9]+", "", text))
    assert written_forms[1] == written_forms[0]
    assert len(written_forms[0]) > 500
