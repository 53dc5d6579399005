"""The files of facts: what a line says, what is wrong with a line, and that nothing is lost on the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.price_book.fact_files import FOLDER, FactError, read_file, read_rows, write_files

SOURCE = 'source "the vendor\'s page" read=2026-11-30 by=vendor_doc license=facts\n'


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "example.facts"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_fact_says_what_stands_in_its_line_and_above_it(tmp_path: Path) -> None:
    text = (
        SOURCE
        + "model example-1 also=example-latest\n# a remark\n"
        + 'output 16 CNY from=2026-12-01 tier=input>=128000 when="mode=batch; x"\n'
    )
    (row,) = read_file(written(tmp_path, text))
    assert row == {
        "vendor": "example",
        "model": "example-1",
        "aliases": ["example-latest"],
        "currency": "CNY",
        "unit": "per_1m_tokens",
        "kind": "output",
        "price": "16",
        "tier": {"input_tokens_ge": 128000},
        "condition": "mode=batch; x",
        "effective_from": "2026-12-01",
        "effective_to": None,
        "observed_from": "2026-11-30",
        "source": "the vendor's page",
        "source_date": "2026-11-30",
        "source_kind": "vendor_doc",
        "license": "facts",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("input 2 CNY\n", r"example\.facts:1: a price needs a source line above it", id="no source"),
        pytest.param(SOURCE + "input 2 CNY\n", r":2: a price needs a model line", id="no model"),
        pytest.param('source "x" by=press license=facts\n', r":1: the source lacks read=", id="no day"),
        pytest.param('source "x" read=2026-11-30 license=facts\n', r"the source lacks by=", id="no kind of source"),
        pytest.param('source "x" read=soon by=press license=facts\n', r"read=soon is no day", id="a bad day"),
        pytest.param('source "x" read=2026-11-30 by=me license=facts\n', r"by=me is none of", id="an unknown kind"),
        pytest.param(SOURCE + "model a\ninput 2\n", r":3: .*lacks the currency", id="no currency"),
        pytest.param(SOURCE + "model a\ninput\n", r"lacks the price and the currency", id="no price"),
        pytest.param(SOURCE + "model a\ninput two CNY\n", r"'two' is no price", id="a word for a price"),
        pytest.param(SOURCE + "model a\ninput 2 yuan\n", r"'yuan' is no currency", id="a name for a currency"),
        pytest.param(SOURCE + "model a\ninput 2 CNY since=2026-01-01\n", r"since= is not a key here", id="a bad key"),
        pytest.param(SOURCE + "model a\ninput 2 CNY tier=128k\n", r"'128k' is no edge", id="a bad tier"),
    ],
)
def test_an_error_names_the_line_and_the_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(FactError, match=message):
        list(read_file(written(tmp_path, text)))


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    rows = read_rows(FOLDER)
    write_files(rows, tmp_path)
    assert read_rows(tmp_path) == rows
    assert {file.name for file in tmp_path.iterdir()} == {file.name for file in FOLDER.glob("*.facts")}
