"""The tree of tokenmeter's exceptions.

    TokenmeterError                what `except tokenmeter.TokenmeterError` catches
    ├── ConfigurationError         a bad argument or TOKENMETER_* variable; also a ValueError
    ├── CatalogError               problems in catalog files, gathered and shown together; also a ValueError
    ├── CurrencyMismatch           two currencies were added or compared; also a ValueError
    ├── UsageError                 a usage, one of its fields or a text of the wrong type; also a TypeError
    ├── MissingExtra               an optional package is needed: the message says what to type; also an ImportError
    └── BudgetExceeded             a call was refused before it was sent, since it does not fit into a budget

Of these, only BudgetExceeded reaches a metered call, where a budget asks for it: our mistakes meet `_guard.guard`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal

__all__ = [
    "BudgetExceeded",
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


class BudgetExceeded(TokenmeterError):
    """A call was refused before anything was sent, since it does not fit into a budget.

    `budget` is the budget's name, `series` its name with the value of its `each`. Amounts are exact numbers of `unit`
    (a currency, tokens or calls): `limit`, `spent`, `held` by open calls, `asked` by this one, and `left`; `asked` is
    None where it could not be computed. `kind` is `"spent"` if only the next window helps, `"held"` if the call would
    fit once others settle, `"unpriced"`, `"unconvertible"` or `"unlimited"` if the budget blocks such calls, and
    `"store"` if the store cannot be reached and the budget is closed then. `resets_at` is when spend leaves the window
    (None: never), `retry_after` the seconds until then.
    """

    def __init__(
        self,
        message: str,
        *,
        budget: str,
        series: str,
        unit: str,
        limit: Decimal,
        spent: Decimal | None = None,
        held: Decimal | None = None,
        asked: Decimal | None = None,
        kind: str,
        resets_at_ms: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.budget, self.series, self.unit, self.limit, self.kind = budget, series, unit, limit, kind
        self.spent, self.held, self.asked = spent, held, asked
        self.left = None if spent is None or held is None else max(limit - spent - held, Decimal(0))
        self.resets_at = None if resets_at_ms is None else datetime.fromtimestamp(resets_at_ms / 1000, UTC)
        self.retry_after = retry_after
        self.use: object = None
        """What the budget's `on_exceed` says to use instead, a `Use`."""
