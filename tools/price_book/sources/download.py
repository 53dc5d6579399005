"""Downloads the newest package of a source by the ordinary client (`pip download`, `npm pack`) and unpacks its prices.

Nothing of a package is installed or run. Its prices are of the day on which it was published, as its registry says:
`npm view`, and the index that pip uses.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from tokenmeter.errors import TokenmeterError
from tokenmeter.prices.upkeep.data_release import files_of_index
from tools.price_book.sources.reading import SourceError
from tools.price_book.sources.table import Source

_SECONDS: Final = 600


class Package(NamedTuple):
    """Where a source's prices are unpacked, the version they are of, and the day on which it was published."""

    path: Path
    version: str
    day: str


def fetch(source: Source, folder: Path) -> Package:
    """The newest version of a source, under `folder`. Raises SourceError."""
    if source.client == "pip":
        _run(source, [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:",
                      "--dest", str(folder), source.package])  # fmt: skip
        archive = _only(source, folder.glob("*.whl"))
        day = _uploaded(source, archive.name)
    else:
        version, day = _newest(source)
        _run(source, ["npm", "pack", "--silent", "--pack-destination", str(folder), f"{source.package}@{version}"])
        archive = _only(source, folder.glob("*.tgz"))
    return Package(*unpack(source, archive, folder / "unpacked"), day)


def _newest(source: Source) -> tuple[str, str]:
    """The released version that was published last, and its day: the tag `latest` of a mirror may be an old one."""
    try:
        times = json.loads(_run(source, ["npm", "view", source.package, "time", "--json"]))
        released = {name: str(at) for name, at in times.items() if re.fullmatch(r"\d+(\.\d+)*", name)}
        version = max(released, key=released.__getitem__)
    except (ValueError, AttributeError) as error:
        raise SourceError(f"npm does not say when {source.package} was published: {error}") from None
    return version, released[version][:10]


def _uploaded(source: Source, name: str) -> str:
    try:
        files = files_of_index(source.package)
    except TokenmeterError as error:
        raise SourceError(f"the index does not say when {name} was published: {error}") from None
    uploaded = next((file.get("upload-time") for file in files if file.get("filename") == name), None)
    if not uploaded:
        raise SourceError(f"the index does not say when {name} was published: give the file, and its day by --day")
    return str(uploaded)[:10]


def _run(source: Source, command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SourceError(f"{source.client} did not bring {source.package}: {error}") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise SourceError(f"{source.client} did not bring {source.package}: {said[-1] if said else 'no package'}")
    return done.stdout


def _only(source: Source, archives: Iterator[Path]) -> Path:
    found = sorted(archives)
    if not found:
        raise SourceError(f"{source.client} did not bring {source.package}: no package")
    return found[-1]


def unpack(source: Source, archive: Path, folder: Path) -> tuple[Path, str]:
    """The source's file or folder out of its package, and the version. Raises SourceError."""
    inside = source.file if archive.suffix == ".whl" else f"package/{source.file}"
    found = 0
    for name, content in _members(archive):
        if name == inside or name.startswith(f"{inside}/"):
            place = folder / PurePosixPath(name)
            if ".." in PurePosixPath(name).parts:
                raise SourceError(f"{archive.name} holds {name}, which leads out of its folder")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content())
            found += 1
    if not found:
        raise SourceError(f"{archive.name} has no {source.file}: the prices have moved")
    return folder / inside, _version(archive)


def _members(archive: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            for name in wheel.namelist():
                if not name.endswith("/"):
                    yield name, partial(wheel.read, name)
        return
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isfile():
                yield member.name, partial(_content, tar, member)


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    return b"" if file is None else file.read()


def _version(archive: Path) -> str:
    match = re.search(r"-(\d[\w.]*?)(?:-|\.tgz|\.whl)", archive.name)
    if match is None:
        raise SourceError(f"{archive.name} names no version")
    return match[1].removesuffix(".tgz")
