"""`tokenmeter budget`: what budgets stand at, whether a call would fit, and spend of programs without this library."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tokenmeter.cli import COMMANDS
from tokenmeter.cli._flags import whole
from tokenmeter.cli._output import print_json
from tokenmeter.errors import ConfigurationError

if TYPE_CHECKING:
    import argparse

    from tokenmeter.budgets.contract import BudgetStore
    from tokenmeter.budgets.lines import BudgetCounter, CallFacts
    from tokenmeter.budgets.status import BudgetStatus
    from tokenmeter.money import Money

_EPILOG: Final = """\
budgets are read from --budgets or TOKENMETER_BUDGETS (a TOML file), their spend
from --store or TOKENMETER_BUDGET_STORE (sqlite:PATH or redis://HOST:PORT/0).

exit status: 0 done, and for check: it fits; 1 it does not fit; 2 bad flags, or
the store cannot be reached.
"""
_DEADLINE: Final = 5.0


def add_parser(subparsers: Any) -> None:
    """Describe the command."""
    import argparse

    parser: argparse.ArgumentParser = subparsers.add_parser(
        "budget",
        help=COMMANDS["budget"],
        description="What budgets stand at, whether a call would fit, and charges by hand.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    show = actions.add_parser("show", help="limit, spent, held and left of every budget's current window")
    check = actions.add_parser("check", help="whether a call of an amount would fit now; exit status 1 if not")
    charge = actions.add_parser("charge", help="charge spend of a program that does not use this library")
    reset = actions.add_parser("reset", help="forget what a budget has spent")
    digest = actions.add_parser("digest", help="a day's spend by tag and what is unpriced, printed or sent; for cron")
    digest.add_argument("--ledger", required=True, metavar="FILE")
    digest.add_argument("--by", default="provider", metavar="KEY", help="a tag, provider, model ... (default provider)")
    digest.add_argument("--day", metavar="DATE", help="default: yesterday")
    digest.add_argument("--tz", metavar="ZONE", help="the clock of the day, such as Asia/Shanghai (default: UTC)")
    digest.add_argument("--to", action="append", default=[], metavar="URL", help="an address of Apprise; several times")
    digest.add_argument("--lang", choices=("en", "zh"), default="en")
    for one in (show, check, charge, reset):
        one.add_argument("--budgets", metavar="FILE", help="TOML file of budgets")
        one.add_argument("--store", metavar="URL", help="sqlite:PATH or redis://HOST:PORT/0")
        one.add_argument("--json", action="store_true", help="JSON instead of a table")
    for one in (check, charge):
        one.add_argument("--amount", metavar='"0.5 CNY"', help="what the call costs")
        one.add_argument("--tokens", type=whole, metavar="N", help="input and output tokens")
        one.add_argument("--provider", metavar="ID")
        one.add_argument("--model", metavar="NAME")
        one.add_argument("--tag", action="append", default=[], metavar="NAME=VALUE", help="may be given several times")
    charge.add_argument("--calls", type=whole, default=1, metavar="N", help="how many calls it was (default 1)")
    reset.add_argument("name", metavar="NAME", help="the name of a budget")
    reset.add_argument("--value", metavar="VALUE", help="of a budget with `each`: the value to forget (default: all)")


class _Open(NamedTuple):
    counters: tuple[BudgetCounter, ...]
    store: BudgetStore


def run(args: argparse.Namespace) -> int:
    """Run one action. Raises ConfigurationError for invalid flags and where the store cannot be reached."""
    from tokenmeter.budgets.contract import StoreError

    if args.action == "digest":
        return _digest(args)
    opened = _open(args)
    try:
        return {"show": _show, "check": _check, "charge": _charge, "reset": _reset}[args.action](args, opened)
    except StoreError as error:
        raise ConfigurationError(f"the budget store cannot be reached: {error}") from None
    finally:
        opened.store.close()


def _open(args: argparse.Namespace) -> _Open:
    from tokenmeter.budgets.budget_file import read_budgets
    from tokenmeter.budgets.fallback import FallbackStore
    from tokenmeter.budgets.lines import BudgetCounter
    from tokenmeter.budgets.stores import check_store, open_store

    path = args.budgets or os.environ.get("TOKENMETER_BUDGETS")
    address = args.store or os.environ.get("TOKENMETER_BUDGET_STORE")
    if not path:
        raise ConfigurationError("no budgets: give --budgets FILE, or set TOKENMETER_BUDGETS")
    if not address or address == "memory":
        raise ConfigurationError(
            "budgets in memory are known to their process alone: give --store sqlite:PATH or redis://HOST:PORT/0"
        )
    check_store(address, "--store")
    counters = tuple(BudgetCounter(budget) for budget in read_budgets(path, "--budgets") if budget.per != "scope")
    store = open_store(address, time.time_ns, deadline=_DEADLINE, opens=False)
    assert isinstance(store, FallbackStore)
    return _Open(counters, store.store)


def _facts(args: argparse.Namespace) -> CallFacts:
    from tokenmeter.budgets.lines import CallFacts

    pairs = [tag.partition("=") for tag in args.tag]
    wrong = [name for name, equals, _ in pairs if not equals]
    if wrong:
        raise ConfigurationError(f"--tag {wrong[0]!r} has no '='; write --tag team=search")
    tags = {name: value for name, _, value in pairs}
    return CallFacts("", args.provider, args.model, None, tags, None, stream=False)


def _money(args: argparse.Namespace) -> Money | None:
    from tokenmeter.budgets.limits import BudgetLimit
    from tokenmeter.money import Money

    if args.amount is None:
        return None
    limit = BudgetLimit.read(args.amount, "--amount")
    if not limit.is_money:
        raise ConfigurationError(f'--amount {args.amount!r}: give money, such as "0.5 CNY"; tokens go under --tokens')
    return Money(limit.amount(limit.units), limit.unit)


def _show(args: argparse.Namespace, opened: _Open) -> int:
    from tokenmeter.budgets.status import statuses

    found = statuses(opened.counters, opened.store)
    if args.json:
        print_json([status.to_dict() for status in found])
    else:
        _print(found)
    return 0


def _print(found: list[BudgetStatus]) -> None:
    from tokenmeter._support.text_tables import table
    from tokenmeter.money import plain

    if not found:
        print("no budget has been used yet")
        return
    rows = [
        (
            status.budget if status.value is None else f"{status.budget} {status.value}",
            status.window,
            *(plain(round(amount, 4)) for amount in (status.spent, status.held, status.left, status.limit)),
            status.unit,
            "never" if status.resets_at is None else status.resets_at.strftime("%m-%d %H:%MZ"),
        )
        for status in found
    ]
    lost = [status for status in found if status.lost_calls]
    print(
        table(
            ("budget", "window", "spent", "held", "left", "limit", "unit", "resets"),
            rows,
            right=("spent", "held", "left", "limit"),
        )
    )
    for status in lost:
        print(
            f"{status.budget}: {plain(status.lost)} {status.unit} of the spent was charged for {status.lost_calls}"
            " calls whose process vanished"
        )


def _check(args: argparse.Namespace, opened: _Open) -> int:
    """Print every budget that the call falls under and whether it fits."""
    from tokenmeter.budgets.limits import CALLS, TOKENS
    from tokenmeter.budgets.status import status_of

    facts, cost = _facts(args), _money(args)
    answers = []
    for counter in opened.counters:
        series = counter.series(facts)
        if series is None:
            continue
        status = status_of(counter, series, opened.store)
        unit = counter.limit.unit
        amount = cost.amount if cost is not None and cost.currency == unit else None
        asked = 1 if unit == CALLS else args.tokens if unit == TOKENS else amount
        fits = None if asked is None else bool(status.left >= asked and status.left > 0)
        answers.append({**status.to_dict(), "fits": fits})
    if args.json:
        print_json(answers)
    else:
        for one in answers:
            word = {True: "fits", False: "does not fit", None: f"not known: no amount in {one['unit']} is given"}
            print(f"{one['budget']}: {word[one['fits']]} ({one['left']} {one['unit']} left of {one['limit']})")
        if not answers:
            print("no budget is for this call")
    return 1 if any(one["fits"] is False for one in answers) else 0


def _charge(args: argparse.Namespace, opened: _Open) -> int:
    from tokenmeter.budgets.status import charge_by_hand

    cost = _money(args)
    if cost is None and args.tokens is None:
        raise ConfigurationError("nothing to charge: give --amount or --tokens")
    charged = charge_by_hand(
        opened.counters, opened.store, _facts(args), cost=cost, tokens=args.tokens, calls=args.calls
    )
    if args.json:
        print_json({"charged": charged})
    else:
        print(f"charged: {', '.join(charged)}" if charged else "no budget is for this call, or in its unit")
    return 0


def _reset(args: argparse.Namespace, opened: _Open) -> int:
    from tokenmeter.budgets.lines import SEPARATOR

    named = [counter for counter in opened.counters if counter.budget.name == args.name]
    if not named:
        names = ", ".join(counter.budget.name for counter in opened.counters)
        raise ConfigurationError(f"there is no budget {args.name!r}; there are {names}")
    series = [args.name]
    if named[0].budget.each is not None:
        series = opened.store.series(f"{args.name}{SEPARATOR}")
        if args.value is not None:
            series = [one for one in series if one == f"{args.name}{SEPARATOR}{args.value}"]
    for one in series:
        opened.store.reset(one)
    if args.json:
        print_json({"reset": [one.replace(SEPARATOR, " ") for one in series]})
    else:
        print(f"reset: {len(series)} counter{'s' if len(series) != 1 else ''} of {args.name}", file=sys.stdout)
    return 0


def _digest(args: argparse.Namespace) -> int:
    """Print the digest of a day, or send it; exit status 1 where an address did not take it."""
    from datetime import UTC, datetime, timedelta

    from tokenmeter.budgets.alerts import check_addresses, send
    from tokenmeter.ledger.report.digest import digest
    from tokenmeter.ledger.report.periods import Zone, parse_instant
    from tokenmeter.ledger.report.query import Question, ask

    zone = Zone.named(args.tz or "UTC")
    now = datetime.now(UTC)
    day = args.day or zone.local(now - timedelta(days=1)).date().isoformat()
    since = parse_instant(day, zone, now, flag="--day")
    after = (zone.local(since + timedelta(hours=26)).date()).isoformat()
    until = parse_instant(after, zone, now, flag="--day")
    report = ask(args.ledger, Question(by=(args.by,), zone=zone, since=since, until=until))
    title, text = digest(report, day, args.lang)
    if not args.to:
        print(title, text, sep="\n")
        return 0
    check_addresses(args.to, "--to")
    return 0 if send(args.to, title, text) else 1
