"""The kinds of value that settings have: how each is read from the text of a variable, and checked.

Readers take the text and the variable's name; checks take a value and `place`, the argument or variable it came from.
Both raise ConfigurationError that names the place and what it may be.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tokenmeter._support.arguments import check_items
from tokenmeter.errors import ConfigurationError

if TYPE_CHECKING:
    from tokenmeter.budgets.budget import Budget
    from tokenmeter.exchange import ExchangeRates
    from tokenmeter.prices.own_rates import OwnRates

__all__ = [
    "account_names",
    "alerts",
    "baggage_keys",
    "budget_store",
    "budgets",
    "cost_from",
    "dialects",
    "exchange_rates",
    "file_or_url",
    "file_path",
    "function",
    "histograms",
    "mapping",
    "names_text",
    "one_of",
    "own_rates",
    "own_rates_text",
    "pairs_text",
    "path",
    "path_or_store",
    "plain_text",
    "seconds",
    "seconds_text",
    "secret",
    "switch_text",
    "tag_names",
    "word_or_pairs_text",
    "yes_or_no",
]

_YES: Final = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}

# Readers


def plain_text(text: str, variable: str) -> Any:
    return text


def switch_text(text: str, variable: str) -> bool:
    if text.lower() not in _YES:
        raise ConfigurationError(f"{variable}={text!r}: say true or false")
    return _YES[text.lower()]


def names_text(text: str, variable: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def word_or_pairs_text(text: str, variable: str) -> Any:
    return pairs_text(text, variable) if "=" in text else text


def pairs_text(text: str, variable: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    wrong = [key for key, equals, value in pairs if not equals or not value.strip()]
    if wrong:
        raise ConfigurationError(f"{variable}: {wrong[0]!r} has no '='; write name=value,name=value")
    return {key.strip(): value.strip() for key, _, value in pairs}


def own_rates_text(text: str, variable: str) -> OwnRates:
    from tokenmeter.prices.own_rates import OwnRates

    return OwnRates.read(text, variable)


# Checks


def path(value: Any, place: str) -> str:
    if not isinstance(value, str | Path):
        raise ConfigurationError(f"{place}={value!r}: give a path")
    return os.fspath(value)


def file_path(value: Any, place: str) -> str:
    name = path(value, place)
    if os.path.isdir(name):
        raise ConfigurationError(
            f"{place}={name!r}: is a folder; name a file in it, such as {name.rstrip('/')}/spend.db"
        )
    return name


def file_or_url(value: Any, place: str) -> str:
    name = path(value, place)
    if "://" not in name:
        return file_path(name, place)
    scheme, _, _ = name.partition("://")
    if scheme not in ("postgresql", "postgres", "clickhouse", "clickhouses"):
        raise ConfigurationError(
            f"{place}: {scheme}:// is no ledger; give a path, or postgresql:// or clickhouse://HOST/DATABASE"
        )
    return name


def path_or_store(value: Any, place: str) -> Any:
    if callable(getattr(value, "load", None)):
        return value
    if not isinstance(value, str | Path):
        raise ConfigurationError(f"{place}={value!r}: give a path, or a store with load, add, mark and forget")
    return os.fspath(value)


def yes_or_no(value: Any, place: str) -> bool:
    if not isinstance(value, bool):
        raise ConfigurationError(f"{place}={value!r}: give True or False")
    return value


def one_of(*allowed: str, rule: str) -> Callable[[Any, str], str]:
    def check(value: Any, place: str) -> str:
        if value not in allowed:
            raise ConfigurationError(f"{place}={value!r}: {rule}")
        return str(value)

    return check


def mapping(value: Any, place: str) -> dict[str, str]:
    if not isinstance(value, Mapping) or not all(isinstance(text, str) for pair in value.items() for text in pair):
        raise ConfigurationError(f"{place}={value!r}: give a mapping of text to text")
    return dict(value)


def account_names(value: Any, place: str) -> dict[str, str]:
    """One name for all accounts, or names by provider or hash."""
    chosen = {"*": value} if isinstance(value, str) else mapping(value, place)
    if any(not name.strip() for name in chosen.values()):
        raise ConfigurationError(f"{place}={value!r}: a name is empty")
    return chosen


def secret(value: Any, place: str) -> str:
    """A text that no message shows."""
    if not isinstance(value, str) or len(value) < 8:
        raise ConfigurationError(f"{place}: give a text of 8 characters or more")
    return value


def cost_from(value: Any, place: str) -> dict[str, str]:
    chosen = {"*": value} if isinstance(value, str) else mapping(value, place)
    if wrong := [word for word in chosen.values() if word not in ("book", "vendor")]:
        raise ConfigurationError(f"{place}: {wrong[0]!r} is neither book nor vendor")
    return chosen


def tag_names(value: Any, place: str) -> tuple[str, ...]:
    what = "the names of tags, such as ['team', 'feature']"
    names = check_items(value, place, what)
    if not all(isinstance(one, str) for one in names):
        raise ConfigurationError(f"{place}={value!r}: give {what}")
    return names


def baggage_keys(value: Any, place: str) -> tuple[str, ...]:
    keys = tag_names(value, place)
    if len(keys) > 8 or any(len(key) > 64 for key in keys):
        raise ConfigurationError(f"{place}={value!r}: name at most 8 keys of at most 64 characters")
    return keys


def dialects(value: Any, place: str) -> tuple[str, ...]:
    from tokenmeter.otel.dialects import DIALECTS

    return _named(value, place, "dialects", DIALECTS)


def histograms(value: Any, place: str) -> tuple[str, ...]:
    from tokenmeter.otel.semconv import HISTOGRAMS

    return _named(value, place, "histograms", HISTOGRAMS)


def _named(value: Any, place: str, what: str, known: Mapping[str, Any]) -> tuple[str, ...]:
    listed = isinstance(value, Iterable) and not isinstance(value, str)
    names = tuple(value) if listed else ()
    if not listed or not all(isinstance(one, str) and one in known for one in names):
        raise ConfigurationError(f"{place}={value!r:.200}: {what} are {', '.join(known)}")
    return names


def exchange_rates(value: Any, place: str) -> ExchangeRates:
    from tokenmeter.exchange import ExchangeRates

    if not isinstance(value, str | Path | ExchangeRates):
        raise ConfigurationError(f"{place}={value!r}: give ExchangeRates, a path, or CNY=0.1400USD@2026-11-01")
    return ExchangeRates.of(value, place)


def own_rates(value: Any, place: str) -> OwnRates:
    from tokenmeter.prices.own_rates import OwnRates

    return OwnRates.of(value, place)


def budgets(value: Any, place: str) -> tuple[Budget, ...]:
    from tokenmeter.budgets.budget_file import read_budgets

    return read_budgets(value, place)


def budget_store(value: Any, place: str) -> Any:
    if isinstance(value, str):
        from tokenmeter.budgets.stores import check_store

        check_store(value, place)
    elif not callable(getattr(value, "reserve", None)):
        raise ConfigurationError(f"{place}={value!r}: give memory, sqlite:PATH, redis://HOST:PORT/0, or a BudgetStore")
    return value


def alerts(value: Any, place: str) -> tuple[str, ...]:
    what = 'a list of addresses, such as ["dingtalk://TOKEN"]'
    if not all(isinstance(one, str) for one in check_items(value, place, what)):
        raise ConfigurationError(f"{place}: give {what}")
    from tokenmeter.budgets.alerts import check_addresses

    check_addresses(tuple(value), place)
    return tuple(value)


def seconds_text(text: str, variable: str) -> Any:
    try:
        return float(text)
    except ValueError:
        raise ConfigurationError(f"{variable}={text!r}: give a number of seconds") from None


def seconds(value: Any, place: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e6:
        raise ConfigurationError(f"{place}={value!r}: give a number of seconds above 0")
    return float(value)


def function(value: Any, place: str) -> Any:
    if not callable(value):
        raise ConfigurationError(f"{place}={value!r}: give a function")
    return value
