"""Reads the prices that users set for models of their own: a server, a gateway, a contract.

    {"ollama/*": "free", "vllm/qwen3-32b": {"input": "0.5 CNY", "output": "2 CNY"}}

Keys are PROVIDER/MODEL, where `*` in the model stands for any text and the provider may be one that the price book
does not know. Prices are those of a price file's components, for a million tokens. They come before every rate of the
book, hold at any instant and for any form of request; what has no price of its own inside input or output (cached
tokens, audio) costs what the whole costs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from tokenmeter._support.data_files import read_toml
from tokenmeter.components import COMPONENTS, component_of
from tokenmeter.errors import CatalogError, ConfigurationError
from tokenmeter.prices.price_file import OWN

__all__ = ["OwnRate", "OwnRates"]

EXAMPLE: Final = '{"ollama/*": "free", "vllm/qwen3-32b": {"input": "0.5 CNY", "output": "2 CNY"}}'
# Compiled when first used: most programs have no prices of their own, and their first price should not wait for these.
_KEY: Final = r"(?P<provider>[^\s/*]+)/(?P<model>\S(?:.*\S)?)"
_PRICE: Final = r"(?P<amount>[0-9]{1,12}(?:\.[0-9]{1,12})?) ?(?P<currency>[A-Za-z]{3})"
# `cache_write` of a lifetime is no row of the table of components.
_STAND_IN: Final = {part.name: part.inside for part in COMPONENTS if part.inside is not None} | {
    "cache_write_5m": "cache_write",
    "cache_write_1h": "cache_write",
}


@dataclass(frozen=True, slots=True)
class OwnRate:
    """What one key says. `currency` is None for `"free"`, which is free in any currency."""

    provider: str
    model: str
    currency: str | None
    prices: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class OwnRates:
    """The user's own prices, by PROVIDER/MODEL."""

    rates: tuple[OwnRate, ...]

    @property
    def providers(self) -> tuple[str, ...]:
        """The providers named, each once."""
        return tuple(dict.fromkeys(rate.provider for rate in self.rates))

    @classmethod
    def of(cls, value: object, place: str) -> OwnRates:
        """Check a mapping, or read a TOML file of one. Raises ConfigurationError naming `place` and the key."""
        if isinstance(value, OwnRates):
            return value
        if isinstance(value, str | Path):
            value = _read_file(Path(value), place)
        if not isinstance(value, Mapping):
            raise ConfigurationError(f"{place}={value!r}: give a mapping such as {EXAMPLE}, or the path of a TOML file")
        return cls(tuple(_rate(key, said, place) for key, said in value.items()))

    @classmethod
    def read(cls, text: str, variable: str) -> OwnRates:
        """Read a variable: JSON, or the path of a TOML file. Raises ConfigurationError naming it."""
        if not text.startswith("{"):
            return cls.of(text, variable)
        import json

        try:
            return cls.of(json.loads(text, parse_float=Decimal), variable)
        except (ValueError, RecursionError) as error:
            if isinstance(error, ConfigurationError):
                raise
            raise ConfigurationError(f"{variable}: not JSON ({error}); write it as {EXAMPLE}") from None

    def overlays(self) -> tuple[Mapping[str, Any], ...]:
        """One price file for each provider; see `PriceFile.own`."""
        stated = next((rate.currency for rate in self.rates if rate.currency is not None), "USD")
        return tuple(
            {
                "provider": provider,
                "currency": stated,
                "timezone": "UTC",
                OWN: True,
                "rate": [_entry(rate, stated) for rate in self.rates if rate.provider == provider],
            }
            for provider in self.providers
        )


def _entry(rate: OwnRate, stated: str) -> Mapping[str, Any]:
    return {
        "model": rate.model,
        "currency": rate.currency or stated,
        "confidence": OWN,
        "free": rate.currency is None,
        "stand_in": _STAND_IN,
        **rate.prices,
    }


def _read_file(path: Path, place: str) -> Mapping[str, Any]:
    if not path.is_file():
        raise ConfigurationError(f"{place}={str(path)!r}: there is no such file; give a TOML file, or {EXAMPLE}")
    try:
        return read_toml(path)
    except CatalogError as error:
        raise ConfigurationError(f"{place}: {error.problems[0]}") from None


def _rate(key: object, said: object, place: str) -> OwnRate:
    match = re.fullmatch(_KEY, key) if isinstance(key, str) else None
    if match is None:
        raise ConfigurationError(f"{place}: {key!r} is not PROVIDER/MODEL, such as 'vllm/qwen3-32b' or 'ollama/*'")
    provider, model = match["provider"].lower(), match["model"]
    if isinstance(said, str) and said.strip().lower() == "free":
        return OwnRate(provider, model, None, {part.name: Decimal(0) for part in COMPONENTS})
    if not isinstance(said, Mapping) or not said:
        raise ConfigurationError(
            f'{place}: {key!r}: {said!r} is no price; write "free" or {{"input": "0.5 CNY", "output": "2 CNY"}}, '
            "for a million tokens"
        )
    found = {str(name): _price(str(name), text, f"{place}: {key!r}") for name, text in said.items()}
    currencies = list(dict.fromkeys(currency for _, currency in found.values()))
    if len(currencies) > 1:
        raise ConfigurationError(f"{place}: {key!r}: prices in {' and '.join(currencies)}; a model has one currency")
    return OwnRate(provider, model, currencies[0], {name: amount for name, (amount, _) in found.items()})


def _price(component: str, text: object, place: str) -> tuple[Decimal, str]:
    if component_of(component) is None:
        raise ConfigurationError(f"{place}: {component!r} is not priced by anything; {_near(component)}")
    match = re.fullmatch(_PRICE, text.strip()) if isinstance(text, str) else None
    if match is None:
        raise ConfigurationError(
            f"{place}: {component}: {text!r} is no price; write an amount and a currency: '0.5 CNY'"
        )
    return Decimal(match["amount"]), match["currency"].upper()


def _near(component: str) -> str:
    names: Iterable[str] = [part.name for part in COMPONENTS]
    import difflib

    near = difflib.get_close_matches(component, names, n=1)
    return f"did you mean {near[0]!r}?" if near else "there are input, output, cache_read and the others of price files"
