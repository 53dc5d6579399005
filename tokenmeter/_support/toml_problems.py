"""Reads folders of TOML files, and gathers the problems of all files into one error.

A file is checked against a small table of key and type before it is used: a typo names the file, the entry,
the key and the nearest key there is.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from tokenmeter._support.value import Value
from tokenmeter.errors import CatalogError

__all__ = ["CATALOG", "Folder", "Problems", "read_folder"]

CATALOG: Final = Path(__file__).parents[1]
_NAMES: Final[dict[type, str]] = {
    str: "a string",
    int: "an integer",
    bool: "true or false",
    list: "a list of strings",
    dict: "a table",
}


class Problems:
    """The lines of a `CatalogError`, collected while files are read."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, place: str, message: str) -> None:
        self.lines.append(f"{place}: {message}")

    def done(self) -> None:
        """Raise CatalogError if there were any."""
        if self.lines:
            raise CatalogError(self.lines)

    def check(self, place: str, entry: Mapping[str, Any], schema: Mapping[str, type], need: Iterable[str] = ()) -> bool:
        """Check an entry's keys and types, and say what is missing."""
        before = len(self.lines)
        for key, value in entry.items():
            kind = schema.get(key)
            if kind is None:
                import difflib

                near = difflib.get_close_matches(key, schema, n=1)
                remedy = f'did you mean "{near[0]}"?' if near else f"the keys are {', '.join(schema)}"
                self.add(place, f'"{key}" is not a key here ({remedy})')
            elif type(value) is not kind or (isinstance(value, list) and not {str, dict}.issuperset(map(type, value))):
                self.add(place, f'"{key}" must be {_NAMES[kind]}, not {value!r}')
        for key in need:
            if key not in entry:
                self.add(place, f'"{key}" is missing')
        return len(self.lines) == before


class Folder(Value):
    """The files of a folder by place (`providers/deepseek.toml`), in the order of their names.

    `checked`: their tables were checked when they were compiled, and hold no problem.
    """

    files: dict[str, dict[str, Any]]
    checked: bool


def read_folder(folder: Path, problems: Problems) -> Folder:
    """Every TOML file of a folder.

    An installed wheel holds one compiled file for the folder instead: a process needs all of them at its first call.
    """
    paths = sorted(folder.glob("*.toml"))
    if not paths:
        with contextlib.suppress(FileNotFoundError):
            return Folder(json.loads((CATALOG / "_compiled" / f"{folder.name}.json").read_bytes()), True)
    import tomllib

    files: dict[str, dict[str, Any]] = {}
    for path in paths:
        place = f"{folder.name}/{path.name}"
        try:
            files[place] = tomllib.loads(path.read_bytes().decode())
        except tomllib.TOMLDecodeError as error:
            problems.add(place, f"not TOML: {error}")
        except UnicodeDecodeError as error:
            problems.add(place, f"not UTF-8: byte {error.start + 1}")
        except RecursionError:
            problems.add(place, "nested too deeply to be read")
        except OSError as error:
            problems.add(place, f"cannot be read: {error.strerror}")
    if not files and not problems.lines:
        problems.add(f"{folder.name}/", f"no *.toml file in {folder}: the installation is incomplete; install it again")
    return Folder(files, False)
