"""Coverage of the fact base by the price book: each fact used, or left out with a reason, by provider.

Facts and compiler belong to a checkout of the source; an installed wheel holds only their result. So this runs the
compiler, `tools/price_book`, in a process of its own, and raises ConfigurationError where there is none.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tokenmeter.errors import CatalogError, ConfigurationError

__all__ = ["Coverage", "coverage"]

CHECKOUT: Final = Path(__file__).parents[3]
COMPILER: Final = "tools.price_book"


@dataclass(frozen=True, slots=True)
class Coverage:
    """One provider's facts: how many there are, how many a rate or plan carries, and why the others are left out."""

    provider: str
    facts: int
    used: int
    left_out: Mapping[str, int]


def coverage(facts: Path) -> list[Coverage]:
    """The coverage of a fact base (`facts.jsonl`), by provider.

    Raises ConfigurationError outside a checkout or for a missing file, CatalogError when a decision no longer fits.
    """
    if not CHECKOUT.joinpath(*COMPILER.split("."), "__main__.py").exists():
        raise ConfigurationError("coverage needs a checkout of the source: the book's compiler is not in the wheel")
    if not facts.is_file():
        raise ConfigurationError(f"{facts}: no such file; give the fact base the book was compiled from")
    command = [sys.executable, "-m", COMPILER, "--coverage", str(facts.resolve())]
    run = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False, cwd=CHECKOUT)
    if run.returncode != 0:
        raise CatalogError(run.stderr.strip().splitlines() or [f"{COMPILER} ended with {run.returncode}"])
    providers = json.loads(run.stdout)
    return [Coverage(provider, one["facts"], one["used"], one["left_out"]) for provider, one in providers.items()]
