"""Your own prices over the book: added, replaced, discounted, named."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from tokenmeter.errors import ConfigurationError
from tokenmeter.prices import book as book_module
from tokenmeter.prices.book import Book, load_book
from tokenmeter.usage import Usage

BOOK = Book.of(Path(__file__).parents[1] / "data" / "prices")
CALL = Usage(input_tokens=1_000_000, output_tokens=0)


def overlay(tmp_path: Path, text: str) -> Book:
    file = tmp_path / "mine.toml"
    file.write_text(text, encoding="utf-8")
    return BOOK.with_overlay(file)


def test_endpoint_ids_are_named_by_you() -> None:
    book = BOOK.with_models({"zhipu": {"ep-20260101-abc": "glm-4.7"}})

    assert book.price(CALL, provider="zhipu", model="ep-20260101-abc", at="2026-05-01").amount == 4
    assert BOOK.price(CALL, provider="zhipu", model="ep-20260101-abc", at="2026-05-01").status == "unpriced"


def test_a_provider_of_your_own(tmp_path: Path) -> None:
    book = overlay(
        tmp_path,
        'provider = "inhouse"\ncurrency = "CNY"\ntimezone = "Asia/Shanghai"\n'
        '[[rate]]\nmodel = "qwen3-32b"\neffective = 2026-01-01\ninput = 0.3\noutput = 0.3\n',
    )

    assert book.price(CALL, provider="inhouse", model="qwen3-32b", at="2026-05-01").amount == Decimal("0.3")


def test_the_version_names_the_books_content(tmp_path: Path) -> None:
    other = overlay(tmp_path, 'provider = "zhipu"\n[[alias]]\nmodel = "x"\nof = "glm-4.7"\n')

    assert BOOK.version.startswith("2026-11-21+")
    assert other.version != BOOK.version


def test_the_environment_names_an_overlay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.toml").write_text(
        'provider = "acme"\ncurrency = "CNY"\ntimezone = "UTC"\n'
        '[[rate]]\nmodel = "m"\neffective = 2026-01-01\ninput = 7\n',
        encoding="utf-8",
    )
    monkeypatch.setenv(book_module.ENVIRONMENT, str(tmp_path))
    assert load_book().price(CALL, provider="acme", model="m", at="2026-02-01").amount == 7

    monkeypatch.setenv(book_module.ENVIRONMENT, str(tmp_path / "missing.toml"))
    with pytest.raises(ConfigurationError, match="does not exist"):
        load_book()


def test_at_list_has_no_contracts_and_discounts_and_keeps_other_files() -> None:
    rate = {"effective": "2024-01-01", "input": 1, "output": 1, "source": "s", "confidence": "official"}
    contract = {"provider": "deepseek", "contract": True, "rate": [{"model": "deepseek-chat", **rate}]}
    discount = {
        "provider": "zhipu", "discount": [{"models": ["*"], "multiply": Decimal("0.5"), "note": "n"}],
        "rate": [{"model": "house", **rate}],
    }  # fmt: skip
    book = load_book()
    paying = book.with_overlay(contract, discount)
    listed = paying.at_list()
    usage = Usage(input_tokens=1_000_000, output_tokens=1_000_000)
    for provider, model in (("deepseek", "deepseek-chat"), ("zhipu", "glm-4.6")):
        cost = [one.price(usage, provider=provider, model=model, at="2026-06-01") for one in (paying, listed, book)]
        assert cost[0].amount != cost[1].amount == cost[2].amount
        assert cost[1].list_total is None
    assert listed.price(usage, provider="zhipu", model="house", at="2026-06-01").amount == 2
