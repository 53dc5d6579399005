"""An edition of the book is named by day, serial and content; the newest installed is used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tokenmeter._support.data_files import CATALOG
from tokenmeter.errors import CatalogError
from tokenmeter.prices.edition import Edition, edition_of, newest_root

OWN = edition_of(CATALOG)


@pytest.mark.parametrize(
    ("edition", "name"),
    [
        (Edition("2026-11-30", 2, "9f3c0a1b2d4e5f"), "2026-11-30.2+9f3c0a1b2d4e"),
        (Edition("2026-12-01", 0, "9f3c0a1b2d4e5f"), "2026-12-01+9f3c0a1b2d4e"),
        (Edition("", 1, "9f3c0a1b2d4e5f"), "undated+9f3c0a1b2d4e"),
    ],
)
def test_the_name_has_day_serial_and_content(edition: Edition, name: str) -> None:
    assert edition.name == name


def test_the_wheel_is_named_by_day_and_serial() -> None:
    assert Edition("2026-01-09", 12, "").release == "2026.1.9.12"


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data-only package on the import path, and its `book.json`."""
    package = tmp_path / "some_prices"
    (package / "_compiled").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    return package / "_compiled" / "book.json"


SAME_DAY = {"read": OWN.day, "digest": "0", "schema": 1}


@pytest.mark.parametrize(
    ("book", "taken"),
    [
        pytest.param({**SAME_DAY, "serial": OWN.serial + 1}, True, id="a higher serial of the day"),
        pytest.param({**SAME_DAY, "serial": OWN.serial}, False, id="the same"),
        pytest.param(SAME_DAY, False, id="of the day, from before serials"),
        pytest.param({**SAME_DAY, "read": "2099-01-01", "serial": 1}, True, id="a later day"),
        pytest.param({**SAME_DAY, "read": "2020-01-01", "serial": 99}, False, id="an earlier day"),
        pytest.param({**SAME_DAY, "read": "2099-01-01", "serial": 1, "schema": 2}, False, id="another format"),
        pytest.param({"schema": 1}, False, id="no day"),
        pytest.param([], False, id="no table"),
    ],
)
def test_the_newer_book_is_used(beside: Path, book: object, taken: bool) -> None:
    beside.write_text(json.dumps(book))
    assert (newest_root("some_prices") == beside.parents[1]) is taken


def test_a_damaged_book_is_left_alone(beside: Path) -> None:
    beside.write_text("{")
    assert newest_root("some_prices") == CATALOG
    assert newest_root("no_such_prices") == CATALOG


def test_a_folder_without_a_book_has_no_edition(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="not found"):
        edition_of(tmp_path)


def test_a_serial_is_of_its_day(tmp_path: Path) -> None:
    prices = tmp_path / "prices"
    (prices / "data").mkdir(parents=True)
    (prices / "conditions.toml").write_text("")
    (prices / "data" / "acme.toml").write_text('provider = "acme"\nread = 2026-11-30\n')
    assert edition_of(tmp_path)[:2] == ("2026-11-30", 1)
    (prices / "edition.toml").write_text("day = 2026-11-30\nserial = 4\n")
    assert edition_of(tmp_path)[:2] == ("2026-11-30", 4)
    (prices / "edition.toml").write_text("day = 2026-11-29\nserial = 4\n")
    assert edition_of(tmp_path)[:2] == ("2026-11-30", 1)
