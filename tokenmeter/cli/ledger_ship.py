"""`tokenmeter ledger ship spend.db URL`: copy the calls of a file into the database of a fleet."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Final

from tokenmeter.errors import ConfigurationError

if TYPE_CHECKING:
    import argparse

    from tokenmeter.ledger.fleet.shipping import Shipped

__all__ = ["add_action", "run"]

_PAUSE: Final = 1.0  # seconds until the file is read again
_RETRY: Final = (1.0, 30.0)  # seconds until the first and between the last attempts where the server is away


def add_action(actions: Any) -> None:
    """Describe the action."""
    text = "ship the calls of a ledger into PostgreSQL or ClickHouse; goes on where it was, and doubles nothing"
    parser: argparse.ArgumentParser = actions.add_parser("ship", help=text, description=text)
    parser.add_argument("ledger", metavar="FILE", help="the ledger file")
    parser.add_argument("url", metavar="URL", help="postgresql://USER@HOST/DATABASE or clickhouse://USER@HOST/DATABASE")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--once", action="store_true", help="ship what is there, and end (the default)")
    how.add_argument("--follow", action="store_true", help="go on as the file grows, also after the server was away")
    parser.add_argument("--json", action="store_true", help="JSON")


def run(args: argparse.Namespace) -> int:
    """Ship. Status 1 where the database refused calls. Raises LedgerError and ConfigurationError with the remedy."""
    from tokenmeter.ledger.fleet.database import is_url
    from tokenmeter.ledger.fleet.shipping import Shipper

    if not is_url(args.url):
        raise ConfigurationError(
            f"{args.url} is not a database: write postgresql://USER@HOST/DATABASE or clickhouse://…"
        )
    if args.follow:
        return _follow(args)
    shipper = Shipper(args.ledger, args.url)
    try:
        done = shipper.ship()
    finally:
        shipper.close()
    _show(args, done)
    return 1 if done.refused else 0


def _show(args: argparse.Namespace, done: Shipped) -> None:
    from tokenmeter.cli._output import print_json
    from tokenmeter.ledger.fleet.database import shown

    for call in done.refused:
        print(f"refused: call {call.id}: {call.why}", file=sys.stderr)
    if args.json:
        refused = [{"id": call.id, "reason": call.why} for call in done.refused]
        counts = {"read": done.read, "new": done.new, "priced": done.priced, "losses": done.losses}
        print_json({**counts, "refused": refused})
    else:
        new = "" if done.new is None else f"{done.new:,} new calls of "
        print(f"{shown(args.url)}: {new}{done.read:,} read")


def _follow(args: argparse.Namespace) -> int:
    """Ship until interrupted."""
    from tokenmeter.ledger.fleet.database import FleetError
    from tokenmeter.ledger.fleet.shipping import Shipper
    from tokenmeter.ledger.fleet.source_file import FileReplacedError

    shipper: Shipper | None = None
    delay, said = _RETRY[0], ""
    while True:
        try:
            shipper = shipper or Shipper(args.ledger, args.url)
            busy = shipper.step()
            if said:
                print(f"{args.ledger} is shipped again", file=sys.stderr)
            delay, said = _RETRY[0], ""
            for call in shipper.done.refused:
                print(f"refused: call {call.id}: {call.why}", file=sys.stderr)
            shipper.done.refused.clear()
            if not busy:
                time.sleep(_PAUSE)
                shipper.file.check()
        except (FleetError, FileReplacedError) as error:
            if isinstance(error, FleetError) and not error.away:
                raise
            if shipper is not None:
                shipper.close()
                shipper = None
            if str(error) != said:
                print(f"{error}; trying again", file=sys.stderr)
            said = str(error)
            time.sleep(delay)
            delay = min(delay * 2, _RETRY[1])
