"""Names an edition of the price book, `2026-11-30.2+9f3c…`, and finds the newest one installed.

The day is the newest on which a source was read, the serial counts the books of that day, and the digest names the
content. Of two editions the later day wins, then the higher serial.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from tokenmeter._support.data_files import CATALOG, SCHEMA, read_data, read_toml, source_of, to_json
from tokenmeter.components import COMPONENTS
from tokenmeter.errors import CatalogError

__all__ = ["BESIDE", "SERIAL", "Edition", "edition_of", "edition_with", "newest_root"]

BESIDE: Final = "tokenmeter_prices"
"""The package of a data-only release."""
SERIAL: Final = "prices/edition.toml"
"""Where a checkout keeps the serial, which `make prices` counts on."""


class Edition(NamedTuple):
    """One edition of the book. Those of one day are ordered by serial."""

    day: str
    serial: int
    digest: str

    @property
    def name(self) -> str:
        """`2026-11-30.2+9f3c…`; a book of no day is `undated`."""
        day = f"{self.day}.{self.serial}" if self.day and self.serial else self.day
        return f"{day or 'undated'}+{self.digest[:12]}"

    @property
    def release(self) -> str:
        """The version of the data-only wheel, `2026.11.30.2`."""
        return ".".join(str(int(part)) for part in (*self.day.split("-"), str(self.serial)))


def edition_of(root: Path) -> Edition:
    """The edition of the book under `root`, compiled or not. Raises CatalogError where there is none."""
    if (root / "prices" / "data").is_dir():
        return _edition_of_source(root)
    shipped = read_data("book", root)
    if shipped.get("schema") != SCHEMA:
        raise CatalogError([f"{root}: a price book of format {shipped.get('schema')}, and {SCHEMA} is read"])
    # A book from before there were serials is the first of its day.
    return Edition(str(shipped["read"]), int(shipped.get("serial", 0)), str(shipped["digest"]))


def _edition_of_source(root: Path) -> Edition:
    import hashlib

    newest = ""
    priced_by = [(part.name, part.usage, part.per, part.inside, part.within, part.stand_in) for part in COMPONENTS]
    digest = hashlib.sha256(repr(priced_by).encode())
    for path in [source_of("conditions", root), *sorted((root / "prices" / "calendars").glob("*.toml"))]:
        digest.update(path.read_bytes())
    for path in sorted((root / "prices" / "data").glob("*.toml")):
        content = path.read_bytes()
        digest.update(path.stem.encode() + b"\0" + content)
        if match := re.search(rb"^read\s*=\s*([0-9-]{10})", content[:4096], re.MULTILINE):
            newest = max(newest, match[1].decode())
    counted = read_toml(root / SERIAL) if (root / SERIAL).exists() else {}
    serial = counted["serial"] if str(counted.get("day")) == newest else 1
    return Edition(newest, serial, digest.hexdigest())


def edition_with(root: Path | None, overlays: Sequence[Mapping[str, Any]]) -> Edition:
    """The edition of the book under `root`, if any, with these overlays on top: the newest day of all."""
    edition = Edition("", 0, "") if root is None else edition_of(root)
    if not overlays:
        return edition
    import hashlib

    hashed = hashlib.sha256(edition.digest.encode())
    newest, serial = edition.day, edition.serial
    for overlay in overlays:
        hashed.update(to_json(overlay).encode())
        read = str(overlay.get("read", ""))
        newest, serial = (read, 0) if read > newest else (newest, serial)
    return Edition(newest, serial, hashed.hexdigest())


def newest_root(beside: str = BESIDE) -> Path:
    """Where the newest installed book is: in this package, or in a data-only release installed beside it.

    Prices move every few weeks, code does not: `pip install -U tokenmeter-prices` brings a later book. One that is
    older, of another format or damaged is left alone.
    """
    from importlib.util import find_spec

    spec = find_spec(beside)
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    if not places:
        return CATALOG
    root = Path(places[0])
    try:
        other = edition_of(root)
    except (CatalogError, AttributeError, KeyError, TypeError, ValueError):
        return CATALOG
    return root if other[:2] > edition_of(CATALOG)[:2] else CATALOG
