"""The forms of `tokenmeter report`: table, JSON, CSV, Markdown, Parquet, FOCUS rows, a page; to a file if named."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, cast

from tokenmeter.cli import _terminal
from tokenmeter.cli._output import to_json
from tokenmeter.errors import ConfigurationError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from datetime import datetime

    from tokenmeter.budgets.limits import BudgetLimit
    from tokenmeter.ledger.report.query import LedgerReport, Question

__all__ = ["add_arguments", "chosen", "focus", "limits", "page", "write"]

FORMS: Final = ("table", "json", "csv", "md", "parquet", "focus", "html")
_STYLES: Final = {
    r"^(?=.*  cost  ).*$": "bold",  # the heads
    r"^total.*$": "bold",
    r"\bunpriced\b(?!:)|(?<= )\?(?= |$)|(?<=[0-9])\+": "yellow",
    r"^unpriced calls, by reason:$": "yellow",
    r"^(left out|names are cut) .*$": "dim",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags that choose the form."""
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--format", choices=FORMS, metavar="FORM", help=f"{', '.join(FORMS)} (default: table)")
    form.add_argument("--json", action="store_true", help="exact JSON: --format json")
    form.add_argument("--csv", action="store_true", help="exact CSV, without totals: --format csv")
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="write to a file; FILE.parquet is Parquet, FILE.html a page"
    )
    parser.add_argument("--focus", choices=("1.4", "1.2"), help="version of FOCUS (default: 1.4)")
    parser.add_argument("--charge-period", choices=("day", "hour"), help="period of a FOCUS row (default: day)")
    parser.add_argument(
        "--focus-tags", metavar="KEYS", help="tags that keep FOCUS rows apart (default: all of few values)"
    )
    parser.add_argument("--lang", choices=("en", "zh"), help="language of the page (default: en)")
    parser.add_argument("--budgets", metavar="FILE", help="limits on the page (default: $TOKENMETER_BUDGETS)")


def chosen(args: argparse.Namespace) -> str:
    """The form; raises ConfigurationError where flags contradict each other."""
    parquet = args.output is not None and args.output.endswith(".parquet")
    given = args.format or ("json" if args.json else "csv" if args.csv else None)
    page = args.output is not None and args.output.endswith((".html", ".htm"))
    form = given or ("focus" if args.focus else "parquet" if parquet else "html" if page else "table")
    only_focus = {"--focus": args.focus, "--charge-period": args.charge_period, "--focus-tags": args.focus_tags}
    for flag, value in only_focus.items():
        if value is not None and form != "focus":
            raise ConfigurationError(f"{flag} belongs to --format focus")
    for flag, value in {"--lang": args.lang, "--budgets": args.budgets}.items():
        if value is not None and form != "html":
            raise ConfigurationError(f"{flag} belongs to --format html")
    without_focus = {"--stat": args.stat, "--compare": args.compare, "--top": args.top, "--sort": args.sort}
    for flag, value in without_focus.items():
        if value and form == "focus":
            raise ConfigurationError(f"{flag} has no meaning with --format focus, which writes charges")
        if value and form == "html" and flag != "--compare":
            raise ConfigurationError(f"{flag} has no meaning with --format html, whose charts are always the same")
    if form == "focus" and args.convert:
        raise ConfigurationError("--convert has no meaning with --format focus: charges are in the provider's currency")
    if form == "html" and args.convert:
        raise ConfigurationError("--convert has no meaning with --format html: each currency has charts of its own")
    if parquet and form not in ("parquet", "focus"):
        raise ConfigurationError(f"--output {args.output}: --format {form} is not Parquet; name another file")
    return str(form)


def write(args: argparse.Namespace, form: str, answer: LedgerReport) -> int:
    """Write a report in a form."""
    from tokenmeter.ledger.report import flat, markdown, render, screen

    if form == "parquet":
        with _binary(args) as target:
            flat.to_parquet(answer, target)
    elif form == "table" and args.output is None:
        _terminal.show(screen.as_text(answer, _terminal.columns()), _STYLES)
    else:
        texts = {
            "table": lambda: screen.as_text(answer) + "\n",
            "json": lambda: to_json(render.as_json(answer), indent=2) + "\n",
            "csv": lambda: render.as_csv(answer),
            "md": lambda: markdown.as_markdown(answer),
        }
        with _text(args) as target:
            target.write(texts[form]())
    return 0


def focus(args: argparse.Namespace, path: str, question: Question) -> int:
    """Write the charges as FOCUS rows; standard error says which calls have none."""
    from tokenmeter.ledger.focus import charges, columns, files
    from tokenmeter.ledger.opening import named

    tags = None if args.focus_tags is None else [tag.strip() for tag in args.focus_tags.split(",") if tag.strip()]
    version = args.focus or columns.VERSIONS[0]
    with _terminal.progress(f"reading charges of {named(path)}"):
        export = charges.export(path, question, period=args.charge_period or "day", tags=tags)
    if args.output is not None and args.output.endswith(".parquet"):
        with _binary(args) as binary:
            files.to_parquet(export, version, binary)
    else:
        with _text(args) as target:
            target.writelines(files.lines(export, version))
    if export.left_tags:
        names = ", ".join(map(repr, export.left_tags))
        print(
            f"tags of many values are left out, sums are the same: {names} (--focus-tags KEYS names tags)",
            file=sys.stderr,
        )
    if export.left_out:
        print(f"{export.left_out:,} calls have no known cost and no row:", file=sys.stderr)
        for reason, calls in export.unpriced:
            print(f"  {calls:,}: {reason or 'no reason was recorded'}", file=sys.stderr)
    if export.lost:
        print(f"{export.lost:,} calls were lost while the ledger could not be written", file=sys.stderr)
    return 0


def page(args: argparse.Namespace, path: str, question: Question, now: datetime) -> int:
    """Write the page. Raises ConfigurationError for a key that cannot be drawn, and for an unreadable budgets file."""
    from tokenmeter.ledger.opening import named
    from tokenmeter.ledger.page import document, figures, words
    from tokenmeter.ledger.report.compare import earlier
    from tokenmeter.ledger.report.selection import snapshot

    keys = None if args.by is None else question.by
    before = earlier(args.compare, question, now) if args.compare else None
    since, until = question.since, question.until
    if before is not None:
        since, until = (
            None if since is None else min(since, before[0]),
            None if until is None else max(until, before[1]),
        )
    with _terminal.progress(f"drawing {named(path)}"), snapshot(path, since, until) as held:
        found = figures.gather(held, question, keys, limits(args.budgets), before)
    with _text(args) as target:
        target.write(document.page(found, words.Words(args.lang or "en"), now))
    return 0


def limits(path: str | None) -> dict[str, BudgetLimit]:
    """The limit of each budget of a file, by default of TOKENMETER_BUDGETS. Raises ConfigurationError."""
    path = path or os.environ.get("TOKENMETER_BUDGETS")
    if not path:
        return {}
    from tokenmeter.budgets.budget_file import read_budgets
    from tokenmeter.budgets.lines import BudgetCounter

    return {budget.name: BudgetCounter(budget).limit for budget in read_budgets(path, "--budgets")}


@contextmanager
def _text(args: argparse.Namespace) -> Iterator[IO[str]]:
    if args.output is None:
        yield sys.stdout
        return
    with _writable(args.output) as path, path.open("w", encoding="utf-8", newline="") as file:
        yield file


@contextmanager
def _binary(args: argparse.Namespace) -> Iterator[IO[bytes]]:
    if args.output is None:
        if sys.stdout.isatty():
            raise ConfigurationError("Parquet is not for a terminal: add --output FILE.parquet, or pipe it")
        yield cast("IO[bytes]", sys.stdout.buffer)
        return
    with _writable(args.output) as path, path.open("wb") as file:
        yield file


@contextmanager
def _writable(name: str) -> Iterator[Path]:
    """The file to write. Raises ConfigurationError for one that cannot be, or is a ledger: no answer replaces one."""
    path = Path(name)
    try:
        if path.is_file():
            with path.open("rb") as file:
                if file.read(16) == b"SQLite format 3\0":
                    raise ConfigurationError(f"--output {name} is an SQLite file, perhaps a ledger: name another file")
        yield path
    except OSError as error:
        raise ConfigurationError(f"--output {name}: {error.strerror or error}") from None
