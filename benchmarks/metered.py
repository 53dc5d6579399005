"""Metered clients for the replay: one for each vendor, in a `Tokenmeter` of their own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tokenmeter import Record, Tokenmeter
from tokenmeter._support import guard
from tokenmeter.testing import capture

__all__ = ["clients"]

# A vendor of the recordings, where the catalog calls it otherwise.
_NAMES = {"azure-openai": "openai", "openai-chatgpt": "openai", "self-hosted": None, "local": None}


@contextmanager
def clients(make: Callable[[], Any], *, ask_for_usage: bool) -> Iterator[tuple[Callable[[str], Any], list[Record]]]:
    """A function from a vendor to its metered client, and the list that their records come to.

    A vendor that the catalog does not know gets a client without a provider: its calls are metered all the same.
    """
    guard.raise_failures(True)
    logging.getLogger("tokenmeter").setLevel(logging.ERROR)  # many recorded models have no price: not the matter here
    meter = Tokenmeter(ask_usage=ask_for_usage, spans="none", estimate=False)
    made: dict[str, Any] = {}

    def client_for(vendor: str) -> Any:
        if vendor not in made:
            name = _NAMES.get(vendor, vendor)
            known = meter.providers.get(name) if name is not None else None
            made[vendor] = meter.wrap(make(), provider=known.id if known is not None else None)
        return made[vendor]

    try:
        with capture(meter) as records:
            yield client_for, records
    finally:
        guard.raise_failures(False)
        meter.shutdown()
