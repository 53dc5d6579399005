"""The command line of the price book's compiler: `python -m tools.price_book FACTS`, from the root of a checkout."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.price_book.build_book import compile_book, write
from tools.price_book.decisions import decide, load, noted
from tools.price_book.fact_coverage import coverage, summary
from tools.price_book.facts import read_fact, read_facts
from tools.price_book.list_rules import load_list_rules


def main(argv: Sequence[str] | None = None) -> int:
    """Compile, or with `--check` and `--coverage` only look."""
    parser = argparse.ArgumentParser(prog="python -m tools.price_book", description=__doc__)
    parser.add_argument("facts", type=Path, metavar="FACTS", help="the fact base: one sourced price a line, as JSON")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail if the book is not what the facts give"
    )
    parser.add_argument(
        "--coverage", action="store_true", help="write nothing; print what became of every fact, as JSON"
    )
    args = parser.parse_args(argv)
    if not args.facts.is_file():
        print(missing(args.facts), file=sys.stderr)
        return 2
    facts = read_facts(args.facts) + [read_fact(0, row) for row in noted()]
    problems = decide(facts, load()) + load_list_rules(facts)[1]
    if problems:
        print("\n".join(problems), file=sys.stderr)
        return 1
    book = compile_book(facts)
    if args.coverage:
        print(json.dumps(coverage(facts), ensure_ascii=False, indent=1))
        return 0
    stale = write(book, dry=args.check)
    if args.check and stale:
        print(f"not what the facts give: {', '.join(stale)}; run python -m tools.price_book FACTS", file=sys.stderr)
        return 1
    print(summary(book, coverage(facts)))
    return 0


def missing(path: Path) -> str:
    """The error for a fact base that is not there, with the way out."""
    return (
        f"{path}: no such file. The fact base, which the book is compiled from, is not part of the repository: give "
        "the path of a copy. Without one, add a [[decision]] or a [[fact]] to "
        "tools/price_book/decisions/<provider>.toml and a row to tests/prices/test_price_changes.py; a maintainer "
        "compiles the book with your patch (tools/price_book/README.md)."
    )


if __name__ == "__main__":
    sys.exit(main())
