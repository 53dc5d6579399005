"""The prices of one provider: its lists, the user's own rates, contracts and discounts."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from tokenmeter.prices.book import Book
from tokenmeter.usage import Usage

BOOK = Book.of(Path(__file__).parents[1] / "data" / "prices")

CALL = Usage(input_tokens=1_000_000, output_tokens=0)


def overlay(tmp_path: Path, text: str) -> Book:
    file = tmp_path / "mine.toml"
    file.write_text(text, encoding="utf-8")
    return BOOK.with_overlay(file)


def test_a_rate_of_yours_is_added_from_its_date_on(tmp_path: Path) -> None:
    book = overlay(
        tmp_path, 'provider = "zhipu"\n[[rate]]\nmodel = "glm-4.7"\neffective = 2026-06-01\ninput = 1.5\noutput = 6\n'
    )

    before = book.price(CALL, provider="zhipu", model="glm-4.7", at="2026-05-31")
    after = book.price(CALL, provider="zhipu", model="glm-4.7", at="2026-06-01")
    assert (before.amount, after.amount) == (4, Decimal("1.5"))
    assert after.list_total is None


def test_a_contract_gives_what_is_paid_and_what_the_list_says(tmp_path: Path) -> None:
    book = overlay(
        tmp_path,
        'provider = "zhipu"\ncontract = true\n'
        '[[rate]]\nmodel = "glm-4.7"\neffective = 2026-06-01\ninput = 1\noutput = 4\n',
    )

    cost = book.price(CALL, provider="zhipu", model="glm-4.7", at="2026-06-02")
    assert (str(cost.total), str(cost.list_total)) == ("1 CNY", "4 CNY")
    assert cost.to_dict()["list_cost"] == {"amount": "4", "currency": "CNY"}


def test_an_account_discount_cuts_every_model_for_its_time(tmp_path: Path) -> None:
    book = overlay(
        tmp_path,
        'provider = "zhipu"\n[[discount]]\nmodels = ["*"]\nmultiply = 0.5\nfrom = 2026-03-01\nuntil = 2026-04-01\n',
    )

    within = book.price(CALL, provider="zhipu", model="glm-4.7", at="2026-03-31T23:59:59+08:00")
    later = book.price(CALL, provider="zhipu", model="glm-4.7", at="2026-04-01")
    assert (str(within.total), str(within.list_total)) == ("2 CNY", "4 CNY")
    assert (str(later.total), later.list_total) == ("4 CNY", None)


def test_a_list_is_chosen_for_a_provider_and_nothing_is_converted() -> None:
    cost = BOOK.with_lists({"deepseek": "USD"}).price(CALL, provider="deepseek", model="deepseek-chat", at="2026-01-01")

    assert str(cost.total) == "0.28 USD"


def test_another_list_prices_a_model_until_the_default_one_does(tmp_path: Path) -> None:
    """A price in the provider's own currency that is read later changes no cost of the days before it."""
    rate = '[[rate]]\nmodel = "m"\neffective = {}\ncurrency = "{}"\ninput = {}\noutput = 9\n'
    text = 'provider = "zhipu"\n' + rate.format("2026-01-01", "USD", 1) + rate.format("2026-06-01", "CNY", 7)
    book = overlay(tmp_path, text)
    days = {"2026-03-01": (1, "USD"), "2026-06-02": (7, "CNY")}
    found = {day: book.price(CALL, provider="zhipu", model="m", at=day) for day in days}
    assert {day: (cost.amount, cost.currency) for day, cost in found.items()} == days
    asked = book.price(CALL, provider="zhipu", model="m", at="2026-03-01", params={"currency": "CNY"})
    assert asked.amount is None
