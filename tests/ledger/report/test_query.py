"""What a report sums, and what it refuses to sum."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.rigs.asker import UTC_ZONE, Asker
from tests.rigs.made_records import NOON, priced, record, unpriced
from tests.rigs.wide_ledger import made_wide
from tokenmeter.cost import STALE
from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger.report.query import LedgerReport, Question, ReportRow, ask
from tokenmeter.ledger.report.render import as_json
from tokenmeter.ledger.report.screen import as_text
from tokenmeter.ledger.report.stats import parse_stats
from tokenmeter.ledger.schema import LedgerError
from tokenmeter.ledger.writer import Ledger
from tokenmeter.money import plain
from tokenmeter.prices.book import load_book
from tokenmeter.record import Attempt, End
from tokenmeter.usage import Source, Usage


def sums(rows: tuple[ReportRow, ...]) -> list[tuple[Any, ...]]:
    return [(*row.group, row.currency, None if row.cost is None else plain(row.cost), row.calls) for row in rows]


def attempts(count: int) -> tuple[Attempt, ...]:
    return tuple(Attempt(200, None, 0, 10**8) for _ in range(count))


def test_groups_by_model_and_tag_with_a_total_per_currency(held: Callable[..., Asker]) -> None:
    asked = held(
        record(priced("0.10"), tags={"team": "search"}),
        record(priced("0.20"), tags={"team": "search"}),
        record(priced("1.00"), tags={"team": "ads"}),
        record(priced("0.5", "USD", model="gpt-4o"), tags={"team": "ads"}),
        record(priced("0"), tags={}),
    )
    report = asked("model", "team")
    assert sums(report.rows) == [
        ("deepseek-chat", "ads", "CNY", "1", 1),
        ("deepseek-chat", "search", "CNY", "0.3", 2),
        ("deepseek-chat", None, "CNY", "0", 1),
        ("gpt-4o", "ads", "USD", "0.5", 1),
    ]
    assert sums(report.totals) == [("CNY", "1.3", 4), ("USD", "0.5", 1)]


def test_a_ledger_of_an_older_schema_does_not_know_the_components_that_came_later(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "spend.db")
    ledger.write(record(priced("1")))
    ledger.close(30)
    made_wide(tmp_path / "spend.db", tmp_path / "old.db", without=("reasoning_output_tokens",))
    (row,) = ask(str(tmp_path / "old.db"), Question(by=("model",), zone=UTC_ZONE)).rows
    assert (row.tokens["reasoning_output_tokens"], row.unknown["reasoning_output_tokens"]) == (None, 1)
    assert row.unknown["output_tokens"] == 0


def test_errors_are_the_calls_that_ended_in_an_error(held: Callable[..., Asker]) -> None:
    asked = held(*(record(priced("1"), end=end) for end in (*End, End.ERROR)))
    (row,) = asked("model").rows
    assert (row.calls, row.errors) == (len(End), 2)  # one of each and one error more, without the delegated one


def test_calls_without_a_known_cost_stand_apart_and_mark_their_group(held: Callable[..., Asker]) -> None:
    asked = held(
        record(priced("0.10"), tags={"team": "search"}),
        record(unpriced(), tags={"team": "search"}),
        record(unpriced(), tags={"team": "search"}, end=End.ERROR),
        record(priced("0.7"), tags={"team": "ads"}),
        record(unpriced(), tags={"team": "new"}),
    )
    report = asked("team")
    assert sums(report.rows) == [
        ("ads", "CNY", "0.7", 1),
        ("search", "CNY", "0.1", 1),
        ("search", None, None, 2),
        ("new", None, None, 1),
    ]
    assert [row.complete for row in report.rows] == [True, False, False, False]
    assert [row.errors for row in report.rows] == [0, 0, 1, 0]
    assert [row.shares["unpriced"] for row in report.rows] == [0, 0, 1, 1]
    assert sums(report.totals) == [("CNY", "0.8", 2), (None, None, 3)]
    assert not report.totals[0].complete


def test_shares_follow_the_worst_source_of_each_call(held: Callable[..., Asker]) -> None:
    reported = Usage(input_tokens=10, output_tokens=1)
    counted = Usage(input_tokens=10, output_tokens=1, source=Source.COUNTED)
    mixed = Usage(input_tokens=10, output_tokens=1, sources={"output_tokens": Source.ESTIMATED})
    partial = Usage(input_tokens=10, output_tokens=1, source=Source.PARTIAL)
    asked = held(
        *(record(priced("0.1"), usage=usage) for usage in (reported, reported, counted, mixed)),
        record(priced("0.3"), usage=partial),
    )
    (row,) = asked().rows
    shares = {name: str(share) for name, share in row.shares.items() if share}
    assert shares == {"reported": "0.4000", "counted": "0.2000", "estimated": "0.2000", "partial": "0.2000"}
    assert {source: (tally.calls, str(tally.cost)) for source, tally in row.sources.items()} == {
        "reported": (2, "0.2"), "counted": (1, "0.1"), "estimated": (1, "0.1"), "partial": (1, "0.3"),
    }  # fmt: skip


def test_tokens_that_are_not_known_are_not_zero(held: Callable[..., Asker]) -> None:
    asked = held(
        record(usage=Usage(input_tokens=10, output_tokens=5, cache_read_input_tokens=4), attempts=attempts(3)),
        record(usage=Usage(input_tokens=20), attempts=attempts(1)),
        record(unpriced(), usage=Usage(source=Source.NONE), tags={"team": "x"}),
    )
    known, unknown = asked("status").rows
    assert known.tokens == {
        "input_tokens": 30,
        "output_tokens": 5,
        "cache_read_input_tokens": 4,
        "cache_write_input_tokens": None,
        "reasoning_output_tokens": None,
    }
    assert (known.unknown["input_tokens"], known.unknown["output_tokens"], known.attempts) == (0, 1, 4)
    assert set(unknown.tokens.values()) == {None}
    assert (unknown.unknown["input_tokens"], unknown.attempts) == (1, None)


def test_delegated_calls_are_no_calls_of_their_own(held: Callable[..., Asker]) -> None:
    asked = held(record(priced("1")), record(unpriced(), end=End.DELEGATED, usage=Usage(source=Source.NONE)))
    assert sums(asked().rows) == [("CNY", "1", 1)]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.decimals(min_value=0, max_value=10**6, places=12), st.sampled_from("abc")), min_size=1, max_size=30
    )
)
def test_sums_are_exact_whatever_the_grouping(
    held: Callable[..., Asker], tmp_path: Path, amounts: list[tuple[Decimal, str]]
) -> None:
    for old in tmp_path.iterdir():
        old.unlink()
    asked = held(*(record(priced(f"{amount:f}"), tags={"t": tag}) for amount, tag in amounts))
    whole = sum(Fraction(amount) for amount, _ in amounts)
    for report in (asked(), asked("t"), asked("day", "t"), asked("status")):
        assert sum(Fraction(row.cost) for row in report.rows if row.cost is not None) == whole
        assert [Fraction(total.cost or 0) for total in report.totals] == [whole]
        assert sum(row.calls for row in report.rows) == len(amounts)


def at(hour: int, minute: int = 0, *, day: int = 1, month: int = 11) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=UTC)


@pytest.mark.parametrize(
    ("period", "tz", "expected"),
    [
        pytest.param("day", "UTC", ["2026-10-31", "2026-11-01"], id="days in UTC"),
        pytest.param("day", "Asia/Shanghai", ["2026-10-31", "2026-11-01"], id="days in Shanghai"),
        pytest.param("day", "America/New_York", ["2026-10-31", "2026-11-01"], id="days in New York"),
        pytest.param("month", "Asia/Shanghai", ["2026-10", "2026-11"], id="months"),
        pytest.param("week", "UTC", ["2026-W44"], id="weeks"),
        pytest.param(
            "hour", "Asia/Kolkata",
            ["2026-10-31T21:00+05:30", "2026-10-31T22:00+05:30", "2026-11-01T11:00+05:30"], id="hours off by a half",
        ),
    ],
)  # fmt: skip
def test_a_call_belongs_to_the_period_in_which_it_ended(
    held: Callable[..., Asker], period: str, tz: str, expected: list[str]
) -> None:
    ends = [at(15, 59, day=31, month=10), at(16, 30, day=31, month=10), at(6)]
    asked = held(*(record(priced("1"), ended=end) for end in ends))
    report = asked(period, tz=tz)
    assert [row.group[0] for row in report.rows] == expected


def test_midnight_falls_where_the_zone_says(held: Callable[..., Asker]) -> None:
    asked = held(record(ended=at(15, 59)), record(ended=at(16, 0)))  # 23:59 and 00:00 in Shanghai
    assert [row.group[0] for row in asked("day", tz="Asia/Shanghai").rows] == ["2026-11-01", "2026-11-02"]
    assert [row.group[0] for row in asked("day", tz="UTC").rows] == ["2026-11-01"]


def test_the_hour_a_clock_repeats_stays_two(held: Callable[..., Asker]) -> None:
    asked = held(record(ended=at(5, 30)), record(ended=at(6, 30)))  # 01:30 twice in New York on 2026-11-01
    assert [row.group[0] for row in asked("hour", tz="America/New_York").rows] == [
        "2026-11-01T01:00-04:00", "2026-11-01T01:00-05:00",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        pytest.param({"since": NOON}, ["b", "c"], id="since includes"),
        pytest.param({"until": NOON}, ["a"], id="until excludes"),
        pytest.param({"since": NOON, "until": NOON + timedelta(microseconds=1)}, ["b"], id="one microsecond"),
        pytest.param({"providers": ("deepseek", "nobody")}, ["a", "b", "c"], id="provider"),
        pytest.param({"models": ("qwen-plus",)}, ["c"], id="model as priced"),
        pytest.param({"tags": (("team", "search"),)}, ["a", "b"], id="tag"),
        pytest.param({"tags": (("team", "search"), ("who", "a"))}, ["a"], id="two tags both"),
        pytest.param({"tags": (("nothing", "x"),)}, [], id="nobody has it"),
    ],
)
def test_filters(held: Callable[..., Asker], asked: dict[str, Any], expected: list[str]) -> None:
    report = held(
        record(ended=NOON - timedelta(microseconds=1), tags={"team": "search", "who": "a"}),
        record(ended=NOON, tags={"team": "search", "who": "b"}),
        record(priced("9", model="qwen-plus"), ended=NOON + timedelta(hours=1), tags={"team": "ads", "who": "c"}),
    )("who", **asked)
    assert sorted(str(row.group[0]) for row in report.rows) == expected
    assert report.held == 3


@pytest.mark.parametrize("tag", ["team.name", 'say "hi"', "成本中心", "a'b", "$", "[0]"])
def test_any_tag_name_can_be_grouped_by(held: Callable[..., Asker], tag: str) -> None:
    asked = held(record(tags={tag: "x"}), record(tags={"other": "y"}))
    assert sums(asked(tag).rows) == [("x", "CNY", "0.0012", 1), (None, "CNY", "0.0012", 1)]


def test_a_tag_named_like_a_key_is_reached_by_its_prefix(held: Callable[..., Asker]) -> None:
    asked = held(record(tags={"model": "mine"}))
    assert asked("model").rows[0].group == ("deepseek-chat",)
    assert asked("tag:model").rows[0].group == ("mine",)


def test_scopes_are_paths(held: Callable[..., Asker]) -> None:
    asked = held(record(scope=("nightly", "rerank")), record(scope=()))
    assert [row.group[0] for row in asked("scope").rows] == ["nightly / rerank", None]


def test_an_unknown_key_names_those_that_are_known(held: Callable[..., Asker]) -> None:
    asked = held(record(tags={"team": "x", "user": "y"}))
    with pytest.raises(ConfigurationError, match=r"--by teem: .*did you mean 'team'.*Keys are provider, .*team, user"):
        asked("teem")


def test_lost_calls_of_the_period_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    ledger = Ledger(folder / "spend.db", queue_size=1)
    for _ in range(4):
        ledger.write(record(ended=NOON))
    lost = ledger.health()["lost"]
    folder.mkdir()
    assert lost
    assert ledger.flush()
    ledger.close()

    def asked(**period: datetime) -> LedgerReport:
        return ask(str(folder / "spend.db"), Question(by=(), zone=UTC_ZONE, **period))

    assert asked().lost == lost
    assert asked(since=NOON).lost == lost
    assert asked(since=NOON + timedelta(seconds=1)).lost == 0
    assert asked(until=NOON).lost == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(None, "there is no ledger at", id="missing"),
        pytest.param(b"", "empty", id="empty"),
        pytest.param(b"SQLite format 3\0" + b"x" * 2000, "spend.db", id="damaged"),
        pytest.param(b"model,cost\nqwen,1\n" * 100, "not a ledger, or it is damaged", id="something else"),
    ],
)
def test_a_file_that_is_no_ledger_is_said(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "spend.db"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(LedgerError, match=words):
        ask(str(path), Question(by=("model",), zone=UTC_ZONE))


# In one more currency ---------------------------------------------------------------------------------------------


def test_the_cost_by_stale_and_by_single_source_prices_is_summed(held: Callable[..., Asker]) -> None:
    asked = held(
        record(priced("1").with_flag(STALE)),
        record(priced("2")),
        record(priced("1", confidence="single-source").with_flag(STALE)),
        record(priced("3", "USD")),
        record(unpriced()),
    )
    report = asked("model")
    assert [(row.currency, row.stale_cost, row.single_source_cost) for row in report.totals] == [
        ("CNY", 2, 1),
        ("USD", None, None),
        (None, None, None),
    ]
    cny, usd, unknown = as_json(report)["totals"]
    assert (cny["stale_prices"], cny["single_source_prices"]) == (
        {"cost": "2", "share": "0.5"},
        {"cost": "1", "share": "0.25"},
    )
    assert (usd["stale_prices"], unknown["stale_prices"]) == (
        {"cost": "0", "share": "0"},
        {"cost": None, "share": None},
    )
    (note,) = [line for line in as_text(report).splitlines() if line.startswith("of the cost")]
    assert note.startswith("of the cost in CNY, 50.0% by stale prices and 25.0% by single source prices")


def test_components_are_charged_apart_and_a_call_counts_once_in_the_totals(held: Callable[..., Asker]) -> None:
    usage = Usage(input_tokens=1000, cache_read_input_tokens=400, output_tokens=100)
    book = load_book()
    cost = book.price(usage, provider="deepseek", model="deepseek-chat", at=NOON)
    asked = held(record(cost, usage=usage), record(cost, usage=usage), record(unpriced()), record(priced("0")))
    report = asked("charge.component")
    charges = {charge.component: charge for charge in cost.charges}
    assert {row.group[0]: (row.cost, row.calls) for row in report.rows if row.group[0]} == {
        name: (charge.amount * 2, 2) for name, charge in charges.items()
    }
    assert {row.group[0]: row.tokens for row in report.rows}["input"]["input_tokens"] == 2 * 600
    assert [(row.group[0], row.currency, row.calls) for row in report.rows if not row.group[0]] == [
        (None, "CNY", 1), (None, None, 1),
    ]  # fmt: skip
    assert [(row.currency, row.cost, row.calls) for row in report.totals] == [
        ("CNY", cost.amount * 2, 3),
        (None, None, 1),
    ]
    with pytest.raises(ConfigurationError, match="--stat"):
        asked("charge.component", stats=parse_stats("p95"))
