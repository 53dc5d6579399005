"""Reads all sources, or those named, and appends what is new to the fact files: `make prices-read`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from tools.price_book.fact_files import FOLDER, Row, append_rows, read_rows, write_reads
from tools.price_book.sources.download import fetch, unpack
from tools.price_book.sources.new_facts import News, news
from tools.price_book.sources.reading import SourceError, checked
from tools.price_book.sources.table import SOURCES

_SHOWN: Final = 25


def read_sources(names: Sequence[str], given: Mapping[str, Path], day: str, folder: Path = FOLDER) -> Iterator[str]:
    """Read sources, write their new facts, and tell of each what is new, what disagrees, or why it is left out.

    `given` holds a package, or the file or folder inside it, for sources that are not to be downloaded.
    """
    facts = list(read_rows(folder))
    fresh: list[Row] = []
    reads: dict[str, str] = {}
    for name in names:
        try:
            found = _read(name, given.get(name), day, facts)
        except SourceError as error:
            yield f"{name}: left out. {error}"
            continue
        fresh += found.rows
        reads[SOURCES[name].cite("").partition("==")[0] + "=="] = day
        yield from _told(name, found)
    append_rows(fresh, folder)
    write_reads(reads, folder)
    yield f"{len(fresh)} new facts in {len({row['vendor'] for row in fresh})} files"


def _read(name: str, given: Path | None, day: str, facts: Sequence[Row]) -> News:
    source = SOURCES[name]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if given is None:
            path, version = fetch(source, folder)
        elif given.suffix in (".whl", ".tgz"):
            path, version = unpack(source, given, folder / "unpacked")
        else:
            path, version = given, "given"
        try:
            found = checked(source.read(path))
        except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
            if isinstance(error, SourceError):
                raise
            raise SourceError(f"the source has another shape now: {type(error).__name__} {error}") from error
        return news(source, found, version, day, facts)


def _told(name: str, found: News) -> Iterator[str]:
    yield (
        f"{name}: {found.same} as before, {len(found.changed)} changed, {len(found.new)} new, "
        f"{len(found.disputed)} disputed, {len(found.gone)} models no longer listed"
    )
    for word, lines in (
        ("changed", found.changed), ("new", found.new), ("disputed", found.disputed), ("no longer listed", found.gone)
    ):  # fmt: skip
        for line in lines[:_SHOWN]:
            yield f"  {word}: {line}"
        if len(lines) > _SHOWN:
            yield f"  {word}: {len(lines) - _SHOWN} more"
