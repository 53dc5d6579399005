"""docs/price-format.md and docs/zh/prices.md are true: every example is sound, and costs what it says."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tokenmeter.prices.book import Book
from tokenmeter.usage import Usage

DOCS = Path(__file__).parents[2] / "docs"
DOCUMENT = DOCS / "price-format.md"
CHINESE = DOCS / "zh" / "prices.md"
BLOCK = re.compile(
    r"^#+ (?P<title>[^\n]*)$|^```(?P<kind>toml head|toml|jsonl)\n(?P<body>.*?)^```", re.MULTILINE | re.DOTALL
)
WHEN = "2026-11-20T20:00:00+08:00"  # the instant of an example that names none


def examples(document: Path) -> Iterator[Any]:
    head, source, title = "", "", ""
    for match in BLOCK.finditer(document.read_text(encoding="utf-8")):
        if match["title"]:
            title = match["title"]
        elif match["kind"] == "toml head":
            head = match["body"]
        elif match["kind"] == "toml":
            source = head + match["body"]
        else:
            for number, line in enumerate(match["body"].splitlines(), 1):
                yield pytest.param(source, line, id=f"{document.stem} {title}, line {number}")


@pytest.mark.parametrize(("source", "line"), [*examples(DOCUMENT), *examples(CHINESE)])
def test_example(source: str, line: str) -> None:
    book = Book.of(tomllib.loads(source, parse_float=Decimal))
    call = json.loads(line)

    answer = book.price(
        Usage.from_dict(call["usage"]),
        provider="example",
        model=call["model"],
        at=call.get("at", WHEN),
        params=call.get("params"),
    ).to_dict()

    assert (answer["cost"] and answer["cost"]["amount"]) == call["cost"], answer
    for key in ("status", "flags", "dating", "covered_by", "last_seen"):
        if key in call:
            assert answer[key] == call[key]


def test_no_example_is_overlooked() -> None:
    for document, least in ((DOCUMENT, 60), (CHINESE, 6)):
        lines = re.findall(r'^\{"model"', document.read_text(encoding="utf-8"), re.MULTILINE)
        assert len(list(examples(document))) == len(lines) > least


def test_every_rule_has_an_example() -> None:
    titles = re.findall(r"^### ([0-9, ]+)\.", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    rules = {int(number) for title in titles for number in title.split(",")}

    assert rules == set(range(1, 31))
