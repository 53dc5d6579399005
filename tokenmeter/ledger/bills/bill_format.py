"""Formats of bills, as data: which columns say what, in which unit, on which clock.

A format is one TOML file of `formats/`, or the user's own (`--map`). It has parts, one for each kind of file that the
vendor exports; a file belongs to the part whose required columns it has. docs/bills.md describes every key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from tokenmeter._support.data_files import read_toml
from tokenmeter.components import component_of
from tokenmeter.errors import CatalogError, ConfigurationError

__all__ = [
    "CAUSES",
    "FORMATS",
    "BillFormat",
    "BillLists",
    "BillPart",
    "MoneyRule",
    "format_names",
    "load_format",
    "read_format",
]

FORMATS: Final = Path(__file__).parent / "formats"

CAUSES: Final = (
    "untracked traffic", "day cut", "free quota or package", "promotion or contract", "cache split", "own meter",
    "rounding", "price change", "alias", "tax", "failed calls", "unexplained",
)  # fmt: skip
"""Why a bill differs from a ledger; every difference has exactly one."""

_TOP: Final = {
    "name", "provider", "zone", "offsets", "currency", "decimals", "components", "pattern", "units", "models",
    "checksum", "part", "base", "rows", "fold",
    "joint",
}  # fmt: skip
_PART: Final = {"name", "required", "columns", "quantities", "inclusive", "extract", "adjust", "kinds", "scale", "of"}
_FIELDS: Final = {
    "day", "model", "type", "quantity", "unit", "price", "per", "amount", "paid", "currency", "id", "package", "before",
    "deducted", "requests", "kind", "batch",
}  # fmt: skip
_KINDS: Final = {"tax", "credit", "rounding", "free", "skip"}
NOT_COMPONENTS: Final = {"requests", "total", "skip"}
"""What a type may also stand for: the number of requests, a sum over all components, nothing."""


@dataclass(frozen=True, slots=True)
class MoneyRule:
    """A column sum that leads from list cost to what is payable, with the cause it is put down to."""

    cause: str
    plus: tuple[str, ...]
    minus: tuple[str, ...]
    payable: bool = False
    """Whether the column of what is payable does not have it yet."""


@dataclass(frozen=True, slots=True)
class BillLists:
    """Lists inside the rows of JSON. `rows` are those whose items are rows, None for all of them.

    `fold` gives the fields of name and amount of lists that say something of their row: `credits.FREE_TIER` is then a
    column, the sum over the items of that name.
    """

    rows: frozenset[str] | None = None
    fold: Mapping[str, tuple[str, str]] = field(default_factory=dict)


NO_LISTS: Final = BillLists()
"""Rows of all lists, before the format is known."""


@dataclass(frozen=True, slots=True)
class BillPart:
    """One kind of file: `columns` gives the names a field may have, `quantities` the column of each component."""

    name: str
    required: tuple[str, ...]
    columns: Mapping[str, tuple[str, ...]]
    quantities: Mapping[str, tuple[str, ...]]
    inclusive: Mapping[str, tuple[str, ...]]
    extract: tuple[tuple[str, re.Pattern[str]], ...]
    adjust: tuple[MoneyRule, ...]
    kinds: tuple[tuple[str, re.Pattern[str]], ...]
    scale: Decimal
    of: str | None
    """The component that all rows are of (`total`: the sum over components)."""

    def missing(self, header: frozenset[str]) -> list[str]:
        """The required fields for which a header has no column."""
        return [
            field
            for field in self.required
            if not any(name in header for name in self.columns.get(field) or self.quantities.get(field, ()))
        ]


@dataclass(frozen=True, slots=True)
class BillFormat:
    """What a format file says."""

    name: str
    provider: str | None
    zone: str
    offsets: bool
    """Whether the offset that instants are written with is the bill's clock."""
    currency: str | None
    decimals: int | None
    components: Mapping[str, str]
    patterns: tuple[tuple[re.Pattern[str], str], ...]
    units: Mapping[str, Decimal]
    models: Mapping[str, str]
    checksum: bool
    """Whether what the payable part charges has to equal the sum of price x quantity of the other."""
    parts: tuple[BillPart, ...]
    lists: BillLists
    joint: str
    """What stands for a space in the names of models."""

    def known_components(self) -> frozenset[str]:
        """The components that this format can tell apart."""
        named = {*self.components.values(), *(component for _, component in self.patterns)}
        named.update(component for part in self.parts for component in part.quantities)
        return frozenset(named - NOT_COMPONENTS)


def format_names() -> list[str]:
    """The formats that are shipped."""
    return sorted(path.stem for path in FORMATS.glob("*.toml"))


def load_format(name: str) -> BillFormat:
    """A shipped format. Raises ConfigurationError for a name there is none of."""
    if name not in format_names():
        raise ConfigurationError(f"--format: {name!r} is none of {', '.join(format_names())}; or describe it by --map")
    return read_format(FORMATS / f"{name}.toml")


def read_format(path: Path) -> BillFormat:
    """Read a format file. Raises CatalogError with every problem in it."""
    data = read_toml(path)
    base = data.get("base")
    if isinstance(base, str):
        data = _merged(read_toml(FORMATS / f"{_known(base, path)}.toml"), data)
    problems: list[str] = []
    made = _format(data, path.stem, problems)
    if problems:
        raise CatalogError([f"{path}: {problem}" for problem in problems])
    return made


def _known(base: str, path: Path) -> str:
    if base not in format_names():
        raise CatalogError([f"{path}: base: {base!r} is none of {', '.join(format_names())}"])
    return base


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """A format on top of another: tables are joined, parts and patterns come before those below."""
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        if isinstance(under, dict) and isinstance(value, dict):
            merged[key] = {**under, **value}
        elif isinstance(under, list) and isinstance(value, list):
            merged[key] = [*value, *under]
        else:
            merged[key] = value
    return merged


def _format(data: Mapping[str, Any], stem: str, problems: list[str]) -> BillFormat:
    _unknown(data, _TOP, "", problems)
    components = {str(key).strip().lower(): str(value) for key, value in data.get("components", {}).items()}
    patterns = []
    for entry in data.get("pattern", []):
        pattern = _regex(entry.get("text", ""), "pattern", problems)
        if pattern is not None:
            patterns.append((pattern, str(entry.get("component"))))
    for component in (*components.values(), *(component for _, component in patterns)):
        _check_component(component, problems)
    if not data.get("part"):
        problems.append("part: missing; a format has a [[part]] for each kind of file")
    return BillFormat(
        name=str(data.get("name", stem)),
        provider=data.get("provider"),
        zone=str(data.get("zone", "UTC")),
        offsets=bool(data.get("offsets", False)),
        currency=data.get("currency"),
        decimals=data.get("decimals"),
        components=components,
        patterns=tuple(patterns),
        units={str(key).strip().lower(): Decimal(str(value)) for key, value in data.get("units", {}).items()},
        models={str(key).lower(): str(value) for key, value in data.get("models", {}).items()},
        checksum=bool(data.get("checksum", False)),
        parts=tuple(_part(entry, problems) for entry in data.get("part", [])),
        lists=_lists(data, problems),
        joint=str(data.get("joint", " ")),
    )


def _lists(data: Mapping[str, Any], problems: list[str]) -> BillLists:
    fold: dict[str, tuple[str, str]] = {}
    for name, fields in data.get("fold", {}).items():
        if len(named := _names(fields)) == 2:
            fold[name] = (named[0], named[1])
        else:
            problems.append(f"fold: {name}: name two fields, such as ['type', 'amount']")
    return BillLists(frozenset(_names(data["rows"])) if "rows" in data else None, fold)


def _part(entry: Mapping[str, Any], problems: list[str]) -> BillPart:
    place = f"part {entry.get('name', '?')}: "
    _unknown(entry, _PART, place, problems)
    columns = {key: _names(value) for key, value in entry.get("columns", {}).items()}
    _unknown(columns, _FIELDS, f"{place}columns: ", problems)
    quantities = {key: _names(value) for key, value in entry.get("quantities", {}).items()}
    for component in quantities:
        _check_component(component, problems)
    kinds = []
    for kind, text in entry.get("kinds", {}).items():
        pattern = _regex(text, f"{place}kinds", problems)
        if kind not in _KINDS:
            problems.append(f"{place}kinds: {kind!r} is none of {', '.join(sorted(_KINDS))}")
        elif pattern is not None:
            kinds.append((kind, pattern))
    extract: list[tuple[str, re.Pattern[str]]] = []
    for one in entry.get("extract", []):
        pattern = _regex(one.get("text", ""), f"{place}extract", problems)
        if pattern is not None:
            extract.extend((column, pattern) for column in _names(one.get("column", [])))
    rules = [
        MoneyRule(
            str(one.get("cause")),
            _names(one.get("plus", [])),
            _names(one.get("minus", [])),
            bool(one.get("payable", False)),
        )
        for one in entry.get("adjust", [])
    ]
    problems.extend(f"{place}adjust: {rule.cause!r} is no cause" for rule in rules if rule.cause not in CAUSES)
    required = tuple(entry.get("required", ["day"]))
    problems.extend(
        f"{place}required: {field!r} has no column" for field in required if field not in {*columns, *quantities}
    )
    return BillPart(
        name=str(entry.get("name", "?")),
        required=required,
        columns=columns,
        quantities=quantities,
        inclusive={key: _names(value) for key, value in entry.get("inclusive", {}).items()},
        extract=tuple(extract),
        adjust=tuple(rules),
        kinds=tuple(kinds),
        scale=Decimal(str(entry.get("scale", 1))),
        of=entry.get("of"),
    )


def _names(value: object) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(map(str, value)) if isinstance(value, Iterable) else ()


def _regex(text: str, place: str, problems: list[str]) -> re.Pattern[str] | None:
    try:
        return re.compile(text, re.IGNORECASE)
    except re.error as error:
        problems.append(f"{place}: {text!r} is not a regular expression: {error}")
        return None


def _check_component(name: str, problems: list[str]) -> None:
    if name not in NOT_COMPONENTS and component_of(name) is None:
        problems.append(f"{name!r} is no component; see docs/price-format.md")


def _unknown(data: Mapping[str, Any], known: set[str], place: str, problems: list[str]) -> None:
    problems.extend(f"{place}{key!r} is no key of a format" for key in data if key not in known)
