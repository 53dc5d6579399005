"""What a new edition of the book changes in money, by provider and model, and as a share of a ledger's spend."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from tests.rigs.made_records import record
from tokenmeter._support.data_files import CATALOG
from tokenmeter.ledger.writer import Ledger
from tokenmeter.prices.book import Book
from tokenmeter.usage import Usage
from tools.price_book.spend_changes import keep_edition, spend_changes


def editions(tmp_path: Path) -> tuple[Path, Path]:
    """The shipped book, and one in which a list's price of one model rose by half and another list is gone."""
    old, new = (keep_edition(CATALOG, tmp_path / name) for name in ("old", "new"))
    for root, price in ((old, "2"), (new, "3")):
        (root / "prices/data/voyage.toml").write_text(
            'provider = "voyage"\ncurrency = "USD"\ntimezone = "UTC"\nread = 2026-11-30\n\n[[rate]]\nmodel = "m"\n'
            f'effective = 2024-01-01\ninput = {price}\noutput = {price}\nsource = "s"\nconfidence = "official"\n',
            encoding="utf-8",
        )
    (new / "prices/data/jina.toml").unlink()
    return old, new


def test_each_changed_model_is_shown_with_typical_use(tmp_path: Path) -> None:
    assert list(spend_changes(*editions(tmp_path), ["voyage", "jina"])) == [
        "jina: a list that is gone",
        "voyage: 1 of 1 changed models cost otherwise for a typical million tokens",
        "  m: 2 -> 3 USD (+50%)",
    ]


def test_a_ledger_gives_each_changed_model_its_share_of_spend(tmp_path: Path) -> None:
    old, new = editions(tmp_path)
    ledger, noon = Ledger(tmp_path / "spend.db"), datetime(2026, 11, 1, 12, tzinfo=UTC)
    for provider, model, tokens in (("voyage", "m", 1_000_000), ("openai", "gpt-4o-mini", 1_000_000)):
        use = Usage(input_tokens=tokens)
        cost = Book(old).price(use, provider=provider, model=model, at=noon)
        ledger.write(record(cost, provider=provider, request_model=model, usage=use, ended=noon))
    ledger.close(30)
    told = list(spend_changes(old, new, [], str(tmp_path / "spend.db")))
    assert told == ["ledger: 1 of 2 models cost otherwise", "  voyage/m: 93.0% of spend, 2 -> 3 USD (+50%)"]
