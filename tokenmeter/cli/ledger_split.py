"""`tokenmeter ledger split spend.db --by TAG --to FOLDER`: one file for each value of a tag, or each month."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tokenmeter.cli import _terminal
from tokenmeter.cli._flags import Paragraphs
from tokenmeter.cli._output import print_json

if TYPE_CHECKING:
    import argparse

    from tokenmeter.ledger.splitting import Part, Split

__all__ = ["add_action", "run"]

_SHOWN: Final = 20
_EPILOG = """\
each call goes into exactly one file; tokenmeter ledger merge FOLDER/*.db --to all.db is the way back. split.json in the
 folder says which file is whose. a split that was stopped goes on where it was.
"""


def add_action(actions: Any) -> None:
    """Describe the action; `actions` are the subparsers of `tokenmeter ledger`."""
    text = "split a ledger into files by a tag, such as tenant, or by month; the ledger stays as it is"
    parser: argparse.ArgumentParser = actions.add_parser(
        "split", help=text, description=text, epilog=_EPILOG, formatter_class=Paragraphs
    )
    parser.add_argument("ledger", metavar="FILE", help="the ledger file")
    parser.add_argument("--by", required=True, metavar="TAG", help="a tag, tag:NAME, or month")
    parser.add_argument("--to", required=True, metavar="FOLDER", help="a folder that is made, or is empty")
    parser.add_argument("--tz", metavar="ZONE", help="the clock of months (default: this machine's)")
    parser.add_argument("--json", action="store_true", help="exact JSON")


def run(args: argparse.Namespace) -> int:
    """Split. Raises ConfigurationError or LedgerError with the remedy."""
    from tokenmeter.ledger.report.periods import Zone
    from tokenmeter.ledger.splitting import split

    with _terminal.progress(f"splitting {args.ledger}"):
        done = split(args.ledger, args.to, args.by, Zone.named(args.tz))
    if args.json:
        print_json(done.to_dict())
    else:
        _terminal.show("\n".join(_said(done)), {})
    return 0


def _said(done: Split) -> list[str]:
    from tokenmeter._support.logs import printable

    calls = sum(one.calls for one in done.parts)
    rows = [f"{done.folder}: {calls:,} calls in {len(done.parts):,} files"]
    if done.went_on:
        rows[0] += f", {done.went_on:,} of which were there"
    rows += [f"  {one.file}: {printable(_part(one))}" for one in done.parts[:_SHOWN]]
    if len(done.parts) > _SHOWN:
        rows.append(f"  and {len(done.parts) - _SHOWN:,} more, see split.json")
    rows += [f"  a saved bill stays in the ledger alone: {printable(bill)}" for bill in done.left]
    return rows


def _part(part: Part) -> str:
    sums = ", ".join(f"{amount} {currency or '?'}" for currency, amount in part.sums.items()) or "no known cost"
    beside = [f"{number:,} {what}" for number, what in ((part.losses, "lost"), (part.bills, "saved bills")) if number]
    return "; ".join([f"{part.calls:,} calls, {sums}", *beside])
