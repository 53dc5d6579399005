"""`tokenmeter prices why PROVIDER MODEL`: print the facts behind a price, with the verdict on each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenmeter.cli._output import print_json
from tokenmeter.errors import ConfigurationError

if TYPE_CHECKING:
    import argparse

    from tokenmeter.prices.book import Book
    from tokenmeter.prices.upkeep.evidence import JudgedFact

_HEADS = {
    "won": "won: gave a price of this rate",
    "agrees": "agree with it",
    "lost": "lost, each by its rule",
    "other days": "of other days",
}


def run(args: argparse.Namespace, book: Book) -> int:
    """Print the rate in force on each list and every fact. Raises ConfigurationError for what has no facts."""
    from tokenmeter.cli._rate_rows import row_of
    from tokenmeter.prices.provider_prices import read_moment
    from tokenmeter.prices.upkeep.evidence import why

    prices = book.provider_prices(args.of)
    if isinstance(prices, str):
        raise ConfigurationError(prices)
    try:
        moment = read_moment(args.at, prices.zone)
    except ValueError as error:
        raise ConfigurationError(f"--at: {error}") from None
    found = list(why(book, args.of, args.model, moment.timestamp()))
    if args.json:
        lists = [
            {
                "model": one.model,
                "list": one.list,
                "rate": None if one.rate is None else row_of(one.rate),
                "facts": [fact.to_dict() for fact in one.facts],
            }
            for one in found
        ]
        asked = {"provider": prices.provider, "model": args.model, "at": moment.isoformat(), "book": book.version}
        print_json({**asked, "lists": lists})
        return 0
    for one in found:
        print(f"{prices.provider} {one.model}, {one.list}, at {moment.isoformat(timespec='seconds')}")
        if one.rate is None:
            print("  no rate is in force")
        else:
            row = row_of(one.rate)
            seen = f", last seen {one.rate.last_seen()}" if one.rate.last_seen() else ""
            print(f"  {row['rate_id']} ({row['dating']}, {row['confidence']}{seen})")
            for name, price in row["prices"].items():
                print(f"    {name:<44} {price:>12}")
            if one.rate.withdrawn:
                print(f"    {one.rate.entry.get('source')}")
        for verdict, head in _HEADS.items():
            facts = [fact for fact in one.facts if fact.verdict == verdict]
            if facts:
                print(f"  {head} ({len(facts)})")
                print("\n".join(f"    {_line(fact)}" for fact in facts))
    return 0


def _line(fact: JudgedFact) -> str:
    days = f"{fact.first_seen or '?'}..{fact.last_seen or '?'}"
    starts = f" from {fact.starts}" if fact.starts else ""
    ends = f" until {fact.until}" if fact.until else ""
    decided = f" [decided: {'; '.join(fact.decided)}]" if fact.decided else ""
    return f"{fact.what} {fact.price}{starts}{ends}, seen {days}, {fact.source}: {fact.rule}{decided}"
