"""`tokenmeter prices check` and `prices update`: find problems in the price book, and install checked price files."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from tokenmeter.cli._output import print_json, print_rows
from tokenmeter.cli._providers import providers_asked
from tokenmeter.errors import CatalogError, ConfigurationError

if TYPE_CHECKING:
    import argparse

    from tokenmeter.prices.book import Book
    from tokenmeter.prices.price_file import PriceFile


def check(args: argparse.Namespace) -> int:
    """Print findings of the audit; returns 1 if one is almost surely a mistake. Raises CatalogError for a bad file."""
    from datetime import UTC, datetime

    from tokenmeter.prices.book import load_book
    from tokenmeter.prices.overlays import read_overlays
    from tokenmeter.prices.upkeep.audit import audit

    book = load_book()
    overlays = read_overlays(args.files, book.head) if args.files else ()
    book = book.with_overlay(*overlays)
    if not overlays:
        book.check()
    files: list[tuple[PriceFile, list[PriceFile]]] = []  # each file to look at, with those that it is laid over
    for provider in providers_asked(args, book):
        stack = list(book.files(provider))
        asked = [at for at, file in enumerate(stack) if not overlays or any(file.data is one for one in overlays)]
        files += [(stack[at], stack[:at]) for at in asked]
    findings = [finding for file, below in files for finding in audit(file, datetime.now(UTC).date(), below)]
    problems = [finding for finding in findings if finding.severity == "problem"]
    if args.coverage:
        return _coverage(args, book)
    if args.json:
        print_json([dataclasses.asdict(finding) for finding in findings])
        return 1 if problems else 0
    for finding in findings if args.notices else problems:
        print(f"{finding.severity} ({finding.kind}): {finding.place}: {finding.message}")
    kinds: dict[str, int] = {}
    for finding in findings:
        kinds[finding.kind] = kinds.get(finding.kind, 0) + 1
    kinds_found = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) or "nothing"
    providers = {file.provider for file, _ in files}
    rates = sum(len(file.data.get("rate", ())) for file, _ in files)
    notices = len(findings) - len(problems)
    print(f"{rates} rates of {len(providers)} providers: {len(problems)} problems, {notices} notices ({kinds_found})")
    return 1 if problems else 0


def _coverage(args: argparse.Namespace, book: Book) -> int:
    """Print how many facts the compiler used or left out, and how many the book reproduces."""
    from pathlib import Path

    from tokenmeter.prices.upkeep.coverage import coverage
    from tokenmeter.prices.upkeep.reproduce import HELD, reproduced

    facts = Path(args.coverage)
    held = reproduced(book, facts)
    rows: list[dict[str, Any]] = [
        {
            "provider": one.provider,
            "facts": one.facts,
            "used": one.used,
            "held": held[one.provider][HELD],
            "left_out": dict(one.left_out),
        }
        for one in coverage(facts)
        if args.provider in (None, one.provider)
    ]
    if args.json:
        print_rows(rows)
        return 0
    for row in rows:
        left = "; ".join(
            f"{count} {reason}" for reason, count in sorted(row["left_out"].items(), key=lambda one: -one[1])
        )
        print(f"{row['provider']:<22} {row['facts']:>6} facts {row['used']:>6} used {row['held']:>6} held")
        if left:
            print(f"    left out: {left}")
    total, used, kept = (sum(row[key] for row in rows) for key in ("facts", "used", "held"))
    print(
        f"{total} facts: {used} used, {total - used} left out with a reason; the book itself gives {kept} of them back"
    )
    return 0


def update(args: argparse.Namespace) -> int:
    """Install the newest data wheel, or price files of one's own. Raises CatalogError for what is not as it must be."""
    if args.source:
        return _own_files(args)
    from pathlib import Path

    from tokenmeter.prices.upkeep import data_release

    pin = data_release.Pin.read(args.sha256, args.publisher, args.sums)
    done = data_release.update(pin, None if args.to is None else Path(args.to))
    if args.json:
        print_json(
            {
                "wheel": done.wheel,
                "sha256": done.sha256,
                "before": done.before.name,
                "found": done.found.name,
                "installed": done.installed,
                "kept_in": args.to,
            }
        )
        return 0
    print(f"{done.wheel}: book {done.found.name}, sha256 {done.sha256}")
    if args.to is not None:
        print(f"kept in {args.to}, not installed; {done.before.name} is in use")
    elif done.installed:
        print(f"installed; it is used by every process that starts from now on, in place of {done.before.name}")
    else:
        print(f"not installed: the book in use, {done.before.name}, is no older")
    return 0


def _own_files(args: argparse.Namespace) -> int:
    """Check price files and their digest, and copy them to the overlay folder. Raises CatalogError where they fail."""
    import hashlib
    import os
    from pathlib import Path

    from tokenmeter.prices.book import Book
    from tokenmeter.prices.overlays import read_overlays

    source = Path(args.source)
    if not source.exists():
        raise ConfigurationError(f"--from: {source} does not exist")
    files = sorted(source.glob("*.toml")) if source.is_dir() else [source]
    if args.sha256:
        digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
        if digest != args.sha256.lower():
            raise CatalogError([f"{source}: its digest is {digest}, not the published {args.sha256}: get it again"])
    overlays = read_overlays(files, Book().head)
    target = args.to or os.environ.get("TOKENMETER_PRICES")
    if not target:
        raise ConfigurationError("where to? Give --to FOLDER, or set TOKENMETER_PRICES to a folder")
    folder = Path(target)
    if folder.exists() and not folder.is_dir():
        raise ConfigurationError(f"{folder} is a file: an update needs a folder of price files")
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        waiting = folder / f".{file.name}.new"
        waiting.write_bytes(file.read_bytes())
        waiting.replace(folder / file.name)  # atomic: another process may be reading the folder
    rates = sum(len(overlay.get("rate", ())) for overlay in overlays)
    print(f"{len(files)} files with {rates} rates are in {folder}; set TOKENMETER_PRICES={folder} to use them")
    return 0
