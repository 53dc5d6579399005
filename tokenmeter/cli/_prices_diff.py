"""`tokenmeter prices diff OLD NEW`: print what changed between two days or two books, and how much money that is."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tokenmeter.cli._output import print_rows
from tokenmeter.errors import ConfigurationError
from tokenmeter.money import plain

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence
    from decimal import Decimal

    from tokenmeter.prices.book import Book
    from tokenmeter.prices.upkeep.money_at_risk import Difference
    from tokenmeter.prices.upkeep.price_history import PriceChange

INSTALLED: Final = "installed"


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison: a book at an instant; `at` is None where each call keeps its own."""

    book: Book
    at: str | None

    def instant(self, provider: str, flag: str) -> float:
        """The instant of the prices compared, in the provider's zone for a bare day."""
        from tokenmeter.prices.provider_prices import read_moment

        prices = self.book.provider_prices(provider)
        try:
            return read_moment(self.at, _utc() if isinstance(prices, str) else prices.zone).timestamp()
        except ValueError as error:
            raise ConfigurationError(f"{flag}: {error}") from None


def run(args: argparse.Namespace) -> int:
    """Print the changes. Raises ConfigurationError for what is neither time nor book, CatalogError for a bad one."""
    from tokenmeter.cli._rate_rows import wanted
    from tokenmeter.prices.upkeep.money_at_risk import by_calls, by_typical_use, typical_spend
    from tokenmeter.prices.upkeep.price_history import changes, in_force

    with contextlib.ExitStack() as unpacked:
        old, new = (_side(text, args.at, unpacked) for text in (args.first, args.last))
        providers = _providers(args, old.book, new.book)
        found = [
            change
            for provider in providers
            for change in changes(
                provider,
                (old.book, old.instant(provider, "OLD")),
                (new.book, new.instant(provider, "NEW")),
            )
            if wanted(args, change.list)
        ]
        typical = by_typical_use(
            ((one.provider, one.model, one.list) for one in found), (old.book, old.at), (new.book, new.at)
        )
        sold = (
            (provider, rate.model, rate.list)
            for provider in providers
            if found and provider in old.book.providers
            for rate in in_force(old.book, provider, old.instant(provider, "OLD"))
            if wanted(args, rate.list)
        )
        whole = typical_spend(sold, (old.book, old.at))
        spent = None
        if args.ledger:
            from tokenmeter.ledger.report.priced_calls import priced_calls

            spent = [
                one
                for one in by_calls(priced_calls(args.ledger), (old.book, old.at), (new.book, new.at))
                if args.provider in (None, one.provider) and wanted(args, one.currency or "")
            ]
        if args.json:
            print_rows(_rows(found, typical, whole, spent))
        else:
            _print(args, found, typical, whole, spent)
    return 0


def _utc() -> Any:
    from datetime import UTC

    return UTC


def _side(text: str, at: str | None, unpacked: contextlib.ExitStack) -> Side:
    from tokenmeter.prices.book import Book, load_book

    path = Path(text)
    if text == INSTALLED:
        return Side(load_book(), at)
    if path.suffix == ".whl" and path.exists():
        import tempfile

        from tokenmeter.prices.upkeep.data_release import book_of_wheel

        folder = unpacked.enter_context(tempfile.TemporaryDirectory(prefix="tokenmeter-prices-"))
        return Side(Book(book_of_wheel(path, Path(folder))), at)
    if path.is_dir():
        for root in (path, path / "tokenmeter", path / "tokenmeter_prices"):
            if (root / "prices" / "data").is_dir() or (root / "_compiled" / "book.json").exists():
                return Side(Book(root), at)
    if path.exists():
        return Side(load_book().with_overlay(path), at)
    return Side(load_book(), text)


def _providers(args: argparse.Namespace, *books: Book) -> Sequence[str]:
    if args.provider is None:
        return sorted({provider for book in books for provider in book.providers})
    for book in books:
        prices = book.provider_prices(args.provider)
        if not isinstance(prices, str):
            return (prices.provider,)
    raise ConfigurationError(f"--provider: {prices}")


def _rows(
    found: list[PriceChange],
    typical: list[Difference],
    whole: Mapping[str, Decimal],
    spent: list[Difference] | None,
) -> Iterator[dict[str, Any]]:
    from tokenmeter.prices.upkeep.price_history import percent

    by_model = {(one.provider, one.model, one.currency): one for one in spent or ()}
    for change, usual in zip(found, typical, strict=True):
        money = by_model.pop((change.provider, change.model, change.list), None)
        yield {
            "provider": change.provider,
            "model": change.model,
            "list": change.list,
            "since": None if change.since is None else change.since.isoformat(),
            "dating": change.dating,
            "changes": [
                {"component": name, "before": before, "after": after, "percent": percent(before, after) or None}
                for name, before, after in change.prices
            ],
            "typical": {**_money(usual), "share": _share(usual, whole)},
            **({} if spent is None else {"ledger": None if money is None else _money(money)}),
        }
    # Calls of other days, on which the books differ too.
    for (provider, model, currency), money in by_model.items():
        if money.differs:
            none: dict[str, Any] = {"since": None, "dating": None, "changes": [], "typical": None}
            yield {"provider": provider, "model": model, "list": currency, **none, "ledger": _money(money)}


def _money(one: Difference) -> dict[str, Any]:
    return {
        "calls": one.calls,
        "before": _exact(one.before),
        "after": _exact(one.after),
        "difference": _exact(one.difference),
        "unpriced_before": one.unpriced_before,
        "unpriced_after": one.unpriced_after,
    }


def _share(one: Difference, whole: Mapping[str, Decimal]) -> str | None:
    """What differs, as a share of what typical use of all models on its list costs."""
    spent = whole.get(one.currency or "")
    return None if not spent else f"{one.at_risk / spent:.6f}"


def _exact(amount: Decimal | None) -> str | None:
    return None if amount is None else plain(amount)


def _print(
    args: argparse.Namespace,
    found: list[PriceChange],
    typical: list[Difference],
    whole: Mapping[str, Decimal],
    spent: list[Difference] | None,
) -> None:
    from tokenmeter.prices.upkeep.money_at_risk import CALLS, TYPICAL, totals
    from tokenmeter.prices.upkeep.price_history import percent

    for change, usual in zip(found, typical, strict=True):
        since = "" if change.since is None else f" {change.since:%Y-%m-%d} ({change.dating})"
        print(f"{change.provider} {change.model} [{change.list}]{since}")
        for name, before, after in change.prices:
            print(f"    {name:<44} {before or 'new':>10} -> {after or 'gone':<10} {percent(before, after)}".rstrip())
        if usual.before is not None and usual.after is not None and usual.differs:
            shown = percent(plain(usual.before), plain(usual.after))
            print(f"    {'a typical million tokens':<44} {plain(usual.before):>10} -> {plain(usual.after):<10} {shown}")
    print(f"{len(found)} models changed between {args.first} and {args.last}")
    if found:
        shape = f"{CALLS} calls of {TYPICAL.input_tokens:,} in and {TYPICAL.output_tokens:,} out"
        print(f"a typical million tokens: {shape}, nothing cached")
        for total in totals(one for one in typical if one.before is not None and one.after is not None):
            if share := _share(total, whole):
                print(f"at risk if every model were used alike: {float(share):.2%} of spend in {total.currency}")
    for one in spent or ():
        if one.differs:
            print(
                f"{one.provider} {one.model}: {one.calls:,} calls {_exact(one.before) or 'unpriced'} -> "
                f"{_exact(one.after) or 'unpriced'} {one.currency}"
            )
    if spent is not None:
        for total in totals(spent):
            moved = percent(_exact(total.before), _exact(total.after)) or "0%"
            sums = f"{_exact(total.before)} -> {_exact(total.after)} {total.currency} ({moved})"
            print(f"{args.ledger}: {total.calls:,} calls, {sums}; at risk {plain(total.at_risk)}")
