"""The tree of tokenmeter's exceptions.

    TokenmeterError                what `except tokenmeter.TokenmeterError` catches
    ├── ConfigurationError         a bad argument or TOKENMETER_* variable; also a ValueError
    ├── CatalogError               problems in catalog files, gathered and shown together; also a ValueError
    ├── CurrencyMismatch           two currencies were added or compared; also a ValueError
    ├── UsageError                 a usage, one of its fields or a text of the wrong type; also a TypeError
    └── MissingExtra               an optional package is needed: the message says what to type; also an ImportError

None of these reaches a metered call: inside one, our mistakes meet `_guard.guard`.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "CatalogError",
    "ConfigurationError",
    "CurrencyMismatch",
    "MissingExtra",
    "TokenmeterError",
    "UsageError",
]


class TokenmeterError(Exception):
    """Base class of every error tokenmeter raises on purpose."""


class ConfigurationError(TokenmeterError, ValueError):
    """A bad argument or environment variable; the message names it and what it may be."""


class CatalogError(TokenmeterError, ValueError):
    """What is wrong in catalog files, all problems at once, one line each: file, entry, key and remedy.

    `problems` holds the lines.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class CurrencyMismatch(TokenmeterError, ValueError):
    """Amounts of two currencies met; no exchange rate is ever assumed."""


class UsageError(TokenmeterError, TypeError):
    """A usage has the wrong type, or a field that is no component or no number; or what should be a text is none."""


class MissingExtra(TokenmeterError, ImportError):
    """An optional dependency is missing; the message holds the line to type."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what}: pip install 'tokenmeter-sdk[{extra}]'")
