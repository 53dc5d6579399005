"""The compiler's evidence: which fact gave each entry's price, which agreed, and the rule that left the others out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tools.price_book.evidence import compiled
from tools.price_book.fact_files import read_file
from tools.price_book.facts import read_facts

FACTS = """source https://example.com/pricing read=2026-02-01 by=vendor_doc license=facts
model m
input 2 USD from=2026-01-01
output 10 USD from=2026-01-01
training 5 USD
input 14 CNY converted=yes
source litellm==1 read=2026-03-01 by=catalog license=MIT
model m
input 2 USD
output 10 USD
source songquanpeng/one-api/x.go@1 read=2026-01-10 by=gateway_table license=MIT
model m
input 7 USD
output 7 USD
"""


def rows(tmp_path: Path) -> list[dict[str, Any]]:
    file = tmp_path / "example.facts"
    file.write_text(FACTS, encoding="utf-8")
    tables = compiled(read_facts(read_file(file)))["example"]
    found = [dict(zip(tables["columns"], row, strict=True)) for row in tables["models"]["m"]]
    return [{**row, "source": tables["sources"][row["source"]][0].partition("==")[0]} for row in found]


def test_every_fact_is_there_with_its_fate(tmp_path: Path) -> None:
    fates = {
        (row["source"], row["what"], row["currency"]): (row["gives"], row["agrees"], row["lost"])
        for row in rows(tmp_path)
    }
    page = "https://example.com/pricing"
    assert fates[page, "input", "USD"] == fates[page, "output", "USD"] == ([0], [], None)
    assert fates["litellm", "input", "USD"] == ([], [0], None)
    assert fates[page, "training per_1m_tokens", "USD"] == ([], [], None)  # it is a plan
    converted = "converted from another currency by the source: not a list price"
    assert fates[page, "input per_1m_tokens", "CNY"] == ([], [], converted)
    gives, agrees, lost = fates["songquanpeng/one-api/x.go@1", "input", "USD"]
    assert (gives, agrees) == ([], [])
    assert lost
    assert len(fates) == 8


def test_a_fact_keeps_its_days(tmp_path: Path) -> None:
    first, *_ = (row for row in rows(tmp_path) if row["source"] == "litellm")
    assert (first["read"], first["first_seen"], first["last_seen"]) == ("2026-03-01", "2026-03-01", "2026-03-01")
