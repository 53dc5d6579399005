"""`tokenmeter report spend.db --by model,team`: sum the costs of a ledger by model, tag, day …

`cli/_report_forms.py` writes the answer in the form that was asked for.
"""

from __future__ import annotations

import argparse
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tokenmeter.cli import COMMANDS, _report_forms, _terminal
from tokenmeter.cli._flags import Paragraphs
from tokenmeter.errors import ConfigurationError

if TYPE_CHECKING:
    from tokenmeter.ledger.report.conversion import Conversion
    from tokenmeter.ledger.report.question import Question

_EXCHANGE = "TOKENMETER_EXCHANGE"
_EPILOG = """\
group by provider, model, request_model, response_model, api, operation, host, region, service_tier, status,
 source, end, currency, scope, scope_run, list, rate_id, book, dating, confidence, cost_source, covered_by, error_type,
 response_id, trace, reason, stream, charge.component, hour, day, week, month, or any tag by its name (tag:NAME for one
 named like these).
--where takes comparisons (= != < <= > >=, in (…), like, is null) of these names and of cost, vendor_cost, list_cost,
 duration, time_to_first_chunk, attempts, status_code and tokens, joined by and, or, not: 'cost > 0.05 and team = ads'.
--stat takes sum, min, median, max and p0 to p100 of the cost of a call, or of another number: p95:duration,
 sum:cache_saved. A percentile is the value of one call.
--compare previous|2026-10|TIME..TIME shows each group's change, and what it comes from: volume, price, cache, mix.
--format focus writes FOCUS rows (FinOps Open Cost and Usage Specification) as CSV, to FILE.parquet as Parquet.
--format html writes one page with charts, which needs no script and no network; each key of --by is drawn over time.
a call belongs to the period in which it ended. costs are exact in --json and --csv, rounded in the table.
--convert shows sums in one more currency, at your own dated rates, beside the original: each call at the last rate
 on or before the day, by UTC, on which it ended.
"""


def add_parser(subparsers: Any) -> None:
    """Describe the command."""

    parser: argparse.ArgumentParser = subparsers.add_parser(
        "report",
        help=COMMANDS["report"],
        description="Who spent what, from a ledger.",
        epilog=_EPILOG,
        formatter_class=Paragraphs,
    )
    parser.add_argument(
        "ledger", nargs="?", help="the ledger file, or postgresql://… or clickhouse://… (default: $TOKENMETER_LEDGER)"
    )
    parser.add_argument("--by", metavar="KEYS", help="group keys, such as model,team,day (default: provider,model)")
    parser.add_argument("--since", metavar="TIME", help="7d, 24h, 2026-11, 2026-11-01 or RFC 3339; included")
    parser.add_argument("--until", metavar="TIME", help="the same forms; not included")
    parser.add_argument("--provider", action="append", default=[], metavar="ID", help="only this provider (repeatable)")
    parser.add_argument("--model", action="append", default=[], metavar="NAME", help="only this model (repeatable)")
    parser.add_argument("--tag", action="append", default=[], metavar="KEY=VALUE", help="only calls so tagged")
    parser.add_argument("--tz", metavar="ZONE", help="the clock of days and dates (default: this machine's)")
    parser.add_argument("--convert", metavar="CURRENCY", help="show costs in this currency too, at your own rates")
    parser.add_argument(
        "--rates",
        metavar="RATES",
        help="your rates: a TOML file or CNY=0.1400USD@2026-11-01 (default: $TOKENMETER_EXCHANGE)",
    )
    parser.add_argument("--where", metavar="EXPR", help="only calls of which this holds, such as 'duration > 30'")
    parser.add_argument("--sort", metavar="KEY", help="order of rows: a number or a group key, with :asc or :desc")
    parser.add_argument("--top", type=_rows, metavar="N", help="only the first N rows of each currency")
    parser.add_argument("--stat", default="", metavar="STATS", help="statistics per call, such as p50,p95,max")
    parser.add_argument("--compare", metavar="PERIOD", help="beside an earlier period: previous, 2026-10, TIME..TIME")
    _report_forms.add_arguments(parser)


def _rows(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 10 and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of rows")
    return int(text)


def _tag(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ConfigurationError(f"--tag: {text!r} is not KEY=VALUE")
    return key, value


def _conversion(args: argparse.Namespace) -> Conversion | None:
    if not args.convert:
        if args.rates:
            raise ConfigurationError("--rates: say into which currency with --convert")
        return None
    from tokenmeter.exchange import ExchangeRates
    from tokenmeter.ledger.report.conversion import Conversion

    place, given = ("--rates", args.rates) if args.rates else (_EXCHANGE, os.environ.get(_EXCHANGE, ""))
    if not given.strip():
        raise ConfigurationError("--convert needs --rates or TOKENMETER_EXCHANGE: no exchange rate is assumed")
    return Conversion(args.convert.upper(), ExchangeRates.of(given, place))


def run(args: argparse.Namespace) -> int:
    """Query the ledger, also while it is written. Raises ConfigurationError or LedgerError with the remedy."""
    from tokenmeter.ledger.fleet.database import is_url
    from tokenmeter.ledger.report import order, periods, query, stats, where

    path = args.ledger or os.environ.get("TOKENMETER_LEDGER")
    if not path:
        raise ConfigurationError("which ledger? Name its file, or set TOKENMETER_LEDGER")
    zone = periods.Zone.named(args.tz)
    now = datetime.now(UTC)
    since, until = (
        None if text is None else periods.parse_instant(text, zone, now, flag=flag)
        for text, flag in ((args.since, "--since"), (args.until, "--until"))
    )
    if since is not None and until is not None and since >= until:
        raise ConfigurationError(f"--until: {args.until} is not after --since {args.since}")
    by = "provider,model" if args.by is None else args.by
    question = query.Question(
        by=tuple(dict.fromkeys(key.strip() for key in by.split(",") if key.strip())),
        zone=zone,
        since=since,
        until=until,
        providers=tuple(args.provider),
        models=tuple(args.model),
        tags=tuple(map(_tag, args.tag)),
        conversion=_conversion(args),
        where=None if args.where is None else where.parse(args.where),
        stats=stats.parse_stats(args.stat),
    )
    form = _report_forms.chosen(args)
    if form == "focus":
        return _report_forms.focus(args, path, question)
    if form == "html":
        return _report_forms.page(args, path, question, now)
    if is_url(path):
        return _fleet(args, path, question, form, now)
    with _terminal.progress(f"adding up {path}"):
        answer = query.ask(path, question)
        if args.compare:
            from tokenmeter.ledger.report import compare

            answer = compare.compare(answer, *compare.earlier(args.compare, question, now))
    return _report_forms.write(args, form, order.ordered(answer, args.sort, args.top))


def _fleet(args: argparse.Namespace, url: str, question: Question, form: str, now: datetime) -> int:
    """Answer from the database of a fleet."""
    from tokenmeter.ledger.fleet import database, reports
    from tokenmeter.ledger.report import compare, order

    with _terminal.progress(f"adding up {database.shown(url)}"):
        answer = reports.ask(url, question)
        if args.compare:
            answer = reports.compare(url, answer, *compare.earlier(args.compare, question, now))
    return _report_forms.write(args, form, order.ordered(answer, args.sort, args.top))
