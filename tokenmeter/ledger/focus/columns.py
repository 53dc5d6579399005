"""Columns of each FOCUS version: names, types and nullability, read from `columns.toml`."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, cast

from tokenmeter._support.data_files import read_toml
from tokenmeter.components import component_of

__all__ = ["VERSIONS", "Column", "columns", "unit_name"]

VERSIONS: Final = ("1.4", "1.2")
"""The versions that can be written, the default first."""

Type = Literal["String", "Decimal", "DateTime", "JSON"]


class Column(NamedTuple):
    """One column: its name, the type of its values, and whether null is allowed."""

    name: str
    type: Type
    null: bool


@cache
def _data() -> dict[str, Any]:
    return read_toml(Path(__file__).with_name("columns.toml"))


@cache
def columns(version: str) -> tuple[Column, ...]:
    """The columns of a version in their order: those of the specification, then the extensions (`x_`)."""
    data = _data()
    rows = [(name, row) for name, row in data["columns"].items() if version in row["versions"]]
    return tuple(
        Column(name, cast("Type", row["type"]), row["null"]) for name, row in (*rows, *data["extensions"].items())
    )


@cache
def unit_name(component: str) -> str:
    """What a component is counted in, as FOCUS writes units: `Tokens`, `Images`, `Seconds` …"""
    found = component_of(component)
    name: str = _data()["units"]["{token}" if found is None else found.unit]
    return name
