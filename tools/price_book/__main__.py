"""The command line of the price book's compiler: `python -m tools.price_book`, from the root of a checkout."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tokenmeter._support.data_files import CATALOG
from tools.price_book.book_changes import changes
from tools.price_book.build_book import OUT, compile_book, count_edition, write
from tools.price_book.decisions import decide, load
from tools.price_book.evidence import compiled
from tools.price_book.fact_coverage import coverage, summary, unused
from tools.price_book.fact_files import FOLDER, FactError, dropped_of, read_rows, reads_of, write_files
from tools.price_book.facts import Fact, read_facts
from tools.price_book.list_rules import load_list_rules
from tools.price_book.sources.read_sources import read_sources
from tools.price_book.sources.table import SOURCES
from tools.price_book.spend_changes import keep_edition, spend_changes

READ = f"read sources (all, or of {', '.join(SOURCES)}), append their new facts, then compile"


def main(argv: Sequence[str] | None = None) -> int:
    """Compile, or with a flag only look."""
    parser = argparse.ArgumentParser(prog="python -m tools.price_book", description=__doc__)
    parser.add_argument(
        "facts",
        type=Path,
        nargs="?",
        default=FOLDER,
        metavar="FACTS",
        help="another folder of fact files, or a JSON Lines file of the same rows",
    )
    look = parser.add_mutually_exclusive_group()
    look.add_argument("--check", action="store_true", help="write nothing; fail if the book is not what the facts give")
    look.add_argument("--coverage", action="store_true", help="write nothing; print the fate of the facts as JSON")
    look.add_argument("--unused", action="store_true", help="write nothing; print each fact left out, with the reason")
    look.add_argument(
        "--evidence", metavar="PROVIDER", help="write nothing; print a provider's facts and their fate as JSON"
    )
    look.add_argument("--export", type=Path, metavar="FILE", help="write the facts as JSON Lines, and no book")
    look.add_argument("--import", dest="to", type=Path, metavar="FOLDER", help="write FACTS as fact files in FOLDER")
    look.add_argument("--read", nargs="*", choices=[*SOURCES], metavar="SOURCE", help=READ)
    parser.add_argument("--given", action="append", default=[], metavar="SOURCE=PATH", help="a package not to download")
    parser.add_argument(
        "--day", default=datetime.now(UTC).date().isoformat(), help="the day of the reading (default: today)"
    )
    parser.add_argument("--ledger", metavar="FILE", help="a ledger: also print which share of its spend changed")
    args = parser.parse_args(argv)
    if args.read is not None:
        given = {name: Path(path) for name, _, path in (one.partition("=") for one in args.given)}
        if unknown := given.keys() - SOURCES.keys():
            parser.error(f"--given {', '.join(sorted(unknown))}: no such source; there are {', '.join(SOURCES)}")
        for line in read_sources(args.read or [*(given or SOURCES)], given, args.day):
            print(line)
    if not args.facts.exists():
        print(f"{args.facts}: no such folder or file of facts", file=sys.stderr)
        return 2
    try:
        rows = read_rows(args.facts)
    except FactError as error:
        print(error, file=sys.stderr)
        return 2
    if args.to:
        write_files(rows, args.to)
        return 0
    if args.export:
        args.export.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        return 0
    noted = (reads_of(args.facts), dropped_of(args.facts)) if args.facts.is_dir() else (None, None)
    facts = read_facts(rows, *noted)
    problems = decide(facts, load()) + load_list_rules(facts)[1]
    if problems:
        print("\n".join(problems), file=sys.stderr)
        return 1
    return _compile(facts, args)


def _compile(facts: list[Fact], args: argparse.Namespace) -> int:
    if args.evidence:
        print(json.dumps(compiled(facts).get(args.evidence, {}), ensure_ascii=False))
        return 0
    book = compile_book(facts)
    if args.coverage:
        print(json.dumps(coverage(facts), ensure_ascii=False, indent=1))
        return 0
    if args.unused:
        print("\n".join(unused(facts)))
        return 0
    shipped = {path.stem: path.read_text(encoding="utf-8") for path in sorted(OUT.glob("*.toml"))}
    with tempfile.TemporaryDirectory() as folder:
        old = keep_edition(CATALOG, Path(folder))
        stale = write(book, dry=args.check)
        money = (
            ()
            if args.check or not stale
            else [*spend_changes(old, CATALOG, (Path(name).stem for name in stale), args.ledger)]
        )
    if args.check and stale:
        print(f"not what the facts give: {', '.join(stale)}; run make prices", file=sys.stderr)
        return 1
    if stale and not args.check:
        count_edition()
    print(summary(book, coverage(facts)))
    print("\n".join(["", "What changed:", *(list(changes(shipped, book)) or ["nothing"])]))
    if money:
        print("\n".join(["", "What it comes to, at today's prices:", *money]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
