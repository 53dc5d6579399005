"""`tokenmeter ledger close spend.db 2026-11`: seal a month of a ledger as Parquet with a manifest.

`cli/ledger.py` gives this action its place. With `--verify`, sealed months are checked instead, and calls that
arrived late for them are named.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenmeter.cli import _terminal
from tokenmeter.cli._flags import Paragraphs
from tokenmeter.cli._output import print_json
from tokenmeter.errors import ConfigurationError
from tokenmeter.money import plain

if TYPE_CHECKING:
    import argparse

    from tokenmeter.ledger.sealed.manifest import SealedMonth
    from tokenmeter.ledger.sealed.verify import Late, Verified

_EPILOG = """\
the files are calls-MONTH.parquet and calls-MONTH.json in the folder. they are never overwritten. the ledger keeps its
 calls; what arrives later for the month is late: --verify shows it.
tokenmeter report FOLDER answers from the sealed months, by DuckDB where it is installed.
"""


def add_action(actions: Any) -> None:
    """Describe the action; `actions` are the subparsers of `tokenmeter ledger`."""
    parser: argparse.ArgumentParser = actions.add_parser(
        "close",
        help="seal a month as Parquet with a manifest",
        description="Seal a month of a ledger, or check sealed months.",
        epilog=_EPILOG,
        formatter_class=Paragraphs,
    )
    parser.add_argument("ledger", help="the ledger file")
    parser.add_argument("month", nargs="?", metavar="MONTH", help="the month, such as 2026-11")
    parser.add_argument("--tz", metavar="ZONE", help="the clock of the month (default: this machine's)")
    parser.add_argument(
        "--folder", metavar="FOLDER", help="where sealed months are (default: `sealed` beside the file)"
    )
    parser.add_argument("--unfinished", action="store_true", help="seal a month that is not over yet")
    parser.add_argument("--verify", action="store_true", help="check sealed months, and show what arrived late")
    parser.add_argument("--json", action="store_true", help="exact JSON")


def run(args: argparse.Namespace) -> int:
    """Seal or check; 1 where a sealed month is not sound. Raises ConfigurationError or LedgerError with the remedy."""
    folder = args.folder or str(Path(args.ledger).with_name("sealed"))
    if args.verify:
        return _verify(args, folder)
    if args.month is None:
        raise ConfigurationError("which month? Write 2026-11, or --verify for those that are sealed")
    from tokenmeter.ledger.report.periods import Zone
    from tokenmeter.ledger.sealed.seal import close

    with _terminal.progress(f"sealing {args.month} of {args.ledger}"):
        sealed = close(args.ledger, args.month, Zone.named(args.tz), folder, unfinished=args.unfinished)
    if args.json:
        print_json(sealed.to_dict())
    else:
        print("\n".join(_sealed(sealed)))
    return 0


def _sealed(sealed: SealedMonth) -> list[str]:
    lost = sum(loss.calls for loss in sealed.losses)
    rows = [f"{sealed.path}: {sealed.rows:,} calls of {sealed.month} ({sealed.zone}), sha256 {sealed.sha256}"]
    rows += [f"  {plain(one.amount)} {one.currency or '?'} by {one.calls:,} calls" for one in sealed.sums]
    if sealed.unpriced:
        rows.append(f"  {sealed.unpriced:,} calls have no known cost")
    if lost:
        rows.append(f"  {lost:,} more calls were lost while the ledger could not be written")
    return rows


def _verify(args: argparse.Namespace, folder: str) -> int:
    from tokenmeter.ledger.sealed.manifest import named
    from tokenmeter.ledger.sealed.verify import late_calls, verify_sealed

    path = folder if args.month is None else str(Path(folder) / named(args.month))
    with _terminal.progress(f"checking {path}"):
        verified, late = verify_sealed(path), late_calls(args.ledger, path)
    if args.json:
        print_json([one.to_dict() | more.to_dict() for one, more in zip(verified, late, strict=True)])
    else:
        for one, more in zip(verified, late, strict=True):
            print("\n".join(_verified(one, more)))
    return 1 if any(one.problems for one in verified) else 0


def _verified(one: Verified, late: Late) -> list[str]:
    rows = [f"{one.month.path}: {'; '.join(one.problems) or 'sound'}"]
    for calls, what, sums in (
        (late.calls, "arrived late", late.amounts),
        (late.changed, "changed since", late.changes),
    ):
        if calls:
            amounts = ", ".join(f"{plain(amount)} {currency}" for currency, amount in sorted(sums.items()))
            rows.append(f"  {calls:,} calls {what}: {amounts or 'no known cost'}")
    return rows
