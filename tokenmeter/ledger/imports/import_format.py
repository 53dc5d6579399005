"""Formats of imports, as data: where the rows are, and where in a row each field of a call stands.

A format is one TOML file of `formats/`, or the user's own (`--map`). docs/ledger.md describes every key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

from tokenmeter._support.data_files import read_toml
from tokenmeter._support.empty import EMPTY
from tokenmeter._support.toml_problems import Problems
from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger.imports.fields import UNITS, find, items_of
from tokenmeter.wire.format_checks import check_components
from tokenmeter.wire.formats import Api

__all__ = ["FORMATS", "ImportFormat", "asked_format", "format_names", "load_format", "read_format", "recognized"]

FORMATS: Final = Path(__file__).parent / "formats"
Kind = Literal["calls", "spans", "own"]
Places = Mapping[str, tuple[str, ...]]

_TOP: Final[dict[str, type]] = {
    "kind": str, "base": str, "signs": list, "rows": list, "json": list, "provider": str, "zone": str, "unit": str,
    "currency": str, "once": bool, "where": dict, "fields": dict, "usage": dict, "tags": dict, "tag_columns": str,
    "params": dict, "failed": dict, "operations": dict, "providers": dict, "models": dict, "attributes": dict,
}  # fmt: skip
_USAGE: Final[dict[str, type]] = {
    "object": list, "provided": list, "counts": dict, "info": list, "outside": dict, "by_total": dict, "hidden": str,
    "fixed": dict, "zero_if_absent": list,
}  # fmt: skip
_FIELDS: Final[Mapping[str, frozenset[str]]] = {
    "calls": frozenset(
        {
            "id", "started", "ended", "duration", "first_chunk", "provider", "address", "region", "request_model",
            "response_model", "response_id", "operation", "stream", "error_type", "status_code", "service_tier",
            "finish_reasons", "trace_id", "span_id", "amount", "currency", "answer",
        }
    ),
    "spans": frozenset(
        {
            "scope", "trace_id", "span_id", "parent_id", "started", "ended", "attributes", "resource", "amount",
            "currency",
        }
    ),
    "own": frozenset(),
}  # fmt: skip
_NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    "calls": ("started", "ended"), "spans": ("trace_id", "span_id", "started", "ended"), "own": ()
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportFormat:
    """What a format file says. `fields`, `tags`, `params` and `attributes` give paths, of which the first there counts.

    `where` and `failed` give, by path, the values of rows that are calls, and of calls that failed. `usage` is read as
    the usage object of a wire format (`wire/formats.py`): `embeddings` is the same where output is 0 by nature.
    """

    name: str
    kind: Kind
    signs: tuple[str, ...]
    """Paths of which a row of this format has all."""
    rows: tuple[str, ...]
    """Where the rows of a document are, the first that has any."""
    json: frozenset[str]
    """Fields that hold JSON as text."""
    provider: str | None
    zone: str | None
    """The clock of instants without an offset."""
    unit: str
    """The unit of instants that are numbers."""
    currency: str | None
    once: bool
    """Whether a response that the ledger has is the same call, whenever it was recorded: results are fetched later."""
    where: Places
    failed: Places
    fields: Places
    usage: Api | None
    embeddings: Api | None
    usage_object: tuple[str, ...]
    usage_provided: tuple[str, ...]
    """Objects that are there, and empty, where the tool counted the tokens by itself."""
    tags: Places
    tag_columns: str | None
    params: Places
    operations: Mapping[str, str]
    providers: Mapping[str, str]
    """Provider by the name that a row states, in lower case."""
    models: Mapping[str, str]
    """Provider by a pattern of model names, for rows that state none."""
    attributes: Places
    """Span attributes that stand elsewhere in the row."""

    def items(self, document: Any) -> Iterable[tuple[str, Any, dict[str, Any]]]:
        """The rows of a document: place, row, and the items around it by the name of their list."""
        for path in self.rows:
            found = list(items_of(document, path))
            if found:
                return found
        return ()


def format_names() -> list[str]:
    """The formats that are shipped."""
    return sorted(path.stem for path in FORMATS.glob("*.toml"))


def load_format(name: str) -> ImportFormat:
    """A shipped format. Raises ConfigurationError for a name there is none of."""
    if name not in format_names():
        raise ConfigurationError(f"--format: {name!r} is none of {', '.join(format_names())}; or describe it by --map")
    return read_format(FORMATS / f"{name}.toml")


def asked_format(name: str | None, path: str | None) -> ImportFormat | None:
    """The format that the user named, or described in a file; None for neither.

    Raises ConfigurationError for both, an unknown name and a file that is not there, CatalogError for a broken one.
    """
    if name is not None and path is not None:
        raise ConfigurationError('--format and --map: give one of them (a map may say base = "langfuse")')
    if path is not None and not Path(path).is_file():
        raise ConfigurationError(f"--map: there is no file {path}")
    return load_format(name) if name is not None else read_format(Path(path)) if path is not None else None


def recognized(document: Any, formats: Iterable[ImportFormat]) -> ImportFormat | None:
    """The format of which the first rows of a document have the most signs; None if they have all of no format."""
    best: ImportFormat | None = None
    for form in formats:
        rows = [row for _, row, _ in list(form.items(document))[:20]]
        if any(all(find(row, sign) is not None for sign in form.signs) for row in rows) and (
            best is None or len(form.signs) > len(best.signs)
        ):
            best = form
    return best


def read_format(path: Path) -> ImportFormat:
    """Read a format file. Raises CatalogError with every problem in it."""
    problems = Problems()
    data = read_toml(path)
    if isinstance(base := data.get("base"), str):
        if base not in format_names():
            problems.add(str(path), f"base: {base!r} is none of {', '.join(format_names())}")
            problems.done()
        data = _merged(read_toml(FORMATS / f"{base}.toml"), data)
    _check(str(path), data, problems)
    problems.done()
    usage = {key: value for key, value in data.get("usage", {}).items() if key not in ("object", "provided")}
    api = (
        Api(id=path.stem, usage=("usage",), **{key: _frozen(value) for key, value in usage.items()}) if usage else None
    )
    return ImportFormat(
        name=path.stem,
        kind=data["kind"],
        signs=tuple(data.get("signs", ())),
        rows=tuple(data.get("rows", ["."])),
        json=frozenset(data.get("json", ())),
        provider=data.get("provider"),
        zone=data.get("zone"),
        unit=data.get("unit", "s"),
        currency=data.get("currency"),
        once=data.get("once", False),
        where=_places(data.get("where", {})),
        failed=_places(data.get("failed", {})),
        fields=_places(data.get("fields", {})),
        usage=api,
        embeddings=None if api is None else api._replace(fixed={"output_tokens": 0, **api.fixed}),
        usage_object=_names(data.get("usage", {}).get("object", ["."])),
        usage_provided=_names(data.get("usage", {}).get("provided", [])),
        tags=_places(data.get("tags", {})),
        tag_columns=data.get("tag_columns"),
        params=_places(data.get("params", {})),
        operations=data.get("operations", EMPTY),
        providers={key.lower(): value for key, value in data.get("providers", {}).items()},
        models=data.get("models", EMPTY),
        attributes=_places(data.get("attributes", {})),
    )


def _check(place: str, data: Mapping[str, Any], problems: Problems) -> None:
    if not problems.check(place, data, _TOP, need=("kind",)):
        return
    kind = data["kind"]
    if kind not in get_args(Kind):
        problems.add(place, f"kind: {kind!r} is none of {', '.join(get_args(Kind))}")
        return
    if data.get("unit", "s") not in UNITS:
        problems.add(place, f"unit: {data['unit']!r} is none of {', '.join(UNITS)}")
    fields = data.get("fields", {})
    for name in sorted(fields.keys() - _FIELDS[kind]):
        problems.add(place, f"fields: {name!r} is no field of {kind}; they are {', '.join(sorted(_FIELDS[kind]))}")
    for name in _NEEDED[kind]:
        if name not in fields and not (kind == "calls" and ("started" in fields or "ended" in fields)):
            problems.add(place, f"fields: {name!r} is missing")
    for table in ("operations", "providers", "models"):
        for name, value in data.get(table, {}).items():
            if not isinstance(value, str):
                problems.add(place, f"{table}: {name}: {value!r} is no text")
    usage = data.get("usage", {})
    if problems.check(f"{place}: usage", usage, _USAGE):
        check_components(f"{place}: usage", {"id": place, "operation": "chat", **usage}, problems)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """A format on top of another: tables are joined, all else is replaced."""
    merged = {**below, **above}
    for key, value in above.items():
        under = below.get(key)
        if isinstance(under, dict) and isinstance(value, dict):
            merged[key] = _merged(under, value)
    return merged


def _places(table: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    return {name: _names(value) for name, value in table.items()}


def _names(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else (str(value),)


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: tuple(item) if isinstance(item, list) else item for name, item in value.items()}
    return tuple(value) if isinstance(value, list) else value
