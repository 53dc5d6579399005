"""What every LLM call costs, in the currency the vendor bills, inside the observability stack you already run.

    import tokenmeter

    tokenmeter.instrument()                      # every supported SDK in this process
    client = tokenmeter.wrap(client)             # or one client: the same object comes back
    with tokenmeter.scope("nightly", team="search") as s:
        ...
    s.cost                                       # {"CNY": Money(...)}

The functions here act on a default `Tokenmeter`, made from TOKENMETER_* variables on first use and replaced by
`configure`. Importing this package loads no SDK, no vocabulary and no price, and touches no network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from tokenmeter._version import __version__

if TYPE_CHECKING:
    from datetime import datetime
    from threading import Thread

    from tokenmeter.budgets.bound_values import Bound
    from tokenmeter.budgets.budget import Budget, Use
    from tokenmeter.budgets.watch import BudgetEvent
    from tokenmeter.calls.by_hand import Call, CallBlock
    from tokenmeter.calls.context import carry
    from tokenmeter.calls.scope import Scope, ScopeBlock, TagsBlock
    from tokenmeter.charge import Charge
    from tokenmeter.cost import Cost
    from tokenmeter.default_meter import configure, default
    from tokenmeter.errors import (
        BudgetExceeded,
        CatalogError,
        ConfigurationError,
        CurrencyMismatch,
        MissingExtra,
        TokenmeterError,
        UsageError,
    )
    from tokenmeter.estimates import Estimate
    from tokenmeter.exchange import Converted, ExchangeRate, ExchangeRates
    from tokenmeter.meter import Tokenmeter
    from tokenmeter.money import Money
    from tokenmeter.record import Attempt, End, Record, Sink
    from tokenmeter.token_count import TokenCount
    from tokenmeter.usage import Source, Usage

__all__ = [
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

_Client = TypeVar("_Client")

# Where each lazily loaded name lives.
_HOMES = {
    "Attempt": "record",
    "Bound": "budgets.bound_values",
    "Budget": "budgets.budget",
    "BudgetEvent": "budgets.watch",
    "BudgetExceeded": "errors",
    "Call": "calls.by_hand",
    "CatalogError": "errors",
    "Charge": "charge",
    "ConfigurationError": "errors",
    "Converted": "exchange",
    "Cost": "cost",
    "CurrencyMismatch": "errors",
    "End": "record",
    "Estimate": "estimates",
    "ExchangeRate": "exchange",
    "ExchangeRates": "exchange",
    "MissingExtra": "errors",
    "Money": "money",
    "Record": "record",
    "Scope": "calls.scope",
    "Sink": "record",
    "Source": "usage",
    "TokenCount": "token_count",
    "Tokenmeter": "meter",
    "TokenmeterError": "errors",
    "Usage": "usage",
    "UsageError": "errors",
    "Use": "budgets.budget",
    "carry": "calls.context",
    "configure": "default_meter",
    "default": "default_meter",
}


# Modules that the documentation names, as attributes: `help(tokenmeter.settings)`.
_MODULES = ("batch", "settings", "testing", "tokens")
_PRICE_VARIABLES = ("TOKENMETER_PRICE_LISTS", "TOKENMETER_MODELS")


def __getattr__(name: str) -> Any:
    import importlib

    if name in _MODULES:
        return importlib.import_module(f"tokenmeter.{name}")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'tokenmeter' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"tokenmeter.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


def _meter() -> Tokenmeter:
    from tokenmeter.default_meter import default

    return default()


def instrument() -> None:
    """Meter every supported SDK and HTTP library in this process, loaded now or later. Idempotent."""
    _meter().instrument()


def uninstrument() -> None:
    """Stop what `instrument` began. Clients given to `wrap` stay metered."""
    _meter().uninstrument()


def wrap(client: _Client, *, provider: str | None = None, region: str | None = None) -> _Client:
    """Meter one client and return the same object, so types and `isinstance` hold.

    `provider` says who bills where the client's address does not tell (a gateway, a local server). Copies made by
    `with_options()`, `copy()` and `copy.copy` stay metered. Raises ConfigurationError for an unknown provider or an
    object that is not a client.
    """
    return _meter().wrap(client, provider=provider, region=region)


def scope(name: str, *, budget: str | Money | Budget | None = None, **tags: Any) -> ScopeBlock:
    """A named unit of work that sums the calls inside it: `with scope("nightly") as s`, or a decorator.

    `budget` limits each run of it: a call that does not fit raises BudgetExceeded and is not sent.
    """
    return _meter().scope(name, budget=budget, **tags)


def call(
    provider: str,
    model: str | None = None,
    *,
    request: object = None,
    api: str | None = None,
    operation: str | None = None,
    region: str | None = None,
    stream: bool = False,
) -> CallBlock:
    """One call metered by hand: `with call("deepseek", "deepseek-chat") as c: c.observe(reply)`, or a decorator.

    `request` is the body as sent: what its price depends on is read from it (thinking, tier, size, batch …), and it is
    counted where the vendor reports no usage; `api` is the wire format (guessed where absent);
    `operation` is an OpenTelemetry GenAI operation name. Raises ConfigurationError for an unknown `api`.
    """
    return _meter().call(
        provider=provider, model=model, request=request, api=api, operation=operation, region=region, stream=stream
    )


def observe_batch(
    results: object,
    *,
    provider: str,
    model: str | None = None,
    api: str | None = None,
    region: str | None = None,
) -> int:
    """Record the results of a batch job, one call for each answer, at the batch price; returns how many.

    `results` is a result file (text, bytes, lines, an open file) or the vendor's object that holds the answers.
    """
    return _meter().observe_batch(results, provider=provider, model=model, api=api, region=region)


def tags(**tags: Any) -> TagsBlock:
    """Who the spend inside belongs to: `with tags(tenant="acme"): ...`, or a decorator."""
    return _meter().tags(**tags)


def current() -> Scope | None:
    """The scope that is open here, or None."""
    from tokenmeter.calls.scope import SCOPE

    return SCOPE.get()


def count(text: str, *, model: str, provider: str | None = None, at: datetime | str | None = None) -> TokenCount:
    """Count the tokens of a text, offline; the answer says how far to trust it (`low`, `high`, `method`).

    `at` is when the call is made (default: now), for names whose model changes; ValueError where it is no time. Raises
    UsageError for what is no text: a request body is counted by `estimate(body, ...).input`.
    """
    from tokenmeter.tokens import count_text

    return count_text(text, model=model, provider=provider, at=at)


def estimate(
    request: Any,
    *,
    provider: str | None = None,
    model: str | None = None,
    api: str | None = None,
    at: datetime | str | None = None,
    output_limit: int | None = None,
    **params: Any,
) -> Estimate:
    """The range in which a request's cost will lie, before it is sent.

    `request` is a body or a text; `output_limit` (tokens) wins over the limit the body sets; `at` and `params` are
    those of `price`, and so is a provider that is not named. Raises ConfigurationError where no model is named.
    """
    return _meter().estimate(
        request, provider=provider, model=model, api=api, at=at, output_limit=output_limit, **params
    )


def bound(request: object, *, provider: str | None = None, model: str | None = None, api: str | None = None) -> Bound:
    """What a request (a body or a text) may be charged at most, as a budget holds it before the request is sent.

    Raises ConfigurationError where no model is named, or no provider and not exactly one sells it.
    """
    return _meter().bound(request, provider=provider, model=model, api=api)


def preload(*names: str) -> Thread:
    """Load the vocabularies of families or models (`"qwen"`, `"gpt-4o"`) in the background; join the thread to wait."""
    from tokenmeter.tokens import preload as load

    return load(*names)


def price(
    usage: Usage, *, model: str, provider: str | None = None, at: datetime | str | None = None, **params: Any
) -> Cost:
    """What a usage costs at an instant (default: now).

    `at` is an aware datetime, RFC 3339 text with an offset, or a bare date (00:00 where the provider is); `params` are
    facts of the request that prices may depend on, such as `thinking=True`. Nothing is raised for an unknown model:
    `cost.total` is None and `cost.reason` says why. Without `provider` the only one that sells the model is taken.
    Raises ConfigurationError for a parameter that no price depends on, and where several providers or none sell the
    model and none is named; UsageError for what is no `Usage`.
    """
    import os
    import sys

    meter = sys.modules.get("tokenmeter.default_meter")
    if (meter is None or not meter.is_configured()) and not any(map(os.environ.get, _PRICE_VARIABLES)):
        from tokenmeter.prices.arguments import check_usage, seller_of
        from tokenmeter.prices.book import load_book  # a price needs no meter
        from tokenmeter.prices.components import check_params

        check_usage(usage)
        check_params(params)
        book = load_book()
        provider, model = seller_of(book, provider, model, at)
        return book.price(usage, provider=provider, model=model, at=at, params=params)
    return _meter().price(usage, provider=provider, model=model, at=at, **params)


def add_sink(sink: Sink) -> None:
    """Hand every later record to this object too: `write(record)`, `flush(timeout)`, `close(timeout)`."""
    _meter().add_sink(sink)


def remove_sink(sink: Sink) -> None:
    """Stop handing records to this object."""
    _meter().remove_sink(sink)


def flush(timeout: float = 5.0) -> bool:
    """Deliver all records taken so far, within `timeout` seconds; whether all were. Also done at exit."""
    return _meter().flush(timeout)


def shutdown(timeout: float = 5.0) -> bool:
    """Flush, then close files and threads."""
    return _meter().shutdown(timeout)
