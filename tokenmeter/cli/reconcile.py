"""`tokenmeter reconcile spend.db BILL --provider deepseek`: compare a vendor's bill with a ledger, line by line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenmeter.cli import COMMANDS, _terminal
from tokenmeter.cli._flags import Paragraphs
from tokenmeter.cli._output import print_json
from tokenmeter.errors import ConfigurationError

if TYPE_CHECKING:
    import argparse

    from tokenmeter.ledger.bills.bill_format import BillFormat

_EPILOG = """\
BILL is a CSV, JSON or zip file as the vendor exports it, or a folder of them; several may be given.
every difference has one cause and its evidence; the causes sum to the gap exactly, and what no evidence explains is
 unexplained.
--save keeps the answer in the ledger's file: `report --format focus` then says what was billed, with tax, credits and
 packages as rows of their own.
exit status 1 says that some lines of the bill could not be read; they are named on standard error.
"""
_STYLES = {r"^(cause|layer|usage)  .*$": "bold", r"^unexplained\b": "yellow", r"^gap .*$": "bold", r"^note: .*$": "dim"}


def add_parser(subparsers: Any) -> None:
    """Describe the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "reconcile",
        help=COMMANDS["reconcile"],
        description="Why a vendor's bill differs from a ledger.",
        epilog=_EPILOG,
        formatter_class=Paragraphs,
    )
    parser.add_argument("ledger", help="the ledger file, or the URL of a fleet's database")
    parser.add_argument("bill", nargs="+", metavar="BILL", help="the vendor's export: files or folders")
    parser.add_argument("--provider", metavar="ID", help="who bills (default: the format's provider)")
    parser.add_argument("--format", metavar="NAME", help="the format of the bill (default: recognized by its columns)")
    parser.add_argument("--map", metavar="FILE", help="a format of your own, a TOML file: see docs/bills.md")
    parser.add_argument("--tz", metavar="ZONE", help="the clock of the bill's days (default: the format's)")
    parser.add_argument("--proposal", metavar="FILE", help="write the rates that the bill charged as a price file")
    parser.add_argument("--save", action="store_true", help="keep the answer in the ledger's file, for FOCUS exports")
    parser.add_argument("--invoice", metavar="ID", help="the vendor's number of the bill, with --save")
    parser.add_argument("--replace", action="store_true", help="with --save: in the place of a bill of the same days")
    parser.add_argument("--json", action="store_true", help="exact JSON")


def _provider(args: argparse.Namespace, form: BillFormat) -> str:
    from tokenmeter.providers.registry import load_providers

    name = args.provider or form.provider
    if name is None:
        raise ConfigurationError(f"--provider is missing: format {form.name} is of many vendors")
    found = load_providers().get(name)
    return name if found is None else found.id


def _format(args: argparse.Namespace) -> BillFormat:
    """The format asked for, or the one that has the columns of the bill; the provider's own first."""
    from tokenmeter.ledger.bills import bill_format
    from tokenmeter.ledger.bills.bill_files import open_bill
    from tokenmeter.ledger.bills.bill_lines import recognized
    from tokenmeter.providers.registry import load_providers

    if args.map:
        if args.format:
            raise ConfigurationError('--map and --format: give one of them (a map may say base = "focus")')
        if not Path(args.map).is_file():
            raise ConfigurationError(f"--map: there is no file {args.map}")
        return bill_format.read_format(Path(args.map))
    if args.format:
        return bill_format.load_format(args.format)
    forms = [bill_format.load_format(name) for name in bill_format.format_names()]
    found = None if args.provider is None else load_providers().get(args.provider)
    asked = args.provider if found is None else found.id
    forms.sort(key=lambda form: (form.provider != asked, form.provider is None))
    tables, _, _ = open_bill(args.bill)
    for form in forms:
        if (form.provider in (asked, None) or asked is None) and recognized(tables, form):
            return form
    own = [form for form in forms if form.provider == asked]
    if own:  # its reader says which column is missing
        return own[0]
    raise ConfigurationError(
        f"no format has the columns of this bill: name one of {', '.join(bill_format.format_names())} by --format, "
        "or describe yours by --map"
    )


def run(args: argparse.Namespace) -> int:
    """Compare, and show. Raises ConfigurationError, CatalogError or LedgerError with the remedy."""
    from tokenmeter.ledger.bills import screen
    from tokenmeter.ledger.bills.reconcile import reconcile
    from tokenmeter.ledger.opening import named
    from tokenmeter.prices.book import load_book

    for flag, given in (("--invoice", args.invoice), ("--replace", args.replace)):
        if given and not args.save:
            raise ConfigurationError(f"{flag} belongs to --save")
    form = _format(args)
    with _terminal.progress(f"reconciling {named(args.ledger)}"):
        answers = reconcile(args.ledger, args.bill, form, provider=_provider(args, form), book=load_book(), tz=args.tz)
    problems = answers[0].problems if answers else []
    if args.proposal:
        text = "\n".join(answer.proposal for answer in answers if answer.proposal is not None)
        Path(args.proposal).write_text(text, encoding="utf-8")
    if args.save:
        from tokenmeter.ledger.bills.saved import save_bills

        save_bills(args.ledger, answers, invoice=args.invoice, replace=args.replace)
    if args.json:
        print_json([answer.to_dict() for answer in answers])
    else:
        for answer in answers:
            _terminal.show(screen.as_text(answer, _terminal.columns()), _STYLES)
        for problem in problems:
            print(f"tokenmeter: {problem}", file=sys.stderr)
    return 1 if problems else 0
