"""Mistakes in flags are answered in one line, with what to write instead."""

from __future__ import annotations

import pytest

from tokenmeter.cli import main

PRICE = ["price", "--provider", "deepseek", "--model", "deepseek-chat"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("1,000", "'1,000' is not a whole number: write 1000"),
        ("1_000", "write 1000"),
        ("1k", "write 1000"),
        ("1.5M", "write 1500000"),
        ("12 000", "write 12000"),
        ("-5", "-5 cannot be negative"),
        ("1.5", "'1.5' is not a whole number;"),
        ("many", "'many' is not a whole number;"),
        ("9" * 30, "is not a whole number"),
    ],
)
def test_a_number_of_tokens(given: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*PRICE, f"--input={given}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("tokenmeter price: argument --input: ")
    assert said in line


@pytest.mark.parametrize("command", [["price", "--jso"], ["count", "x", "--mod", "gpt-4o"], ["prices", "list", "--js"]])
def test_flags_are_not_abbreviated(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
