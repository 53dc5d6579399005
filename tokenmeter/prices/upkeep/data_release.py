"""Takes the newest data wheel from the index that pip uses, checks what it is pinned to, and installs it.

Only `tokenmeter prices update` comes here. The wheel must be the one whose digest is given, or one whose index says
that the pinned publisher uploaded it (PEP 740); both, where both are given. It must hold prices and nothing that runs,
and be newer than the book in use. Pip does the downloading and installing, with the settings it always has.

An index's word on the publisher is not checked against Sigstore: whoever does not trust the index pins the digest.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final, NamedTuple
from urllib.parse import urljoin, urlsplit

from tokenmeter.errors import CatalogError, ConfigurationError
from tokenmeter.prices.book import Book
from tokenmeter.prices.edition import BESIDE, Edition, edition_of, newest_root

__all__ = ["PROJECT", "Pin", "Update", "book_of_wheel", "files_of_index", "update"]

PROJECT: Final = "tokenmeter-prices"
_PYPI: Final = "https://pypi.org/simple"
_SIMPLE_JSON: Final = "application/vnd.pypi.simple.v1+json"
_SECONDS: Final = 60
_LARGEST: Final = 16 * 1024 * 1024
_DATA: Final = frozenset({".json", ".z"})


class Pin(NamedTuple):
    """What a wheel must be: of this SHA-256, in this list of digests, published by this `OWNER/REPOSITORY`.

    None is not asked.
    """

    sha256: str | None = None
    publisher: str | None = None
    listed: Mapping[str, str] | None = None

    @classmethod
    def read(cls, sha256: str | None, publisher: str | None, sums: str | None) -> Pin:
        """From flags; `sums` names a file as `sha256sum` writes it. Raises ConfigurationError for one not readable."""
        if sums is None:
            return cls(sha256, publisher)
        try:
            lines = Path(sums).read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"--sums: {sums} cannot be read: {error}") from None
        pairs = (line.split(maxsplit=1) for line in lines if line.strip())
        return cls(sha256, publisher, {name.strip().lstrip("*"): digest for digest, name in pairs})


class Update(NamedTuple):
    """What became of an update: the editions before and in the wheel, its digest, and whether it was installed."""

    before: Edition
    found: Edition
    wheel: str
    sha256: str
    installed: bool


def update(pin: Pin, to: Path | None = None) -> Update:
    """Download the newest data wheel, check it and install it, or only keep the file in the folder `to`.

    Raises ConfigurationError where nothing is pinned or pip fails, CatalogError for a wheel that is not as it must be.
    """
    if pin == Pin():
        raise ConfigurationError(
            "say what you trust: --sha256 HEX of the wheel, --sums FILE that lists it, or --publisher OWNER/REPOSITORY"
        )
    before = edition_of(newest_root())
    with tempfile.TemporaryDirectory(prefix="tokenmeter-prices-") as scratch:
        wheel = _download(Path(scratch))
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        _check_pin(wheel.name, digest, pin)
        found = edition_of(book_of_wheel(wheel, Path(scratch) / "unpacked"))
        newer = found[:2] > before[:2]
        if to is not None:
            to.mkdir(parents=True, exist_ok=True)
            (to / wheel.name).write_bytes(wheel.read_bytes())
        elif newer:
            _pip("install", "--no-deps", "--no-index", str(wheel))
        return Update(before, found, wheel.name, digest, newer and to is None)


def book_of_wheel(wheel: Path, folder: Path) -> Path:
    """Unpack a data wheel's book into a folder; the root that `Book` reads.

    Raises CatalogError if it holds anything but data, or its prices are not sound.
    """
    try:
        with zipfile.ZipFile(wheel) as packed:
            problems = list(_not_data(packed))
            if problems:
                raise CatalogError([f"{wheel.name}: {problem}" for problem in problems])
            packed.extractall(folder)
    except (zipfile.BadZipFile, OSError) as error:
        raise CatalogError([f"{wheel}: not a wheel: {error}"]) from None
    root = folder / BESIDE
    Book(root).check()
    return root


def _not_data(packed: zipfile.ZipFile) -> Iterator[str]:
    """What a data wheel may not hold: a program, a path out of its folder, more than prices can be."""
    if sum(item.file_size for item in packed.infolist()) > _LARGEST:
        yield f"it unpacks to more than {_LARGEST} bytes"
        return
    for item in packed.infolist():
        path = PurePosixPath(item.filename)
        top = path.parts[0] if path.parts else ""
        if path.is_absolute() or ".." in path.parts or "\\" in item.filename:
            yield f"{item.filename!r} leads out of its folder"
        elif item.filename == f"{BESIDE}/__init__.py":
            if not _is_docstring(packed.read(item)):
                yield f"{item.filename} holds a program"
        elif top.endswith(".dist-info"):
            if path.name == "entry_points.txt":
                yield "it installs commands"
        elif top != BESIDE or path.suffix not in _DATA:
            yield f"{item.filename!r} is not a price file"


def _is_docstring(source: bytes) -> bool:
    import ast

    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError):
        return False
    return all(isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in body)


def _pip(*arguments: str) -> str:
    command = [sys.executable, "-m", "pip", *arguments, "--disable-pip-version-check", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", errors="replace", check=False)
    if done.returncode:
        why = done.stderr.strip() or f"pip ended with {done.returncode}"
        hint = "; with another installer: uv pip install -U tokenmeter-prices" if "No module named pip" in why else ""
        raise ConfigurationError(f"pip {arguments[0]}: {why}{hint}")
    return done.stdout


def _download(folder: Path) -> Path:
    _pip("download", "--no-deps", "--only-binary", ":all:", "--dest", str(folder), PROJECT)
    return next(folder.glob("*.whl"))


def _check_pin(name: str, digest: str, pin: Pin) -> None:
    """Raises CatalogError where the wheel is not what was pinned."""
    if pin.sha256 is not None and digest != pin.sha256.lower():
        raise CatalogError([f"{name}: its digest is {digest}, not the pinned {pin.sha256}: nothing was installed"])
    if pin.listed is not None and pin.listed.get(name, "").lower() != digest:
        raise CatalogError([f"{name}: its digest {digest} is not in the list of digests: nothing was installed"])
    if pin.publisher is not None:
        publishers = _publishers(name, digest)
        if pin.publisher.lower() not in (one.lower() for one in publishers):
            said = ", ".join(publishers) or "nobody"
            raise CatalogError([f"{name}: published by {said}, not by {pin.publisher}: nothing was installed"])


def _index() -> str:
    """The index that pip uses, as its environment and files say."""
    if named := os.environ.get("PIP_INDEX_URL"):
        return named
    settings = dict(line.partition("=")[::2] for line in _pip("config", "list").splitlines())
    keys = (":env:.index-url", "download.index-url", "install.index-url", "global.index-url")
    return next((settings[key].strip("'\"") for key in keys if key in settings), _PYPI)


def _page_of(project: str) -> str:
    return _index().rstrip("/") + f"/{project}/"


def files_of_index(project: str) -> Sequence[Mapping[str, Any]]:
    """Every file of a project as the index that pip uses lists it (PEP 691). Raises CatalogError where it does not."""
    files: Sequence[Mapping[str, Any]] = _get(_page_of(project), _SIMPLE_JSON).get("files", ())
    return files


def _publishers(name: str, digest: str) -> Sequence[str]:
    """Who published a file, as its index says: `OWNER/REPOSITORY` of each attestation that names its digest."""
    index = _page_of(PROJECT)
    listed = next((file for file in files_of_index(PROJECT) if file.get("filename") == name), None)
    if listed is None or listed.get("hashes", {}).get("sha256") != digest:
        raise CatalogError([f"{name}: {index} does not list this file with the digest {digest}"])
    if not listed.get("provenance"):
        raise CatalogError([f"{name}: {index} does not say who published it: pin the wheel by --sha256"])
    provenance = _get(urljoin(index, listed["provenance"]), "application/vnd.pypi.integrity.v1+json")
    return [
        str(bundle["publisher"]["repository"])
        for bundle in provenance.get("attestation_bundles", ())
        if isinstance(bundle.get("publisher", {}).get("repository"), str)
        and any(_attests(attestation, digest) for attestation in bundle.get("attestations", ()))
    ]


def _attests(attestation: Mapping[str, Any], digest: str) -> bool:
    try:
        statement = json.loads(base64.b64decode(attestation["envelope"]["statement"]))
        return any(subject["digest"]["sha256"] == digest for subject in statement["subject"])
    except (KeyError, TypeError, ValueError):
        return False


def _get(url: str, accept: str) -> dict[str, Any]:
    """A JSON document of the index. Raises CatalogError where there is none."""
    import urllib.request

    if urlsplit(url).scheme not in ("http", "https"):
        raise CatalogError([f"{url}: an index of files says nothing of publishers: pin the wheel by --sha256"])
    try:
        request = urllib.request.Request(url, headers={"Accept": accept})
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
            document = json.loads(answer.read(_LARGEST))
    except (OSError, ValueError) as error:
        raise CatalogError([f"{url}: {error}"]) from None
    if not isinstance(document, dict):
        raise CatalogError([f"{url}: not a JSON object"])
    return document
