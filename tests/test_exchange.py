"""Converting is a step of its own, at the user's dated rates, and says so."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from tokenmeter import CatalogError, ConfigurationError, ExchangeRates, Money
from tokenmeter.cli import main
from tokenmeter.exchange import ExchangeRate
from tokenmeter.settings import Settings

TABLE = """
[[rate]]
base = "USD"
quote = "CNY"
day = 2024-05-06
rate = 7.1
source = "a bank"
[[rate]]
base = "USD"
quote = "CNY"
day = 2024-06-03
rate = 7.2
source = "a bank"
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "rates.toml"
    path.write_text(TABLE, "utf-8")
    return path


@pytest.mark.parametrize(
    ("money", "to", "day", "expected", "rate_day", "stale"),
    [
        pytest.param(Money(Decimal(2), "USD"), "CNY", date(2024, 5, 6), "14.2", date(2024, 5, 6), False, id="that day"),
        pytest.param(
            Money(Decimal(2), "USD"), "CNY", date(2024, 6, 2), "14.2", date(2024, 5, 6), True, id="weeks later"
        ),
        pytest.param(
            Money(Decimal(2), "USD"), "CNY", date(2024, 6, 3), "14.4", date(2024, 6, 3), False, id="next rate"
        ),
        pytest.param(Money(Decimal("7.2"), "CNY"), "USD", date(2024, 6, 4), "1", date(2024, 6, 3), False, id="inverse"),
    ],
)
def test_the_last_rate_on_or_before_the_day(
    table: Path, money: Money, to: str, day: date, expected: str, rate_day: date, stale: bool
) -> None:
    converted = ExchangeRates.read(table).convert(money, to, day)
    assert converted is not None
    assert (converted.amount.amount, converted.amount.currency) == (Decimal(expected), to)
    assert (converted.original, converted.rate.day, converted.stale) == (money, rate_day, stale)


@pytest.mark.parametrize(
    ("day_of_inverse", "expected"),
    [
        pytest.param(date(2024, 5, 5), "7", id="an older inverse quote loses"),
        pytest.param(date(2024, 5, 6), "7", id="on the same day the straight quote wins"),
        pytest.param(date(2024, 5, 7), "8", id="a newer inverse quote wins"),
    ],
)
def test_of_two_ways_to_quote_a_pair_the_newer_wins_and_then_the_straight_one(
    day_of_inverse: date, expected: str
) -> None:
    rates = ExchangeRates(
        [
            ExchangeRate("CNY", "USD", day_of_inverse, Decimal("0.125"), "a bank"),
            ExchangeRate("USD", "CNY", date(2024, 5, 6), Decimal(7), "a bank"),
        ]
    )
    converted = rates.convert(Money(Decimal(1), "USD"), "CNY", date(2024, 5, 8))
    assert converted is not None
    assert converted.amount.amount == Decimal(expected)


def test_no_rate_is_made_up(table: Path) -> None:
    rates = ExchangeRates.read(table)
    assert rates.convert(Money(Decimal(1), "USD"), "CNY", date(2024, 5, 5)) is None
    assert rates.convert(Money(Decimal(1), "EUR"), "CNY", date(2024, 6, 5)) is None
    with pytest.raises(ConfigurationError, match="no zone"):
        rates.convert(Money(Decimal(1), "USD"), "CNY", datetime(2024, 6, 5))  # noqa: DTZ001 - that is the point
    assert rates.convert(Money(Decimal(1), "USD"), "CNY", datetime(2024, 6, 5, tzinfo=UTC)) is not None


def test_a_table_says_everything_that_is_wrong_with_it(tmp_path: Path) -> None:
    path = tmp_path / "rates.toml"
    path.write_text('[[rate]]\nbase = "USD"\nqoute = "CNY"\nday = "2024"\nrate = -1\nsource = ""\n', "utf-8")
    with pytest.raises(CatalogError) as caught:
        ExchangeRates.read(path)
    text = str(caught.value)
    for part in (
        '"quote" is missing',
        '"qoute" is not a key',
        '"day" is a date',
        '"rate" is a number',
        '"source" is text',
    ):
        assert part in text
    assert all(line.startswith(f"{path}: rate 1") for line in caught.value.problems)
    with pytest.raises(ConfigurationError, match="cannot read"):
        ExchangeRates.read(tmp_path / "missing.toml")


@pytest.mark.parametrize(
    ("line", "day", "expected"),
    [
        pytest.param("CNY=0.1400USD@2026-11-01", date(2026, 11, 1), "1.4", id="its day"),
        pytest.param("CNY=0.1400USD@2026-11-01", date(2026, 10, 31), None, id="the day before"),
        pytest.param(" cny = 0.14 usd @ 2026-11-01 , CNY=0.2USD@2026-11-08,", date(2026, 11, 9), "2", id="two"),
        pytest.param("USD=8CNY@2026-11-01", date(2026, 11, 1), "1.25", id="quoted the other way"),
        pytest.param("CNY=0.1USD@2026-11-01,USD=8CNY@2026-11-02", date(2026, 11, 2), "1.25", id="the later one"),
    ],
)
def test_a_line_says_what_a_table_says(line: str, day: date, expected: str | None) -> None:
    converted = ExchangeRates.of(line, "TOKENMETER_EXCHANGE").convert(Money(Decimal(10), "CNY"), "USD", day)
    if expected is None:
        assert converted is None
        return
    assert converted is not None
    assert converted.amount == Money(Decimal(expected), "USD")
    assert converted.rate.source == "TOKENMETER_EXCHANGE"


@pytest.mark.parametrize(
    "line",
    ["CNY=0.14USD", "CNY=USD@2026-11-01", "CNY=0.14USD@2026-13-01", "CNY=0USD@2026-11-01", "CNY=1CNY@2026-11-01"],
)
def test_a_line_that_is_no_rate_says_how_to_write_one(line: str) -> None:
    with pytest.raises(ConfigurationError, match=r"write CNY=0\.1400USD@2026-11-01"):
        ExchangeRates.of(line)


def test_two_rates_of_one_day_that_differ_are_refused(table: Path) -> None:
    with pytest.raises(CatalogError, match=r"CNY/USD of 2026-11-01 is 0\.14 and 0\.15: keep one"):
        ExchangeRates.of("CNY=0.14USD@2026-11-01,CNY=0.15USD@2026-11-01")
    table.write_text(TABLE + TABLE.replace("7.1", "7.3"), "utf-8")
    with pytest.raises(CatalogError, match=r"USD/CNY of 2024-05-06 is 7\.1 and 7\.3"):
        ExchangeRates.read(table)


def test_it_is_a_setting_from_argument_or_environment(table: Path) -> None:
    rates = ExchangeRates.read(table)
    assert Settings.read({"exchange": rates}, {}).exchange is rates
    for given in (table, str(table)):
        assert Settings.read({"exchange": given}, {}).exchange is not None
    found = Settings.read({}, {"TOKENMETER_EXCHANGE": "CNY=0.1400USD@2026-11-01"}).exchange
    assert found is not None
    assert found.rate("CNY", "USD", date(2026, 11, 2)) is not None
    with pytest.raises(ConfigurationError, match="TOKENMETER_EXCHANGE: 'CNY=x' is not a rate"):
        Settings.read({}, {"TOKENMETER_EXCHANGE": "CNY=x"})
    with pytest.raises(ConfigurationError, match=r"exchange=0\.14: give ExchangeRates"):
        Settings.read({"exchange": 0.14}, {})


ASK = [
    "price",
    "--provider",
    "openai",
    "--model",
    "gpt-4o",
    "--at",
    "2024-06-01",
    "--input",
    "1000000",
    "--output",
    "0",
]


def test_the_command_line_converts_only_with_the_users_rates(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ASK, "--convert", "CNY", "--rates", str(table)]) == 0
    assert "converted 35.5 CNY at USD/CNY 7.1 of 2024-05-06 (stale), a bank" in capsys.readouterr().out
    assert main([*ASK, "--convert", "CNY"]) == 2
    assert "no exchange rate is assumed" in capsys.readouterr().err
    assert main([*ASK, "--convert", "EUR", "--rates", str(table)]) == 2
    assert "no rate between USD and EUR" in capsys.readouterr().err
