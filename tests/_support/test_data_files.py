"""A wheel's compiled book answers as a checkout's TOML does, and names itself by the same version."""

from __future__ import annotations

from pathlib import Path

import pytest

from tokenmeter._support.data_files import CATALOG, SCHEMA, compile_folder, data_names, read_data, read_toml, to_json
from tokenmeter.cli import main
from tokenmeter.errors import CatalogError
from tokenmeter.prices.book import Book
from tokenmeter.prices.edition import edition_of
from tokenmeter.prices.rate_lines import written
from tokenmeter.usage import Usage


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder a wheel has, made as `hatch_build.py` makes it."""
    root = tmp_path_factory.mktemp("wheel")
    names = [f"prices/{name}" for name in data_names("prices")]
    compile_folder(CATALOG, ["conditions", "calendars/cn"], root / "_compiled")
    compile_folder(CATALOG, names, root / "_compiled", write=written)
    named = edition_of(CATALOG)
    book = {"read": named.day, "serial": named.serial, "digest": named.digest, "schema": SCHEMA}
    (root / "_compiled" / "book.json").write_text(to_json(book), encoding="utf-8")
    return root


def test_it_is_the_same_book(wheel: Path) -> None:
    compiled, source = Book(wheel), Book()

    assert compiled.providers == source.providers
    assert compiled.version == source.version
    call = Usage(input_tokens=150_000, output_tokens=900)
    for provider, model in (("alibaba", "qwen-plus"), ("deepseek", "deepseek-v4-flash"), ("google", "gemini-2.5-pro")):
        for at in ("2024-06-01", "2025-09-30", "2026-08-17T09:00:00+08:00", "2026-11-20"):
            answers = [book.price(call, provider=provider, model=model, at=at) for book in (compiled, source)]
            assert answers[0].to_dict() == answers[1].to_dict()


def test_it_is_sound(wheel: Path) -> None:
    Book(wheel).check()


def test_schema_and_calendar_are_the_same(wheel: Path) -> None:
    assert read_data("conditions", wheel) == read_data("conditions")
    assert to_json(read_data("calendars/cn", wheel)) == to_json(read_data("calendars/cn"))


def test_a_broken_installation_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "_compiled" / "prices"
    folder.mkdir(parents=True)
    (folder / "acme.json").write_text("{", encoding="utf-8")

    with pytest.raises(CatalogError, match="install tokenmeter-sdk again"):
        read_data("prices/acme", tmp_path)
    with pytest.raises(CatalogError, match="not found"):
        read_data("prices/other", tmp_path)


def test_toml_that_is_nested_too_deeply_is_an_error_and_no_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "deep.toml"
    path.write_text("a = " + "[" * 100_000 + "]" * 100_000, "utf-8")
    with pytest.raises(CatalogError, match="nested too deeply"):
        read_toml(path)
    monkeypatch.setenv("TOKENMETER_PRICES", str(path))
    assert main(["price", "--provider", "deepseek", "--model", "deepseek-chat", "--input", "1", "--output", "1"]) == 2
    assert "deep.toml: nested too deeply to be read" in capsys.readouterr().err
