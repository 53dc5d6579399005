"""`tokenmeter phoenix sync`: write prices of the book into Phoenix's model table, the only source of Phoenix's costs.

A sync changes only rows of an earlier sync, recognised by their names; rows of the user stay, and are reported where
they match the same models. The report names the prices left out, with reasons, and the calls whose cost a row does not
give as the vendor bills them. Phoenix does not reprice spans that it already has.

Called by `tokenmeter/cli/__init__.py`. `prices.py` decides which rows to write, `client.py` talks to Phoenix.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tokenmeter.cli import COMMANDS
from tokenmeter.cli._flags import Paragraphs
from tokenmeter.cli._output import print_json
from tokenmeter.errors import ConfigurationError

if TYPE_CHECKING:
    import argparse

    from tokenmeter.cli.phoenix.client import ModelRow, PhoenixTable, Refused
    from tokenmeter.cli.phoenix.prices import SyncPlan, WrittenModel
    from tokenmeter.exchange import ExchangeRates
    from tokenmeter.prices.book import Book
    from tokenmeter.settings import Settings

_ENDPOINT: Final = "PHOENIX_COLLECTOR_ENDPOINT"
_KEY: Final = "PHOENIX_API_KEY"
_EXCHANGE: Final = "TOKENMETER_EXCHANGE"
_LISTS: Final = "TOKENMETER_PRICE_LISTS"
_MODELS: Final = "TOKENMETER_MODELS"
_BARE_RATE: Final = re.compile(r"(=\s*[0-9.]+)\s*@")
_EPILOG: Final = """\
prices in dollars are written as they are; others only at a rate of yours, named with its day in the row's name.
left out is what has no one price per token: by the time of day, by the length of the request, per image. Phoenix
 tells who bills by the span's llm.provider: let programs send it with TOKENMETER_DIALECTS=openinference.
"""


def add_parser(subparsers: Any) -> None:
    """Describe the command and its own commands."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "phoenix", help=COMMANDS["phoenix"], description="Our prices in Phoenix's table of models."
    )
    commands = parser.add_subparsers(dest="what", metavar="WHAT", required=True)

    def command(name: str, text: str) -> argparse.ArgumentParser:
        added: argparse.ArgumentParser = commands.add_parser(
            name, help=text, description=text, epilog=_EPILOG, formatter_class=Paragraphs
        )
        added.add_argument(
            "--endpoint", metavar="URL", help=f"Phoenix's root (default: ${_ENDPOINT}, else http://127.0.0.1:6006)"
        )
        added.add_argument("--api-key", metavar="KEY", help=f"where Phoenix asks for one (default: ${_KEY})")
        added.add_argument("--provider", action="append", metavar="ID", help="only this provider (repeatable)")
        added.add_argument("--dry-run", action="store_true", help="say what would be done")
        added.add_argument("--json", action="store_true", help="exact JSON instead of text")
        return added

    sync = command("sync", "write the prices in force; a second time changes nothing")
    sync.add_argument("--at", metavar="TIME", help="prices of this instant (default: now)")
    sync.add_argument(
        "--rates", action="append", metavar="RATES",
        help=f"your dated rates: CNY=0.1400@2026-11-01 (dollars), repeatable, or a TOML file (default: ${_EXCHANGE})",
    )  # fmt: skip
    sync.add_argument(
        "--price-list", action="append", metavar="ID=CUR",
        help=f"which of a provider's own lists bills you, such as deepseek=USD (default: ${_LISTS})",
    )  # fmt: skip
    sync.add_argument(
        "--base-prices", action="store_true", help="also the base price of models priced by length or thinking"
    )
    command("remove", "take out every row that a sync made")


def run(args: argparse.Namespace) -> int:
    """Sync or remove, and print a report; 1 if Phoenix refused a row. Raises ConfigurationError with the remedy."""
    from tokenmeter.cli.phoenix.client import PhoenixTable
    from tokenmeter.cli.phoenix.prices import SyncPlan, plan
    from tokenmeter.prices.arguments import known_lists
    from tokenmeter.prices.book import load_book

    book = load_book()
    providers = _providers(args.provider, book)
    wanted, at = SyncPlan((), ()), None
    if args.what == "sync":
        from tokenmeter.otel.dialects import OPENINFERENCE_PROVIDERS

        at = _instant(args.at)
        wanted = plan(
            book.with_lists(known_lists(_setting(_LISTS, args.price_list).price_lists, book)),
            providers or book.providers,
            at,
            exchange=_exchange(args.rates),
            base_prices=args.base_prices,
            provider_names=OPENINFERENCE_PROVIDERS,
            own_names=_setting(_MODELS, None).models,
        )
    endpoint = args.endpoint or os.environ.get(_ENDPOINT) or "http://127.0.0.1:6006"
    table = PhoenixTable(endpoint, args.api_key or os.environ.get(_KEY))
    steps = _compare(wanted.written, table.rows(), providers)
    refused = [] if args.dry_run else _do(table, steps)
    if args.json:
        print_json(_as_json(args, at, book, wanted, steps, refused))
    else:
        print("\n".join(_as_text(args, at, book, wanted, steps, refused)))
    return 1 if refused else 0


# The request ---------------------------------------------------------------------------------------------


def _providers(given: Sequence[str] | None, book: Book) -> tuple[str, ...]:
    found = []
    for name in given or ():
        prices = book.provider_prices(name)
        if isinstance(prices, str):
            raise ConfigurationError(f"--provider: {prices}")
        found.append(prices.provider)
    return tuple(dict.fromkeys(found))


def _instant(text: str | None) -> datetime:
    from tokenmeter.prices.provider_prices import read_moment

    try:
        return read_moment(text, UTC)
    except ValueError as error:
        raise ConfigurationError(f"--at: {error}") from None


def _exchange(given: Sequence[str] | None) -> ExchangeRates | None:
    from tokenmeter.exchange import ExchangeRates

    place, text = ("--rates", ",".join(given)) if given else (_EXCHANGE, os.environ.get(_EXCHANGE, ""))
    # Phoenix knows no other currency, so USD may be left out.
    return ExchangeRates.of(_BARE_RATE.sub(r"\1USD@", text), place) if text.strip() else None


def _setting(variable: str, given: Sequence[str] | None) -> Settings:
    """Settings with one variable, read from flags or the environment as the SDK reads it."""
    from tokenmeter.settings import Settings

    return Settings.read({}, {variable: ",".join(given) if given else os.environ.get(variable, "")})


# The changes ---------------------------------------------------------------------------------------------


class Steps(NamedTuple):
    """Changes to Phoenix's table. `yours` are rows of the user that match models of the sync, with these models."""

    create: list[ModelRow]
    update: list[ModelRow]
    delete: list[ModelRow]
    right: list[ModelRow]
    yours: list[tuple[ModelRow, tuple[str, ...]]]


def _compare(wanted: Sequence[WrittenModel], there: Iterable[ModelRow], providers: Sequence[str]) -> Steps:
    """Changes from the rows in the table to the wanted ones, for these providers (none: all)."""
    from tokenmeter.cli.phoenix.prices import NAMED

    steps = Steps([], [], [], [], [])
    ours: dict[tuple[str, str], list[ModelRow]] = defaultdict(list)
    taken = set()
    for row in there:
        if row.built_in:
            continue
        found = NAMED.fullmatch(row.name)
        if found is None:
            taken.add((row.pattern, row.provider))
            if names := _matched(row, wanted):
                steps.yours.append((row, names))
        elif not providers or found["provider"] in providers:
            ours[found["provider"], found["model"]].append(row)
    for one in wanted:
        old = ours.pop((one.provider, one.model), [])
        steps.delete.extend(old[1:])
        if not old:
            if (one.row.pattern, one.row.provider) not in taken:  # Phoenix allows one row per pattern and provider
                steps.create.append(one.row)
        elif old[0].same(one.row):
            steps.right.append(old[0])
        else:
            steps.update.append(one.row._replace(id=old[0].id))
    steps.delete.extend(row for rows in ours.values() for row in rows)
    return steps


def _matched(row: ModelRow, wanted: Iterable[WrittenModel]) -> tuple[str, ...]:
    try:
        pattern = re.compile(row.pattern)
    except re.error:
        return ()
    return tuple(dict.fromkeys(name for one in wanted for name in one.names if pattern.search(name)))


def _do(table: PhoenixTable, steps: Steps) -> list[Refused]:
    # Deletions come first: a name may have moved from one model to another.
    return [*table.delete(steps.delete), *table.update(steps.update), *table.create(steps.create)]


# The report ---------------------------------------------------------------------------------------------------


def _as_json(
    args: argparse.Namespace,
    at: datetime | None,
    book: Book,
    wanted: SyncPlan,
    steps: Steps,
    refused: Sequence[Refused],
) -> dict[str, Any]:
    failed = {one.row.name for one in refused}

    def names(rows: Iterable[ModelRow]) -> list[str]:
        return [row.name for row in rows if row.name not in failed]

    return {
        "dry_run": args.dry_run,
        "at": None if at is None else at.isoformat(),
        "book": book.version,
        "created": names(steps.create),
        "updated": names(steps.update),
        "deleted": names(steps.delete),
        "unchanged": len(steps.right),
        "refused": [{"name": one.row.name, "reason": one.message} for one in refused],
        "unlike": [
            {"provider": one.provider, "model": one.model, "calls": list(one.unlike)}
            for one in wanted.written
            if one.unlike
        ],
        "left_out": [one._asdict() for one in wanted.left_out],
        "yours": [{"name": row.name, "pattern": row.pattern, "matches": list(names)} for row, names in steps.yours],
        "next_change": None if (change := _next_change(wanted)) is None else change.isoformat(),
    }


def _next_change(wanted: SyncPlan) -> datetime | None:
    return min((one.next_change for one in wanted.written if one.next_change is not None), default=None)


def _as_text(
    args: argparse.Namespace,
    at: datetime | None,
    book: Book,
    wanted: SyncPlan,
    steps: Steps,
    refused: Sequence[Refused],
) -> Iterable[str]:
    done = f"{len(steps.create)} created, {len(steps.update)} updated, {len(steps.delete)} deleted"
    done += f", {len(steps.right)} right as they were"
    yield f"{'would be: ' if args.dry_run else ''}{done}" + (
        "" if at is None else f"; prices of {at:%Y-%m-%d %H:%M} UTC, book {book.version}"
    )
    for one in refused:
        yield f"refused: {one.row.name}: {one.message}"
    for row, names in steps.yours:
        yield f"yours, left alone: {row.name!r} ({row.pattern}) is asked for {_some(names)} too"
    unlike = Counter(kind for model in wanted.written for kind in model.unlike)
    if unlike:
        yield "written, and not what these calls cost:"
        yield from (f"  {count:>5}  {kind}" for kind, count in unlike.most_common())
    reasons: dict[tuple[str, str], list[str]] = defaultdict(list)
    for left in wanted.left_out:
        reasons[left.why, left.remedy].append(left.model)
    if reasons:
        yield "left out; Phoenix goes by its own table there, or shows no cost:"
    for (why, remedy), models in sorted(reasons.items(), key=lambda item: -len(item[1])):
        yield f"  {len(models):>5}  {why} ({_some(models)})" + (f"; {remedy}" if remedy else "")
    change = _next_change(wanted)
    if change is not None:
        yield f"the book knows a price that begins on {change:%Y-%m-%d}: run this again then"
    if steps.create or steps.update:
        yield "spans that have arrived keep their cost; the table is read again within seconds"


def _some(given: Iterable[str]) -> str:
    names = list(dict.fromkeys(given))
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
