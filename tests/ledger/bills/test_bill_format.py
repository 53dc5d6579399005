"""Format files: the shipped ones are whole, and a mistake in one of the user's is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from tokenmeter.errors import CatalogError, ConfigurationError
from tokenmeter.ledger.bills.bill_format import format_names, load_format, read_format
from tokenmeter.providers.registry import load_providers


@pytest.mark.parametrize("name", format_names())
def test_a_shipped_format_is_whole(name: str) -> None:
    form = load_format(name)
    assert form.name == name
    assert form.provider is None or load_providers().get(form.provider) is not None
    assert {"input", "output"} <= form.known_components()


def test_every_mistake_of_a_format_is_named(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(
        'zones = "UTC"\n[components]\nin = "inputs"\n[[part]]\nname = "a"\nrequired = ["day", "amount"]\n'
        '[part.columns]\nday = "d"\nmodle = "m"\n[part.kinds]\ngift = "["\n'
    )
    with pytest.raises(CatalogError) as raised:
        read_format(path)
    text = str(raised.value)
    for word in (
        "'zones' is no key",
        "'inputs' is no component",
        "'modle' is no key",
        "'amount' has no column",
        "'gift'",
    ):
        assert word in text


def test_a_format_on_top_of_another(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text('base = "focus"\nzone = "Asia/Shanghai"\n[models]\n"Claude4Sonnet" = "claude-sonnet-4"\n')
    form = read_format(path)
    assert (form.zone, form.models) == ("Asia/Shanghai", {"claude4sonnet": "claude-sonnet-4"})
    assert form.parts == load_format("focus").parts


def test_a_format_there_is_none_of() -> None:
    with pytest.raises(ConfigurationError, match="'foucs' is none of"):
        load_format("foucs")
