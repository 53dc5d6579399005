"""Reads tokenizer families from `tokenizers/`, and finds the family a model belongs to.

A family is one `<family>.toml`: how text becomes tokens (pattern, normalisation, special tokens, vocabulary) or, where
the vendor publishes no vocabulary, which family stands in and how far off it is. `models.toml` says which model belongs
where. Both are data: adding a family or a model adds lines there and touches no code.

A model's name is looked up in lower case, its last path segment first, then with each segment in front of it: the
organisation (`Qwen/`, `mistralai/`) decides only where the model's own name says nothing. An entry is a whole name,
`prefix*` or `*part*`; the whole name wins, then the longest prefix, then the longest part, and an entry of the model's
own provider before one for all. An entry with `similar = true` names models whose vocabulary is another's than the
family's, though close to it: their counts are never exact. An entry with `after` or `before` (ISO days) holds for calls
from or until then: a vendor's `-latest` names change their model.
"""

from __future__ import annotations

import tomllib
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final

from tokenmeter.errors import CatalogError
from tokenmeter.tokens.ratio import Script

__all__ = ["Family", "FamilyMatch", "data_folder", "family_names", "load_family", "match_model", "read_family"]

Scale = tuple[float, float, float]
"""True tokens per counted token: the best guess, and the least and greatest that hold for 95% of real texts."""

RATIO: Final = "ratio"
"""The name of the family that counts by script alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """How the text of some models becomes tokens.

    `stand_in` names the family counted with where this one has no vocabulary, or none that its licence lets us ship
    (`shipped` is false: it is built where its licence is accepted).
    """

    name: str
    title: str
    stand_in: str | None = None
    scale: Mapping[Script, Scale] = field(default_factory=dict)
    vocabulary: str | None = None
    shipped: bool = True
    tokens: int = 0
    first_id: int = 0
    pattern: str = ""
    normalize: str | None = None
    dead: frozenset[int] = frozenset()
    specials: Mapping[str, int] = field(default_factory=dict)
    typed_specials: str = "text"
    whole_space_before: str = ""
    units: str = "bytes"
    source: Mapping[str, Any] = field(default_factory=dict)
    licence: str = ""
    notice: str = ""
    """The file in `licenses/` that the vocabulary's licence asks to be passed on."""
    note: str = ""
    path: Path | None = None

    @property
    def vocabulary_path(self) -> Path | None:
        """The packed vocabulary, beside the family's own file; None where it has none."""
        if self.vocabulary is None:
            return None
        return (self.path.parent if self.path else data_folder()) / f"{self.vocabulary}.vocab"

    @property
    def counted_with(self) -> str:
        """The family whose vocabulary counts: its own where it is there, else its stand-in's."""
        path = self.vocabulary_path
        return self.name if self.stand_in is None or (path is not None and path.exists()) else self.stand_in


@dataclass(frozen=True, slots=True)
class FamilyMatch:
    """The family of a model and how it was found.

    `model` and `similar`: an entry names the model, with the family's own vocabulary or one close to it.
    `organisation`: only whose model it is, is known. `provider` and `default`: no entry fits.
    """

    family: str
    by: str


@cache
def data_folder() -> Path:
    """Where the families are: inside the installed package, or beside a checkout."""
    installed = Path(__file__).with_name("_data")
    return installed if installed.is_dir() else Path(__file__).parents[2] / "tokenizers"


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise CatalogError([f"{path.name}: cannot be read ({error.strerror}); is the installation whole?"]) from None
    except tomllib.TOMLDecodeError as error:
        raise CatalogError([f"{path.name}: {error}"]) from None


def family_names() -> tuple[str, ...]:
    """Every family there is, those registered by the user included."""
    shipped = (path.stem for path in data_folder().glob("*.toml") if path.stem != "models")
    return tuple(sorted({*shipped, *_registered}))


_registered: dict[str, Family] = {}
_registered_models: dict[str, str] = {}


def add_family(family: Family, models: tuple[str, ...]) -> None:
    """Add a family of the user's own; its models win over those of `models.toml`."""
    _registered[family.name] = family
    for model in models:
        _registered_models[model.lower()] = family.name
    _match.cache_clear()


def load_family(name: str) -> Family:
    """A family by name. Raises CatalogError where there is none, or its file is wrong."""
    return _registered.get(name) or _load_shipped(name)


@cache
def _load_shipped(name: str) -> Family:
    return read_family(data_folder() / f"{name}.toml", name)


def read_family(path: Path, name: str) -> Family:
    """The family a file describes. Raises CatalogError naming every key it does not know."""
    data = _read(path)
    known = {item.name for item in fields(Family)} - {"name", "path"} | {"classes"}
    unknown = sorted(set(data) - known)
    if unknown:
        raise CatalogError([f"{path.name}: {key!r} is not a key of a family" for key in unknown])
    classes = data.pop("classes", {})
    pattern = "|".join(data.pop("pattern", []))
    for label, members in classes.items():
        pattern = pattern.replace(f"<{label}>", members)
    if "scale" in data:
        data["scale"] = {script: tuple(values) for script, values in data["scale"].items()}
    dead = frozenset(data.pop("dead", ()))
    return Family(name=name, pattern=pattern, dead=dead, path=path, **data)


@cache
def _models() -> dict[str, Any]:
    return _read(data_folder() / "models.toml")


@dataclass(slots=True)
class _Names:
    """Entries of one provider, or of all."""

    whole: dict[str, FamilyMatch] = field(default_factory=dict)
    prefixes: list[tuple[str, FamilyMatch]] = field(default_factory=list)
    parts: list[tuple[str, FamilyMatch]] = field(default_factory=list)

    def find(self, name: str) -> FamilyMatch | None:
        """The match of one name: the whole name, then the longest prefix, then the longest part."""
        if name in self.whole:
            return self.whole[name]
        for prefix, match in self.prefixes:
            if name.startswith(prefix):
                return match
        return next((match for part, match in self.parts if part in name), None)


@cache
def _periods() -> tuple[str, ...]:
    """The days on which an entry begins or ends, in order."""
    entries = _models()["models"]
    return tuple(sorted({entry[key] for entry in entries for key in ("after", "before") if key in entry}))


def _period(at: str | None) -> int:
    """Which of the times between those days a day lies in; now where no day is given."""
    return len(_periods()) if at is None else bisect_right(_periods(), at)


@cache
def _index(period: int) -> dict[str | None, _Names]:
    """The entries of one period, by provider."""
    index: dict[str | None, _Names] = {None: _Names()}
    for entry in _models()["models"]:
        after, before = entry.get("after"), entry.get("before")
        if (after is not None and period < _period(after)) or (before is not None and period >= _period(before)):
            continue
        match = FamilyMatch(entry["family"], "similar" if entry.get("similar") else "model")
        for provider in entry.get("providers", [None]):
            names = index.setdefault(provider, _Names())
            for name in entry["names"]:
                if name.startswith("*"):
                    names.parts.append((name.strip("*"), match))
                elif name.endswith("*"):
                    names.prefixes.append((name[:-1], match))
                else:
                    names.whole[name] = match
    for names in index.values():
        names.prefixes.sort(key=lambda item: -len(item[0]))
        names.parts.sort(key=lambda item: -len(item[0]))
    return index


def _path_names(model: str) -> tuple[str, ...]:
    """The last path segment of a name, then the last two, up to the whole."""
    segments = model.lower().strip().replace("%2f", "/").split("/")
    return tuple("/".join(segments[start:]) for start in range(len(segments) - 1, -1, -1))


def match_model(model: str, provider: str | None = None, at: str | None = None) -> FamilyMatch:
    """The family a model belongs to, on an ISO day or now.

    An unknown model gets its provider's usual family, else the default one.
    """
    return _match(model, provider, _period(at))


@lru_cache(maxsize=4096)
def _match(model: str, provider: str | None, period: int) -> FamilyMatch:
    names = _path_names(model)
    for name in (names[-1], names[0]):
        if name in _registered_models:
            return FamilyMatch(_registered_models[name], "model")
    index = _index(period)
    scopes = [index[scope] for scope in dict.fromkeys((provider, None)) if scope in index]
    for number, name in enumerate(names):
        for scope in scopes:
            found = scope.find(name)
            if found is not None:
                by_organisation = number > 0 and number == len(names) - 1
                return FamilyMatch(found.family, "organisation") if by_organisation else found
    usual = _models()["providers"].get(provider)
    return FamilyMatch(usual, "provider") if usual else FamilyMatch(_models()["default"], "default")
