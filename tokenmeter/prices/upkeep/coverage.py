"""What became of every fact behind the price book: used, or left out with a reason, by provider.

The facts and the compiler that reads them belong to a checkout of the source, not to an installed wheel, which holds
only their result. So this asks the compiler in `tools/book`, in a process of its own, and says so where there is none.
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

COMPILER: Final = Path(__file__).parents[3] / "tools" / "book" / "compile.py"


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
    if not COMPILER.exists():
        raise ConfigurationError("coverage needs a checkout of the source: the book's compiler is not in the wheel")
    if not facts.is_file():
        raise ConfigurationError(f"{facts}: no such file; give the fact base the book was compiled from")
    command = [sys.executable, str(COMPILER), "--coverage", str(facts)]
    run = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    if run.returncode != 0:
        raise CatalogError(run.stderr.strip().splitlines() or [f"{COMPILER.name} ended with {run.returncode}"])
    told = json.loads(run.stdout)
    return [Coverage(provider, one["facts"], one["used"], one["left_out"]) for provider, one in told.items()]
