"""What `make prices` writes: the same book from the same facts, and a serial that counts the books of a day."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tools.price_book.build_book import count_edition


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("day = 2026-11-30\nserial = 3\n", ("2026-11-30", 4), id="of the same day"),
        pytest.param("day = 2026-11-29\nserial = 3\n", ("2026-11-30", 1), id="of a new day"),
    ],
)
def test_the_serial_counts_the_books_of_a_day(tmp_path: Path, before: str, after: tuple[str, int]) -> None:
    prices = tmp_path / "prices"
    (prices / "data").mkdir(parents=True)
    (prices / "conditions.toml").write_text("")
    (prices / "data" / "acme.toml").write_text('provider = "acme"\nread = 2026-11-30\n')
    (prices / "edition.toml").write_text("# what it is\n" + before)
    count_edition(prices / "edition.toml")
    text = (prices / "edition.toml").read_text()
    edition = tomllib.loads(text)
    assert (str(edition["day"]), edition["serial"]) == after
    assert text.startswith("# what it is\n")
