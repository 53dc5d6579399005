"""The public names are a pinned list, and importing the package loads next to nothing."""

from __future__ import annotations

import subprocess
import sys

import tokenmeter

NAMES = [
    "Attempt",
    "Bound",
    "Budget",
    "BudgetEvent",
    "BudgetExceeded",
    "Call",
    "CatalogError",
    "Charge",
    "ConfigurationError",
    "Converted",
    "Cost",
    "CurrencyMismatch",
    "End",
    "Estimate",
    "ExchangeRate",
    "ExchangeRates",
    "MissingExtra",
    "Money",
    "Record",
    "Scope",
    "Sink",
    "Source",
    "TokenCount",
    "Tokenmeter",
    "TokenmeterError",
    "Usage",
    "UsageError",
    "Use",
    "__version__",
    "add_sink",
    "bound",
    "call",
    "carry",
    "configure",
    "count",
    "current",
    "default",
    "estimate",
    "flush",
    "instrument",
    "observe_batch",
    "preload",
    "price",
    "remove_sink",
    "scope",
    "shutdown",
    "tags",
    "uninstrument",
    "wrap",
]


def test_the_public_names_are_these() -> None:
    assert tokenmeter.__all__ == NAMES
    for name in NAMES:
        assert getattr(tokenmeter, name) is not None
    assert not hasattr(tokenmeter, "no_such_name")


def loaded_by(code: str) -> set[str]:
    program = f"import sys\nimport opentelemetry.trace\nbefore = set(sys.modules)\n{code}\n"
    program += "print(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_loads_nothing_but_itself() -> None:
    loaded = {name for name in loaded_by("import tokenmeter") if not name.startswith("_")}
    assert loaded == {"tokenmeter", "tokenmeter._version"}


HEAVY = {
    "openai",
    "httpx",
    "httpx2",
    "tiktoken",
    "transformers",
    "tokenizers",
    "sqlite3",
    "asyncio",
    "zoneinfo",
    "rich",
}


def test_values_load_no_sdk_and_no_vocabulary() -> None:
    code = "from tokenmeter import Usage, Money, Record, Tokenmeter, Cost"
    assert not loaded_by(code) & HEAVY


def test_every_function_survives_its_modules_being_imported() -> None:
    """A submodule named like a function would replace it in the package once somebody imports it."""
    code = "import tokenmeter, pkgutil\nnames = {m.name for m in pkgutil.iter_modules(tokenmeter.__path__)}\n"
    code += "assert not names & set(tokenmeter.__all__), names & set(tokenmeter.__all__)"
    loaded_by(code)
