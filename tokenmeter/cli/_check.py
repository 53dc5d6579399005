"""`tokenmeter count --check FILE`: compares counts with the usage in recorded calls."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenmeter.cli._output import print_json
from tokenmeter.errors import ConfigurationError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

__all__ = ["run_check"]


def run_check(args: argparse.Namespace) -> int:
    """Compare every call in a file. Raises ConfigurationError where it holds none."""
    from tokenmeter.cli.recordings.cases import case_of
    from tokenmeter.cli.recordings.compare import compare, grouped
    from tokenmeter.cli.recordings.exchanges import read_file

    found = read_file(Path(args.check))
    cases = []
    for one in found:
        case = case_of(one)
        if case is not None:
            case["vendor"] = args.provider or case["vendor"]
            case["model_requested"] = args.model or case["model_requested"]
            case["api"] = args.api or case["api"]
            case["date"] = args.at or case["date"]
            cases.append(case)
    if not cases:
        what = f"{len(found)} recorded calls, none of a model with its usage" if found else "no recorded call"
        raise ConfigurationError(
            f"--check {args.check}: {what}; give a VCR cassette, HAR, fixtures of request and response, or OTLP JSON"
        )
    results = [compare(case) for case in cases]
    groups = grouped(results)
    if args.json:
        print_json({"calls": results, "misses": groups})
    else:
        _show(results, groups)
    return 0


def _show(results: list[dict[str, Any]], groups: list[dict[str, Any]]) -> None:
    from tokenmeter._support.text_tables import table

    headers = ["call", "model", "at", "", "reported", "counted", "range", "method", "cause"]
    rows = [_row(result, side) for result in results for side in ("input", "output") if result[side] is not None]
    print(table(headers, rows, right=["reported", "counted"]))
    parts = [result[side] for result in results for side in ("input", "output") if result[side] is not None]
    near = sum(part["cause"] is None for part in parts)
    inside = sum(bool(part["inside"]) for part in parts)
    print(f"{near} of {len(parts)} within 2 tokens, {inside} inside their range")
    for group in groups:
        if group["constant"] is not None:
            print(
                f"{group['provider']}, rule {group['rule']}: {group['constant']:+d} tokens in most of {group['calls']} "
                f"{group['side']}s with {group['cause']}: a constant of the vendor's"
            )


def _row(result: Mapping[str, Any], side: str) -> list[str]:
    part = result[side]
    spread = "" if part["low"] is None else f"{part['low']}-{part['high']}" + ("" if part["inside"] else " (outside)")
    counted = "unknown" if part["counted"] is None else str(part["counted"])
    names = [result["place"], result["model"], result["at"] or "undated"]
    return [*names, side, str(part["reported"]), counted, spread, str(part["method"]), part["cause"] or ""]
