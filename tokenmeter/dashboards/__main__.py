"""`python -m tokenmeter.dashboards`: write the dashboard or the rules to standard output."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from typing import Any

from tokenmeter.dashboards.alerts import Limit, limit_of, rules
from tokenmeter.dashboards.plain_yaml import to_yaml
from tokenmeter.dashboards.spend_panels import ENGINES

__all__ = ["main"]

MISSING = (
    "the dashboard is built with Grafana's SDK: pip install 'tokenmeter-sdk[views]'"
    " (or take docs/grafana/{} from the repository)"
)


def _limit(text: str) -> Limit:
    try:
        return limit_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _dashboard(engine: str | None) -> dict[str, Any]:
    """The dashboard over metrics, or over the ledger in an engine."""
    if engine is None:
        from tokenmeter.dashboards.dashboard import build

        return build()
    from tokenmeter.dashboards.spend_dashboard import build as build_ledger

    return build_ledger(ENGINES[engine])


def main(argv: Sequence[str] | None = None) -> int:
    """Write the dashboard or the rules to standard output; exits with 2 for bad flags or a missing package."""
    parser = argparse.ArgumentParser(
        prog="python -m tokenmeter.dashboards", description="Views of tokenmeter's metrics."
    )
    commands = parser.add_subparsers(dest="view", required=True)
    commands.add_parser("dashboard", help="a Grafana dashboard over metrics, as JSON")
    ledger = commands.add_parser("ledger", help="a Grafana dashboard over the ledger of a fleet, as JSON")
    ledger.add_argument(
        "--engine", choices=ENGINES, default="postgresql", help="where the ledger is (default: postgresql)"
    )
    ruled = commands.add_parser("rules", help="recording and alert rules for Prometheus, as YAML")
    ruled.add_argument(
        "--limit", type=_limit, action="append", default=[], metavar="TEAM=AMOUNT:CURRENCY",
        help="alert when a team (*: any) spends more than this in the window; may be given again",
    )  # fmt: skip
    ruled.add_argument("--window", default="1h", help="the time in which a limit may be spent (default: 1h)")
    ruled.add_argument("--tag", default="team", help="the tag whose values the limits are for (default: team)")
    given = parser.parse_args(argv)
    if given.view in ("dashboard", "ledger"):
        engine = given.engine if given.view == "ledger" else None
        try:
            view = _dashboard(engine)
        except ImportError:
            parser.error(MISSING.format(f"{ENGINES[engine].uid if engine else 'tokenmeter'}.json"))
        text = json.dumps(view, indent=2, ensure_ascii=False) + "\n"
    else:
        try:
            view = rules(given.limit, window=given.window, by=given.tag)
        except ValueError as error:
            parser.error(f"--window: {error}")
        text = f"# Written by: python -m tokenmeter.dashboards {shlex.join(argv or sys.argv[1:])}\n{to_yaml(view)}"
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
