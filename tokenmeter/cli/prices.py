"""`tokenmeter prices`: list and show prices; the modules `_prices_…` have the other subcommands."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tokenmeter.cli import COMMANDS, _prices_export
from tokenmeter.cli._output import print_rows
from tokenmeter.cli._providers import providers_asked
from tokenmeter.cli._rate_rows import row_of, wanted
from tokenmeter.errors import ConfigurationError
from tokenmeter.money import plain

if TYPE_CHECKING:
    import argparse
    from datetime import datetime

    from tokenmeter.prices.book import Book
    from tokenmeter.prices.price_file import Rate

_EXPORT = "the book as a table of dated rates that SQL joins to calls: CSV or Parquet"


def add_parser(subparsers: Any) -> None:
    """Describe the command and its own commands."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "prices", help=COMMANDS["prices"], description="Look into the price book, compare, check and update it."
    )
    commands = parser.add_subparsers(dest="what", metavar="WHAT", required=True)

    def command(name: str, text: str) -> argparse.ArgumentParser:
        added: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
        added.add_argument("--json", action="store_true", help="exact JSON instead of a table")
        return added

    def narrow(added: argparse.ArgumentParser) -> None:
        added.add_argument("--provider", metavar="ID", help="only this provider")
        added.add_argument("--currency", metavar="CUR", help="only lists in this currency")

    listing = command("list", "every model with its prices in force")
    narrow(listing)
    listing.add_argument("--at", metavar="TIME", help="at this instant (default: now)")
    show = command("show", "the whole price card of a model, with conditions and sources")
    narrow(show)
    show.add_argument("model", metavar="MODEL")
    show.add_argument("--at", metavar="TIME", help="at this instant (default: now)")
    history = command("history", "every price a model has had")
    narrow(history)
    history.add_argument("model", metavar="MODEL")
    diff = command("diff", "what changed between two days or two books, and how much money that is")
    narrow(diff)
    what = "a day or instant; or a book: a data wheel or its folder, a checkout, `installed`"
    diff.add_argument("first", metavar="OLD", help=what)
    diff.add_argument("last", metavar="NEW", help="the same")
    diff.add_argument("--at", metavar="TIME", help="of two books: the prices at this instant (default: now)")
    diff.add_argument("--ledger", metavar="FILE", help="what the calls of this ledger cost by the one and by the other")
    check = command("check", "find what is wrong or odd in the book, or in price files of your own")
    check.add_argument("files", nargs="*", metavar="FILE", help="price files (default: the whole book)")
    check.add_argument("--provider", metavar="ID", help="only this provider")
    check.add_argument("--notices", action="store_true", help="show what may well be true but should be looked at")
    check.add_argument("--coverage", metavar="FACTS", help="which facts of this JSON Lines file the book reproduces")
    export = commands.add_parser("export", help=_EXPORT, description=_EXPORT)
    _prices_export.add_arguments(export)
    stale = command("stale", "prices in force that no source has shown for long, oldest first")
    narrow(stale)
    stale.add_argument(
        "--days",
        type=int,
        metavar="N",
        help="not seen for more than N days (default: each file's stale_after, else 180)",
    )
    why = command("why", "every fact behind a price: which won, which lost, and by which rule")
    why.add_argument("of", metavar="PROVIDER", help="who bills")
    why.add_argument("model", metavar="MODEL", help="the model, or a name of it")
    why.add_argument("--at", metavar="TIME", help="at this instant (default: now)")
    update = command("update", "take the newest book from pip's index, or check price files of your own into a folder")
    update.add_argument("--sha256", metavar="HEX", help="refuse what has not this published digest")
    update.add_argument("--sums", metavar="FILE", help="refuse a wheel whose digest is not in this list (SHA256SUMS)")
    update.add_argument(
        "--publisher", metavar="OWNER/REPOSITORY", help="refuse a wheel that its index says another made"
    )
    update.add_argument("--from", dest="source", metavar="FILE", help="no wheel: a price file or a folder of them")
    update.add_argument(
        "--to", metavar="FOLDER", help="keep the wheel there, uninstalled; of --from: the folder ($TOKENMETER_PRICES)"
    )


def run(args: argparse.Namespace) -> int:
    """Run one subcommand. Raises ConfigurationError or CatalogError with the remedy."""
    from tokenmeter.prices.book import load_book

    if args.what in ("check", "update"):
        from tokenmeter.cli import _prices_upkeep

        return _prices_upkeep.check(args) if args.what == "check" else _prices_upkeep.update(args)
    if args.what == "diff":
        from tokenmeter.cli import _prices_diff

        return _prices_diff.run(args)
    book = load_book()
    if args.what == "export":
        return _prices_export.run(args, book)
    if args.what == "why":
        from tokenmeter.cli import _prices_why

        return _prices_why.run(args, book)
    answers = {"list": _list, "show": _show, "history": _history, "stale": _stale}
    return answers[args.what](args, book)


def _instant(text: str | None, book: Book, provider: str, flag: str) -> datetime:
    from tokenmeter.prices.provider_prices import read_moment
    from tokenmeter.prices.upkeep.price_history import files_of

    try:
        return read_moment(text, files_of(book, provider)[0].zone)
    except ValueError as error:
        raise ConfigurationError(f"{flag}: {error}") from None


def _in_strings(value: Any) -> Any:
    """A price file's entry in the contract's JSON: numbers and days are plain strings."""
    if isinstance(value, Mapping):
        return {key: _in_strings(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_in_strings(item) for item in value]
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return plain(value)
    return value.isoformat() if isinstance(value, date) else value


def _list(args: argparse.Namespace, book: Book) -> int:
    from tokenmeter.prices.upkeep.price_history import in_force

    rates = [
        rate
        for provider in providers_asked(args, book)
        for rate in in_force(book, provider, _instant(args.at, book, provider, "--at").timestamp())
        if wanted(args, rate.list)
    ]
    if args.json:
        print_rows(map(row_of, rates))
        return 0
    for line in _listed(rates):
        print(line)
    by_list: dict[str, int] = {}
    for rate in rates:
        by_list[rate.list] = by_list.get(rate.list, 0) + 1
    counts = ", ".join(f"{count} in {name}" for name, count in sorted(by_list.items()))
    print(f"{len(rates)} models ({counts}); input, cache read, output per million; book {book.version}")
    return 0


def _listed(rates: list[Rate]) -> list[str]:
    """A table of rates; on a terminal names of models are cut to its width, elsewhere they are whole."""
    from tokenmeter._support.text_tables import cut, table
    from tokenmeter.cli import _terminal

    if not rates:
        return []
    shown = ("input", "cache_read", "output")
    rows = []
    for rate in rates:
        row = row_of(rate)
        prices = row["prices"]
        more = "+" if prices.keys() - set(shown) else ""
        rows.append([row["provider"], rate.model, rate.list, *(prices.get(name, "-") for name in shown), more])
    heads = ("provider", "model", "in", "input", "cached", "output", "")
    lines = table(heads, rows, right=("input", "cached", "output")).splitlines()
    too_wide = max(map(len, lines)) - _terminal.columns()
    if too_wide <= 0 or not _terminal.is_terminal(sys.stdout):
        return lines
    most = max(len(row[1]) for row in rows) - too_wide
    return table(heads, [[row[0], cut(row[1], most), *row[2:]] for row in rows], right=heads[3:6]).splitlines()


def _stale(args: argparse.Namespace, book: Book) -> int:
    from tokenmeter.prices.upkeep.price_history import files_of, in_force

    now = _instant(None, book, book.providers[0], "")
    found, undated = [], 0
    for provider in providers_asked(args, book):
        most = files_of(book, provider)[0].stale_after if args.days is None else args.days
        for rate in in_force(book, provider, now.timestamp()):
            seen = rate.last_seen()
            if not wanted(args, rate.list):
                continue
            undated += seen is None
            if seen is not None and (days := (now.date() - seen).days) > most:
                found.append({**row_of(rate), "last_seen": str(seen), "days": days})
    found.sort(key=lambda row: (-row["days"], row["provider"], row["model"]))
    if args.json:
        print_rows(found)
        return 0
    for row in found:
        print(f"{row['last_seen']} {row['days']:>5} days  {row['provider']:<20} {row['model']} {row['list']}")
    most = "their provider's limit" if args.days is None else f"{args.days} days"
    print(f"{len(found)} prices in force were not seen for more than {most}; of {undated} the last day is not known")
    return 0


def _named(args: argparse.Namespace, book: Book) -> Iterator[tuple[str, str]]:
    """Providers and names of the model: exact id or alias, else compared without case."""
    from tokenmeter.prices.model_names import ModelNames
    from tokenmeter.prices.upkeep.price_history import files_of

    found = False
    for provider in providers_asked(args, book):
        names = list(ModelNames(files_of(book, provider)).all())
        matches = [name for name in names if name == args.model] or [
            name for name in names if name.lower() == args.model.lower()
        ]
        for name in matches:
            found = True
            yield provider, name
    if not found:
        import difflib

        every = {name for provider in book.providers for name in ModelNames(files_of(book, provider)).all()}
        near = difflib.get_close_matches(args.model, every, n=5) or difflib.get_close_matches(
            args.model, every, n=3, cutoff=0.3
        )
        nearest = f"near names: {', '.join(near)}; " if near else ""
        raise ConfigurationError(f"no provider sells {args.model!r}; {nearest}tokenmeter prices list names every model")


def _show(args: argparse.Namespace, book: Book) -> int:
    from tokenmeter.prices.model_names import ModelNames
    from tokenmeter.prices.price_file import Validity
    from tokenmeter.prices.upkeep.price_history import files_of, in_force

    rows = []
    for provider, name in _named(args, book):
        instant = _instant(args.at, book, provider, "--at").timestamp()
        match = ModelNames(files_of(book, provider)).find(name, instant, Validity())
        rows += [
            {
                **row_of(rate),
                "asked": name,
                "entry": rate.entry,
                "flags": list(rate.flags(instant, 0, rate.file.stale_after)),
            }
            for rate in in_force(book, provider, instant)
            if match is not None and rate.model == match.model and wanted(args, rate.list)
        ]
    if args.json:
        print_rows([{**row, "entry": _in_strings(row["entry"])} for row in rows])
        return 0
    for row in rows:
        entry = row["entry"]
        other = "" if row["asked"] == row["model"] else f" (asked as {row['asked']})"
        print(f"{row['provider']} {row['model']}{other}, {row['list']} per million unless its name says otherwise")
        for name, price in row["prices"].items():
            print(f"  {name:<50} {price:>12}")
        print(f"  {row['dating']} since {row['effective_from']}, {row['confidence']}, {row['rate_id']}")
        for key in ("until", "observed", "review_by", "note", "source"):
            if key in entry:
                value = entry[key]
                print(f"  {key}: {'; '.join(map(str, value)) if isinstance(value, list) else value}")
    if not rows:
        print(f"{args.model}: no rate is in force at that instant; see `tokenmeter prices history`")
    return 0


def _history(args: argparse.Namespace, book: Book) -> int:
    from tokenmeter.prices.upkeep.price_history import component_prices, histories, percent

    runs = [
        run
        for provider, name in _named(args, book)
        for run in histories(book, provider, name)
        if wanted(args, run[0].list)
    ]
    if args.json:
        print_rows(row_of(rate) for run in runs for rate in run)
        return 0
    for run in runs:
        print(f"{run[0].file.provider} {run[0].model}, {run[0].list}")
        was: dict[str, str] = {}
        for rate in run:
            now = component_prices(rate)
            since = "since ever" if rate.starts_at is None else rate.starts_at.strftime("%Y-%m-%d %H:%M")
            until = "" if rate.dating != "open" else f" (known until {rate.entry['until']})"
            print(f"  {since:<16}  {rate.dating:<8} {rate.confidence or '-'}{until}")
            for name in dict.fromkeys([*now, *was]):
                change = percent(was.get(name), now.get(name)) if was.get(name) != now.get(name) else ""
                print(f"    {name:<48} {now.get(name, 'gone'):>10} {change:>8}".rstrip())
            was = now
    return 0
