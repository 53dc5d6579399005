"""A rate as the `prices` commands print it, and the `--currency` flag they share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

    from tokenmeter.prices.price_file import Rate

__all__ = ["row_of", "wanted"]


def row_of(rate: Rate) -> dict[str, Any]:
    """A rate as these commands show it."""
    from tokenmeter.prices.upkeep.price_history import component_prices

    return {
        "provider": rate.file.provider,
        "model": rate.model,
        "list": rate.list,
        "prices": component_prices(rate),
        "rate_id": rate.id,
        "effective_from": None if rate.starts_at is None else rate.starts_at.isoformat(),
        "dating": rate.dating,
        "confidence": rate.confidence,
    }


def wanted(args: argparse.Namespace, currency: str) -> bool:
    """Whether `--currency` leaves this list."""
    return args.currency is None or args.currency.upper() == currency
