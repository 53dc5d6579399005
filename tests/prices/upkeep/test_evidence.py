"""`tokenmeter prices why`: every fact of a model with its verdict, from a wheel's evidence or from the checkout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tokenmeter.cli import main
from tokenmeter.errors import ConfigurationError
from tokenmeter.prices.book import Book
from tokenmeter.prices.provider_prices import read_moment
from tokenmeter.prices.upkeep.compile import compile_book
from tokenmeter.prices.upkeep.evidence import ORDER, Why, why
from tools.price_book.evidence import write_evidence


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that an installed wheel is."""
    root = tmp_path_factory.mktemp("wheel")
    compile_book(root / "_compiled")
    written = write_evidence(root / "_compiled")
    assert sum(path.stat().st_size for path in written) < 700_000, "the wheel of prices stays below a megabyte"
    return root


def asked(book: Book, provider: str, model: str, at: str) -> list[Why]:
    prices = book.provider_prices(provider)
    assert not isinstance(prices, str)
    return list(why(book, provider, model, read_moment(at, prices.zone).timestamp()))


def test_the_facts_of_a_price_have_their_verdicts(wheel: Path) -> None:
    (one,) = [one for one in asked(Book(wheel), "dashscope", "qwen-long", "2024-06-01") if one.list == "CNY"]
    assert one.rate is not None
    assert one.rate.id == "alibaba/qwen-long@2024-05-21"
    by_verdict: dict[str, list[tuple[str, str]]] = {verdict: [] for verdict in ORDER}
    for fact in one.facts:
        by_verdict[fact.verdict].append((fact.what, fact.price))
    assert {("input", "0.5"), ("output", "2")} <= set(by_verdict["won"])
    assert ("input", "20") in by_verdict["other days"]  # the price before the cut
    assert [fact.verdict for fact in one.facts] == sorted((fact.verdict for fact in one.facts), key=ORDER.index)


def test_a_fact_that_lost_names_the_rule(wheel: Path) -> None:
    facts = [fact for one in asked(Book(wheel), "deepseek", "deepseek-chat", "2025-02-10") for fact in one.facts]
    lost = {fact.rule for fact in facts if fact.verdict == "lost"}
    assert "contradicts an official price of those days" in lost
    assert all(fact.rule and fact.source and fact.price for fact in facts)


def test_what_won_at_one_instant_is_of_other_days_at_another(wheel: Path) -> None:
    def winners(at: str) -> set[tuple[str, str]]:
        (one,) = [one for one in asked(Book(wheel), "deepseek", "deepseek-chat", at) if one.list == "CNY"]
        return {(fact.what, fact.price) for fact in one.facts if fact.verdict == "won"}

    assert ("output", "8") in winners("2025-03-01")
    assert ("output", "8") not in winners("2025-09-10")
    assert ("output", "12") in winners("2025-09-10")


def test_every_rate_of_the_book_was_given_by_a_fact(wheel: Path) -> None:
    book = Book(wheel)
    for provider in ("deepseek", "zhipu", "xai"):
        prices = book.provider_prices(provider)
        assert not isinstance(prices, str)
        (file,) = prices.files
        for model in file.entries:
            for name in file.lists(model):
                timeline = file.timeline(model, name)
                assert timeline is not None
                for rate in (one for one in timeline.rates if not one.withdrawn):  # its source is in its entry
                    at = max(rate.start, 0.0)
                    found = [one for one in why(book, provider, model, at) if one.list == name and one.rate is not None]
                    assert any(fact.verdict == "won" for one in found for fact in one.facts), rate.id


@pytest.mark.parametrize(
    ("provider", "model", "message"),
    [
        ("nosuch", "m", "no prices for provider 'nosuch'"),
        ("deepseek", "deepseek-chta", "near names: deepseek-chat"),
    ],
)
def test_what_has_no_facts_is_refused(wheel: Path, provider: str, model: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        list(why(Book(wheel), provider, model, 0.0))


def test_a_price_of_ones_own_has_no_facts(wheel: Path, tmp_path: Path) -> None:
    text = 'provider = "deepseek"\n[[rate]]\nmodel = "deepseek-chat"\neffective = 2026-01-01\ninput = 9\noutput = 9\n'
    (tmp_path / "mine.toml").write_text(text)
    (one, *_) = asked(Book(wheel).with_overlay(tmp_path / "mine.toml"), "deepseek", "deepseek-chat", "2026-06-01")
    assert one.rate is not None
    assert one.rate.entry["input"] == 9
    assert "won" not in {fact.verdict for fact in one.facts}


def test_a_book_of_overlays_alone_has_no_evidence(tmp_path: Path) -> None:
    head = 'provider = "acme"\ncurrency = "CNY"\ntimezone = "UTC"\n'
    (tmp_path / "acme.toml").write_text(f'{head}[[rate]]\nmodel = "m"\neffective = 2026-01-01\ninput = 9\n')
    with pytest.raises(ConfigurationError, match="holds no evidence for acme"):
        list(why(Book.of(tmp_path / "acme.toml"), "acme", "m", 0.0))


def test_the_command_shows_it_in_a_checkout(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["prices", "why", "zhipu", "GLM-4-Flash", "--at", "2025-01-01"]
    assert main([*asked, "--json"]) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    (one,) = answer["lists"]
    assert (answer["provider"], one["model"], one["list"]) == ("zhipu", "glm-4-flash", "CNY")
    assert one["rate"]["rate_id"] == "zhipu/glm-4-flash@2024-08-27"
    assert {fact["verdict"] for fact in one["facts"]} >= {"won"}
    assert main(asked) == 0
    text = capsys.readouterr().out
    assert "won: gave a price of this rate" in text
    assert all(fact["source"] in text for fact in one["facts"])
