"""What a name means in a price book: its exact id, an alias in force, or a spelling declared safe; else unknown."""

from __future__ import annotations

import pytest

from tokenmeter.prices.book import Book
from tokenmeter.usage import Usage

PRICES = """
provider = "corp"
currency = "USD"
timezone = "UTC"
read = 2026-06-01
match = ["case"]
{rates}
[[alias]]
model = "latest"
of = "one-1"
until = 2026-03-01
[[alias]]
model = "latest"
of = "one-2"
from = 2026-03-01
[[form]]
name = "us.{{model}}"
[[form]]
name = "arn:{{region}}:{{model}}"
[[form]]
name = "{{model}}:gratis"
of = "one-1"
"""
RATE = """
[[rate]]
model = "{model}"
effective = 2026-01-01
input = {price}
output = {price}
confidence = "official"
"""


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Book:
    folder = tmp_path_factory.mktemp("prices")
    rates = "".join(RATE.format(model=model, price=price) for model, price in (("one-1", 1), ("one-2", 2)))
    (folder / "corp.toml").write_text(PRICES.format(rates=rates), "utf-8")
    return Book.of(folder)


@pytest.mark.parametrize(
    ("name", "at", "model"),
    [
        pytest.param("one-1", "2026-06-01", "one-1", id="exact id"),
        pytest.param("ONE-1", "2026-06-01", "one-1", id="letter case, declared safe"),
        pytest.param("us.one-2", "2026-06-01", "one-2", id="a form of the file"),
        pytest.param("arn:eu-west-2:one-2", "2026-06-01", "one-2", id="a form that names a region"),
        pytest.param("else:gratis", "2026-06-01", "one-1", id="a form of one model, whatever it is put on"),
        pytest.param("latest", "2026-02-28", "one-1", id="an alias before it moves"),
        pytest.param("latest", "2026-03-01", "one-2", id="an alias from the day it moves"),
        pytest.param("one-1", "2025-12-31", None, id="before its first rate"),
        pytest.param("one-1-preview", "2026-06-01", None, id="a longer name is no older model"),
        pytest.param("one", "2026-06-01", None, id="a shorter name is nobody's"),
        pytest.param("one.1", "2026-06-01", None, id="dots for dashes, not declared safe"),
        pytest.param("eu.one-2", "2026-06-01", None, id="another prefix"),
        pytest.param("", "2026-06-01", None, id="no name"),
    ],
)
def test_a_name_means_one_model_or_none(book: Book, name: str, at: str, model: str | None) -> None:
    cost = book.price(Usage(input_tokens=1, output_tokens=1), provider="corp", model=name, at=at)
    assert cost.status == ("priced" if model is not None else "unpriced")
    if model is not None:
        assert cost.model == model


def test_an_unknown_name_is_answered_with_near_ones(book: Book) -> None:
    cost = book.price(Usage(input_tokens=1, output_tokens=1), provider="corp", model="one-3", at="2026-06-01")
    assert "one-1" in (cost.reason or "")
