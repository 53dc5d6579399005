"""`tokenmeter families`: list the tokenizer families, or the family that counts a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tokenmeter.cli import COMMANDS
from tokenmeter.cli._output import print_json

if TYPE_CHECKING:
    import argparse


def add_parser(subparsers: Any) -> None:
    """Describe the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "families",
        help=COMMANDS["families"],
        description="The tokenizer families: with a vocabulary of their own, or counted with a stand-in and a range.",
    )
    parser.add_argument("model", nargs="*", metavar="MODEL", help="say which family counts these models")
    parser.add_argument("--provider", metavar="ID", help="who serves them, where that matters")
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")


def run(args: argparse.Namespace) -> int:
    """Print the families, or the family of each given model."""
    rows = [_of_model(name, args.provider) for name in args.model] if args.model else _all()
    if args.json:
        print_json(rows)
        return 0
    from tokenmeter._support.text_tables import table

    headers = list(rows[0])
    print(table(headers, [[_cell(row[header]) for header in headers] for row in rows], right=["tokens"]))
    return 0


def _all() -> list[dict[str, Any]]:
    from tokenmeter.tokens.families import family_names, load_family

    rows = []
    for name in family_names():
        family = load_family(name)
        own = family.counted_with == name
        rows.append(
            {
                "family": name,
                "models": family.title,
                "counted with": "its own vocabulary" if own else family.counted_with,
                "tokens": family.tokens if own and family.tokens else None,
                "zh": None if own else list(family.scale["zh"]),
                "en": None if own else list(family.scale["en"]),
            }
        )
    return rows


def _of_model(model: str, provider: str | None) -> dict[str, Any]:
    from tokenmeter.tokens.counter import counter

    found = counter(model, provider)
    return {
        "model": model,
        "family": found.family_name,
        "counted with": found.family,
        "method": found.method,
        "found by": found.found_by,
    }


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        best, low, high = value
        return f"{best} ({low}–{high})"
    return f"{value:,}" if isinstance(value, int) else str(value)
