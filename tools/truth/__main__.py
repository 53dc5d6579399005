"""`python -m tools.truth FOLDER`: cases of the recorded calls in a folder, and a report of what our counts miss."""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenmeter._support.text_tables import table
from tokenmeter.cli.recordings.cases import Case, case_of
from tokenmeter.cli.recordings.compare import compare, grouped
from tokenmeter.cli.recordings.exchanges import SUFFIXES, read_file
from tokenmeter.errors import ConfigurationError
from tools.truth.origin import origin
from tools.truth.redact import hide_texts, redacted


def cases_of(folder: Path) -> Iterator[Case]:
    """The cases of every recording under a folder, or in one file; the same call twice is one case."""
    seen: set[str] = set()
    paths = [folder] if folder.is_file() else sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES)
    for path in paths:
        try:
            found = read_file(path)
        except ConfigurationError as error:
            print(error, file=sys.stderr)
            continue
        for one in found:
            case = case_of(one)
            if case is None or case["id"] in seen:
                continue
            seen.add(case["id"])
            provenance, day = origin(path)
            yield {**case, "vendor": case["vendor"] or "unknown", "date": case["date"] or day, "provenance": provenance}


def report(results: list[dict[str, Any]]) -> None:
    """Print shares and the groups of misses."""
    for side in ("input", "output"):
        parts = [result[side] for result in results if result[side] is not None]
        near = sum(part["cause"] is None for part in parts)
        inside = sum(bool(part["inside"]) for part in parts)
        print(f"{side}: {len(parts)} calls, {near} within 2 tokens, {inside} inside their range")
    rows = [
        [
            row["provider"],
            row["rule"],
            row["side"],
            row["cause"],
            str(row["calls"]),
            f"{row['least']:+d} to {row['most']:+d}",
            "" if row["constant"] is None else f"{row['constant']:+d}",
        ]
        for row in grouped(results)
    ]
    if rows:
        print(
            table(
                ["provider", "rule", "of", "cause", "calls", "billed less counted", "constant"], rows, right=["calls"]
            )
        )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.truth", description=__doc__)
    parser.add_argument("folder", type=Path, help="a folder of recordings, or one file")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write cases, one a line; .gz compresses")
    parser.add_argument("--report", action="store_true", help="what our counts miss, by cause")
    parser.add_argument("--hide", choices=["prompts"], help="leave texts out of the cases")
    options = parser.parse_args(arguments)
    if not options.folder.exists():
        print(f"{options.folder}: not there", file=sys.stderr)
        return 2
    cases = list(cases_of(options.folder))
    results = [compare(case) for case in cases]
    if options.out is not None:
        opened = gzip.open if options.out.suffix == ".gz" else open
        with opened(options.out, "wt", encoding="utf-8") as out:
            for case, result in zip(cases, results, strict=True):
                counted = {side: result[side] and result[side]["counted"] for side in ("input", "output")}
                kept = hide_texts(case, counted) if options.hide else redacted(case)
                out.write(json.dumps(kept, ensure_ascii=False, default=str) + "\n")
    if options.report or options.out is None:
        report(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
