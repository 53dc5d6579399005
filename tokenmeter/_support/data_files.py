"""Reads catalog data: TOML in a checkout, one compiled JSON file each in an installed wheel.

TOML is what people edit. The build (`hatch_build.py`) writes `_compiled/<name>.json` beside it, because reading the
whole book as TOML takes a quarter of a second and one provider as JSON about a millisecond. A wheel holds only the
compiled files. Both give the same Python values, except that JSON holds dates as RFC 3339 strings, which every reader
of dates here accepts. Numbers with a point are exact `Decimal`s either way.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from tokenmeter.errors import CatalogError

__all__ = [
    "CATALOG",
    "SCHEMA",
    "compile_folder",
    "data_names",
    "mentions",
    "read_data",
    "read_toml",
    "source_of",
    "to_json",
]

CATALOG: Final = Path(__file__).parents[1]
_COMPILED: Final = "_compiled"
_FOLDERS: Final = {"prices": "prices/data", "calendars": "prices/calendars"}
_FILES: Final = {"conditions": "prices/conditions", "request": "wire/request", "later": "wire/later"}
SCHEMA: Final = 1
"""The format of compiled price files. A book of another number is not read."""


def source_of(name: str, root: Path = CATALOG) -> Path:
    """Where a checkout keeps the TOML of `prices/deepseek`, `calendars/cn`, `conditions` …"""
    folder, _, file = name.rpartition("/")
    return root / (f"{_FOLDERS[folder]}/{file}.toml" if folder else f"{_FILES.get(name, name)}.toml")


def _parsed(text: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(text, parse_float=Decimal)
    return data


def read_data(name: str, root: Path = CATALOG, parse: Callable[[str], dict[str, Any]] = _parsed) -> dict[str, Any]:
    """Read `prices/deepseek`, `calendars/cn`, `conditions` …, from TOML if it is there, else compiled.

    `parse` reads the text of a compiled file, and raises ValueError for what is none.

    Raises CatalogError if there is neither, or the file is broken.
    """
    source = source_of(name, root)
    if source.exists():
        return read_toml(source)
    compiled = root / _COMPILED / f"{name}.json"
    try:
        return parse(compiled.read_text("utf-8"))
    except FileNotFoundError:
        raise CatalogError([f"{source}: not found; install tokenmeter-sdk again"]) from None
    except ValueError as error:
        raise CatalogError([f"{compiled}: not JSON ({error}); install tokenmeter-sdk again"]) from None


def mentions(name: str, text: str, root: Path = CATALOG) -> bool:
    """Whether the text stands in a data file, in any case; False for no file. Faster than reading it."""
    for path in (source_of(name, root), root / _COMPILED / f"{name}.json"):
        try:
            return text.lower() in path.read_text("utf-8").lower()
        except (OSError, UnicodeDecodeError):
            continue
    return False


def read_toml(path: Path) -> dict[str, Any]:
    """Read one TOML file with exact decimals. Raises CatalogError naming the file and line."""
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise CatalogError([f"{path}: not TOML: {error}"]) from None
    except UnicodeDecodeError as error:
        raise CatalogError([f"{path}: not UTF-8: byte {error.start + 1}"]) from None
    except RecursionError:
        raise CatalogError([f"{path}: nested too deeply to be read"]) from None
    except OSError as error:
        raise CatalogError([f"{path}: cannot be read: {error.strerror}"]) from None


def data_names(folder: str, root: Path = CATALOG) -> list[str]:
    """The names of a folder's files, whether TOML or compiled, sorted."""
    return sorted({*_stems(root / _FOLDERS[folder], ".toml"), *_stems(root / _COMPILED / folder, ".json")})


def _stems(folder: Path, suffix: str) -> list[str]:
    try:
        names = os.listdir(folder)  # a third of what `Path.glob` takes, and the first price waits for it
    except OSError:
        return []
    return [name.removesuffix(suffix) for name in names if name.endswith(suffix)]


def to_json(value: Any) -> str:
    """Write TOML values as JSON: decimals as number literals, digit for digit; dates as strings."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{json.dumps(str(key))}:{to_json(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(to_json, value)) + "]"
    if isinstance(value, Decimal):
        text = f"{value:f}"
        return text if "." in text else f"{text}.0"
    return json.dumps(value.isoformat() if isinstance(value, date) else value, ensure_ascii=False)


def compile_folder(
    root: Path, names: Iterable[str], target: Path, write: Callable[[Mapping[str, Any]], str] = to_json
) -> list[Path]:
    """Write the named TOML files of `root` as JSON under `target`; returns what was written."""
    written = []
    for name in names:
        path = target / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(write(read_toml(source_of(name, root))), encoding="utf-8")
        written.append(path)
    return written
