"""`tokenmeter reprice spend.db --at 2024-06-01`: what the calls of a ledger cost by other prices."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenmeter.cli import COMMANDS, _terminal
from tokenmeter.cli._flags import Paragraphs
from tokenmeter.cli._output import print_json
from tokenmeter.errors import ConfigurationError

if TYPE_CHECKING:
    import argparse

    from tokenmeter.ledger.valuation.valuation import Valuation

_EPILOG = """\
the valuation is written into the ledger's file, into tables of its own (valuations, valued_calls); calls keep their
 cost.
"""


def add_parser(subparsers: Any) -> None:
    """Describe the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "reprice",
        help=COMMANDS["reprice"],
        description="Price the calls of a ledger again, beside what it says.",
        epilog=_EPILOG,
        formatter_class=Paragraphs,
    )
    parser.add_argument("ledger", help="the ledger file")
    when = parser.add_mutually_exclusive_group(required=True)
    when.add_argument("--at-time-of-call", action="store_true", help="each call at its own instant")
    when.add_argument("--at", metavar="DATE", help="all calls at this instant: 2026-11-01 or RFC 3339")
    parser.add_argument(
        "--prices", action="append", default=[], metavar="OVERLAY", help="price files on top of the book"
    )
    parser.add_argument("--name", help="the valuation's name (default: the book's version and the instant)")
    parser.add_argument("--replace", action="store_true", help="replace a valuation of this name")
    parser.add_argument("--tz", metavar="ZONE", help="the clock of a date without a time (default: this machine's)")
    parser.add_argument("--json", action="store_true", help="exact JSON")


def run(args: argparse.Namespace) -> int:
    """Price, write, and show the sums. Raises ConfigurationError, CatalogError or LedgerError with the remedy."""
    from tokenmeter.ledger.report.periods import Zone, parse_instant
    from tokenmeter.ledger.valuation.valuation import value_ledger
    from tokenmeter.prices.book import load_book

    at = None if args.at is None else parse_instant(args.at, Zone.named(args.tz), datetime.now(UTC), flag="--at")
    book = load_book()
    for path in args.prices:
        if not Path(path).exists():
            raise ConfigurationError(f"--prices: {path} does not exist; name a price file or a folder of them")
    if args.prices:
        book = book.with_overlay(*args.prices)
    name = args.name or f"{book.version} at {'time of call' if at is None else at.isoformat()}"
    with _terminal.progress(f"pricing {args.ledger}"):
        answer = value_ledger(args.ledger, book, at=at, name=name, replace=args.replace)
    if args.json:
        print_json(answer.to_dict())
    else:
        _terminal.show(_text(answer), {r"^(currency) .*$": "bold"})
    return 0


def _text(answer: Valuation) -> str:
    from tokenmeter._support.logs import printable
    from tokenmeter._support.text_tables import table

    said = answer.to_dict()
    rows = [(one["currency"] or "?", one["ledger"], one["valued"]) for one in said["sums"]]
    statuses = ", ".join(f"{count} {status}" for status, count in said["statuses"].items())
    lines = [
        f"valuation {answer.name!r} by book {answer.book}: {said['calls']} calls ({statuses or 'none'}), "
        f"{answer.changed} cost another amount",
        "",
        table(("currency", "ledger", "valuation"), rows, right=("ledger", "valuation")),
    ]
    lines += [printable(f"{calls} calls are unpriced: {reason}") for reason, calls in said["unpriced"].items()]
    return "\n".join(lines)
