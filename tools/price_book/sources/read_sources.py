"""Reads all sources, or those named, and appends what is new to the fact files: `make prices-read`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tools.price_book.fact_files import (
    FOLDER,
    Row,
    append_rows,
    dropped_of,
    read_rows,
    write_dropped,
    write_reads,
)
from tools.price_book.sources.download import fetch, unpack
from tools.price_book.sources.new_facts import News, news
from tools.price_book.sources.reading import Found, SourceError, checked
from tools.price_book.sources.table import SOURCES
from tools.price_book.vocabulary import family_of, rank_of

_SHOWN: Final = 25


class Listing(NamedTuple):
    """What a source lists, and since when: the version and the day on which it was published."""

    found: Found
    version: str
    day: str


def read_sources(names: Sequence[str], given: Mapping[str, Path], day: str, folder: Path = FOLDER) -> Iterator[str]:
    """Read sources, write their new facts, and tell of each what is new, what disagrees, or why it is left out.

    `given` holds a package, or the file or folder inside it, for sources that are not to be downloaded; it is of `day`.
    Of sources that copy one another the most trusted one, or of equals the newest, speaks for the models that it lists.
    """
    facts = list(read_rows(folder))
    fresh: list[Row] = []
    reads: dict[str, str] = {}
    listings: dict[str, Listing] = {}
    for name in names:
        try:
            listing = _read(name, given.get(name), day)
            listings[name] = listing._replace(day=max(listing.day, _last_day(name, facts)))
        except SourceError as error:
            yield f"{name}: left out. {error}"
    dropped = dropped_of(folder)
    spoken: dict[str, set[tuple[str, str]]] = {}
    for name in sorted(listings, key=lambda name: (rank_of(SOURCES[name].cite("")), listings[name].day), reverse=True):
        listing, source = listings[name], SOURCES[name]
        better = spoken.setdefault(family_of(source.cite("")), set())
        try:
            found = news(source, listing.found, listing.version, listing.day, facts, better)
        except SourceError as error:
            yield f"{name}: left out. {error}"
            continue
        better |= found.models
        fresh += found.rows
        reads[_stem(name)] = listing.day
        dropped = {what: at for what, at in dropped.items() if what[0] != _stem(name) or what[1:] not in found.models}
        for what, at in found.gone.items():
            dropped.setdefault((_stem(name), *what), at)
        yield from _told(name, listing, found)
    append_rows(fresh, folder)
    write_reads(reads, folder)
    write_dropped(dropped, folder)
    yield f"{len(fresh)} new facts in {len({row['vendor'] for row in fresh})} files"


def _stem(name: str) -> str:
    """How the facts of a source begin to name it, whatever the version."""
    return SOURCES[name].cite("").partition("==")[0] + "=="


def _last_day(name: str, facts: Sequence[Row]) -> str:
    """The day of the source's last facts: what it lists now is not older."""
    return max((row["source_date"] or "" for row in facts if row["source"].startswith(_stem(name))), default="")


def _read(name: str, given: Path | None, day: str) -> Listing:
    source = SOURCES[name]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if given is None:
            path, version, day = fetch(source, folder)
        elif given.suffix in (".whl", ".tgz"):
            path, version = unpack(source, given, folder / "unpacked")
        else:
            path, version = given, "given"
        try:
            return Listing(checked(source.read(path)), version, day)
        except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
            if isinstance(error, SourceError):
                raise
            raise SourceError(f"the source has another shape now: {type(error).__name__} {error}") from error


def _told(name: str, listing: Listing, found: News) -> Iterator[str]:
    copied = f", {found.copied} models left to a better source of its family" if found.copied else ""
    yield (
        f"{name} {listing.version} of {listing.day}: {found.same} as before, {len(found.changed)} changed, "
        f"{len(found.new)} new, {len(found.disputed)} disputed, {len(found.gone)} models no longer listed{copied}"
    )
    gone = ["/".join(what) for what in sorted(found.gone)]
    shown = {"changed": found.changed, "new": found.new, "disputed": found.disputed, "no longer listed": gone}
    for word, lines in shown.items():
        for line in lines[:_SHOWN]:
            yield f"  {word}: {line}"
        if len(lines) > _SHOWN:
            yield f"  {word}: {len(lines) - _SHOWN} more"
