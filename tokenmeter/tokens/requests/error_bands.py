"""Error bands of request counts: the widest of the bands of a request's kinds, measured on recorded calls.

`error_bands.toml` is written by `benchmarks/truth_bands.py`: for each rule and kind of request the narrowest band of
fixed tokens and a share of the count that held 95% of the calls of every source (repository) it was learnt from, and
from how many sources. A rule that was never measured has the band `any`; a rule that meets a provider it was not
measured on has the band `other-host` where that is wider.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from tokenmeter.errors import CatalogError

__all__ = ["ANY", "KINDS", "OTHER_HOST", "Band", "Bands", "Spread", "band_of", "load_bands", "use"]

_FILE: Final = Path(__file__).with_name("error_bands.toml")
ANY: Final = "any"
OTHER_HOST: Final = "other-host"
PROVED: Final = 2
"""Sources from which on a band has held calls that it was not learnt from."""


class Band(NamedTuple):
    """How far true counts lie from ours: fixed tokens and a share of the count, below and above; and the sources."""

    below: float
    below_share: float
    above: float
    above_share: float
    sources: int = 0


class Bands(NamedTuple):
    """Bands by rule and kind, and the providers that each rule was measured on."""

    kinds: Mapping[str, Mapping[str, Band]]
    hosts: Mapping[str, frozenset[str]]


class Spread(NamedTuple):
    """Tokens below and above a count; whether every kind was measured, and on two sources or more."""

    below: float
    above: float
    measured: bool
    proved: bool


_DEFAULT: Final = {
    "plain": Band(4, 0.05, 8, 0.15),
    "tools": Band(20, 0.25, 60, 0.4),
    "schema": Band(20, 0.25, 60, 0.4),
    "history": Band(12, 0.15, 40, 0.3),
    "media": Band(8, 0.1, 40, 0.3),
    "output": Band(3, 0.05, 6, 0.1),
    "output_calls": Band(8, 0.25, 20, 0.4),
    "output_reasoning": Band(6, 0.1, 12, 0.2),
}
KINDS: Final = tuple(_DEFAULT)


@cache
def load_bands() -> Bands:
    """The shipped bands. Raises CatalogError naming what is not a kind or not five numbers."""
    found: dict[str, dict[str, Band]] = {}
    hosts: dict[str, frozenset[str]] = {}
    problems = []
    for rule, kinds in tomllib.loads(_FILE.read_text("utf-8")).items():
        hosts[rule] = frozenset(kinds.pop("hosts", ()))
        for kind, numbers in kinds.items():
            if kind not in _DEFAULT or len(numbers) != len(Band._fields):
                problems.append(f"requests/error_bands.toml: {rule}.{kind}: five numbers for one of {', '.join(KINDS)}")
            else:
                found.setdefault(rule, {})[kind] = Band(*numbers)
    if problems:
        raise CatalogError(problems)
    return Bands(found, hosts)


_used: Bands | None = None


def use(bands: Bands | None) -> None:
    """Count with other bands, to check some that were learnt without one source; None is the shipped ones."""
    global _used
    _used = bands


@cache
def _id(provider: str) -> str:
    """The provider's id, for one of its other names."""
    from tokenmeter.providers.registry import load_providers

    found = load_providers().get(provider)
    return provider if found is None else found.id


def band_of(rule: str, kinds: Sequence[str], tokens: int, provider: str | None = None) -> Spread:
    """Tokens below and above a count which the true one may lie."""
    bands = _used or load_bands()
    measured = bands.kinds.get(rule, {})
    usual = bands.kinds.get(ANY, {})
    found = [measured.get(kind) or usual.get(kind) or _DEFAULT[kind] for kind in kinds]
    known = all(kind in measured for kind in kinds)
    hosts = bands.hosts.get(rule, frozenset())
    elsewhere = bool(measured) and provider is not None and provider not in hosts and _id(provider) not in hosts
    if elsewhere:
        found += [band for kind in kinds if (band := bands.kinds.get(OTHER_HOST, {}).get(kind))]
    return Spread(
        max(band.below + band.below_share * tokens for band in found),
        max(band.above + band.above_share * tokens for band in found),
        known,
        known and not elsewhere and all(measured[kind].sources >= PROVED for kind in kinds),
    )
