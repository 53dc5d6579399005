"""`tokenmeter top spend.db`: spend of the last minute, hour and day, refreshed while programs write the ledger."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from tokenmeter.cli import COMMANDS, _report_forms, _terminal
from tokenmeter.cli._flags import Paragraphs
from tokenmeter.errors import ConfigurationError, MissingExtra

if TYPE_CHECKING:
    from collections.abc import Callable

_EPILOG: Final = """\
minute, hour and 24 hours are the time before now; the line of hours has a mark for each of the last 24, newest right.
limits of budgets are read from --budgets or TOKENMETER_BUDGETS, their spend is the ledger's.
Ctrl-C ends it and gives the terminal back as it was. costs are rounded; tokenmeter report --json has them exactly.
"""
_SHARE: Final = 10
"""A look at the ledger takes at most one part in so many of the time."""


def add_parser(subparsers: Any) -> None:
    """Describe the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "top",
        help=COMMANDS["top"],
        description="Who spends what now, from a ledger that programs are writing.",
        epilog=_EPILOG,
        formatter_class=Paragraphs,
    )
    parser.add_argument(
        "ledger", nargs="?", help="the ledger file, or the URL of a fleet's database (default: $TOKENMETER_LEDGER)"
    )
    parser.add_argument("--by", metavar="KEYS", help="rankings, such as model,team (default: model and a tag)")
    parser.add_argument("--tz", metavar="ZONE", help="the clock of hours (default: this machine's)")
    parser.add_argument("--budgets", metavar="FILE", help="limits of budgets (default: $TOKENMETER_BUDGETS)")
    parser.add_argument("--interval", type=_seconds, default=2.0, metavar="SECONDS", help="between looks (default: 2)")
    parser.add_argument("--once", action="store_true", help="print one frame and end")


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0.1 <= value <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0.1 to 3600")
    return value


def run(args: argparse.Namespace) -> int:
    """Draw until interrupted. Raises ConfigurationError, LedgerError or MissingExtra with the remedy."""
    try:
        from rich.console import Console
    except ImportError:
        raise MissingExtra("top draws with rich", "cli") from None
    from tokenmeter.cli import _top_figures, _top_frame
    from tokenmeter.ledger.report import periods, query

    path = args.ledger or os.environ.get("TOKENMETER_LEDGER")
    if not path:
        raise ConfigurationError("which ledger? Name its file, or set TOKENMETER_LEDGER")
    if not args.once and not _terminal.is_terminal(sys.stdout):
        raise ConfigurationError("top draws on a terminal; for one frame in a file or a pipe add --once")
    question = query.Question(by=(), zone=periods.Zone.named(args.tz))
    keys = None if args.by is None else [key.strip() for key in args.by.split(",") if key.strip()]
    limits = _report_forms.limits(args.budgets)
    console = Console(highlight=False, emoji=False, markup=False)

    def frame(lines: int | None) -> Any:
        figures = _top_figures.look(path, question, keys, limits, datetime.now(UTC))
        return _top_frame.frame(figures, console.width, lines)

    if args.once:
        console.print(frame(None))
        return 0
    return _draw(console, frame, args.interval)


def _draw(console: Any, frame: Callable[[int], Any], interval: float) -> int:
    """Draw frames on the terminal's other screen, which ends with the program, whatever ends it."""
    from rich.live import Live

    first = frame(console.height)  # a ledger that cannot be read is said on the screen that stays
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    with Live(first, console=console, screen=True, auto_refresh=False) as live:
        live.refresh()
        took = 0.0
        while True:
            time.sleep(max(interval, took * _SHARE))
            began = time.perf_counter()
            live.update(_or_trouble(frame, console.height), refresh=True)
            took = time.perf_counter() - began


def _or_trouble(frame: Callable[[int], Any], lines: int) -> Any:
    """The frame, or why the ledger cannot be read at the moment."""
    import sqlite3

    from rich.text import Text

    from tokenmeter._support.logs import printable
    from tokenmeter.ledger.schema import LedgerError

    try:
        return frame(lines)
    except (LedgerError, sqlite3.Error) as error:
        return Text(f"{datetime.now(UTC):%H:%M:%S}Z  {printable(str(error))}", style="red")
