"""What became of every fact behind the price book: asked of the compiler, which reads the facts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tokenmeter.errors import CatalogError, ConfigurationError
from tokenmeter.prices.upkeep.coverage import coverage


def test_a_missing_fact_base_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.jsonl: no such file"):
        coverage(tmp_path / "none.jsonl")


def test_decisions_that_no_longer_fit_the_facts_are_told(tmp_path: Path) -> None:
    """Every decision of the compiler is about facts: with none of them, none fits."""
    empty = tmp_path / "facts.jsonl"
    empty.touch()
    with pytest.raises(CatalogError):
        coverage(empty)
