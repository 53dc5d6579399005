"""The settings of a meter, one row each: arguments of `configure`, or TOKENMETER_* variables; arguments win.

A new setting is a field of `Settings`; the list below is made from the fields.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from tokenmeter import setting_kinds as kinds
from tokenmeter._support.bounded import BoundedDict
from tokenmeter._support.empty import EMPTY
from tokenmeter._support.guard import logger
from tokenmeter.errors import ConfigurationError

if TYPE_CHECKING:
    from tokenmeter.budgets.budget import Budget
    from tokenmeter.exchange import ExchangeRates
    from tokenmeter.prices.own_rates import OwnRates

__all__ = ["SETTINGS", "Setting", "Settings", "unknown_variables"]


class Setting:
    """One setting: its argument, its variable, what it means, and how a value is read from text and checked.

    Stands in `Settings` under the name of the argument, and gives the default there.
    """

    def __init__(
        self,
        check: Callable[[Any, str], Any],
        meaning: str,
        *,
        read: Callable[[str, str], Any] = kinds.plain_text,
        default: Any = None,
        from_environment: bool = True,
    ) -> None:
        self.name = self.variable = ""
        self.meaning = meaning
        self.read = read
        self.check = check
        self.default = default
        self.from_environment = from_environment

    def __set_name__(self, owner: type, name: str) -> None:
        self.name, self.variable = name, f"TOKENMETER_{name.upper()}"

    def __get__(self, settings: object, owner: type) -> Any:
        return self.default


def _row(
    check: Callable[[Any, str], Any],
    meaning: str,
    *,
    read: Callable[[str, str], Any] = kinds.plain_text,
    default: Any = None,
    from_environment: bool = True,
) -> Any:
    """A field of `Settings`, of whatever type it is annotated with."""
    return Setting(check, meaning, read=read, default=default, from_environment=from_environment)


def _map_row(
    meaning: str,
    *,
    read: Callable[[str, str], Any] = kinds.pairs_text,
    check: Callable[[Any, str], Any] = kinds.mapping,
) -> Any:
    return Setting(check, meaning, read=read, default=EMPTY)


class Settings:
    """Checked settings, which do not change. Attributes that were not set have their default.

    Raises ConfigurationError naming the argument or variable and what it may be.
    """

    ledger: str | None = _row(
        kinds.file_or_url, "file to which every record is appended, or postgresql:// or clickhouse://HOST/DATABASE"
    )
    ledger_spool: str | None = _row(
        kinds.file_path,
        "file in which records wait for the database of ledger (default: in the user's folder for state)",
    )
    ledger_sync: bool = _row(
        kinds.yes_or_no,
        "a call returns when its record is in the ledger (default off)",
        read=kinds.switch_text,
        default=False,
    )
    account: Mapping[str, str] = _map_row(
        '"prod", or "openai=org-a,key-0a1b2c3d4e5f=tests": the name of the account that pays: for all calls, or by '
        "provider or hash of a key",
        read=kinds.word_or_pairs_text,
        check=kinds.account_names,
    )
    account_key: str | None = _row(
        kinds.secret, "secret that the hashes of keys are keyed with (default: none, equal on all machines)"
    )
    log: str | None = _row(
        kinds.one_of("json", rule="the format of log lines is json"),
        "json: a line per call through the standard library's logging",
    )
    spans: str = _row(
        kinds.one_of("auto", "own", "enrich", "none", rule="spans is one of auto, own, enrich, none"),
        "auto, own, enrich or none",
        default="auto",
    )
    ask_usage: bool = _row(
        kinds.yes_or_no,
        "ask for stream usage where the provider allows it (default on)",
        read=kinds.switch_text,
        default=True,
    )
    estimate: bool = _row(
        kinds.yes_or_no, "count what was not reported (default on)", read=kinds.switch_text, default=True
    )
    export_estimates: bool = _row(
        kinds.yes_or_no, "counted numbers under gen_ai.usage.* too (default off)", read=kinds.switch_text, default=False
    )
    hosts: Mapping[str, str] = _map_row('"llm.corp.lan=deepseek,10.0.0.7:8000=alibaba"')
    price_lists: Mapping[str, str] = _map_row('"deepseek=USD": which of a provider\'s own lists bills')
    cost_from: Mapping[str, str] = _map_row(
        "book or vendor, or openrouter=vendor,...: whose cost counts where both are known",
        read=kinds.word_or_pairs_text,
        check=kinds.cost_from,
    )
    rates: OwnRates | None = _row(
        kinds.own_rates,
        '{"ollama/*": "free", "vllm/qwen3-32b": {"input": "0.5 CNY", "output": "2 CNY"}}, or a TOML file of it: '
        "prices of your own models, for a million tokens",
        read=kinds.own_rates_text,
    )
    # The book itself reads the variable, for the command line too.
    prices: str | None = _row(
        kinds.path, "file or folder of rates that add to or replace the book's", from_environment=False
    )
    calibrate: bool = _row(
        kinds.yes_or_no,
        "learn from reported usage how far our counts are off (default off)",
        read=kinds.switch_text,
        default=False,
    )
    calibration: Any = _row(kinds.path_or_store, "file of what was learnt: used, and added to where calibrate is on")
    dialects: tuple[str, ...] = _row(
        kinds.dialects,
        '"langfuse,mlflow": names of single backends, beside the standard ones',
        read=kinds.names_text,
        default=(),
    )
    metric_tags: tuple[str, ...] | None = _row(
        kinds.tag_names, '"team,feature": the tags that are attributes of metrics (default: all)', read=kinds.names_text
    )
    histograms: tuple[str, ...] = _row(
        kinds.histograms,
        '"duration,token.usage": what is recorded beside sums (default: duration)',
        read=kinds.names_text,
        default=(),
    )
    exchange: ExchangeRates | None = _row(
        kinds.exchange_rates, '"CNY=0.1400USD@2026-11-01" or a table: your rates, for dollar-only names'
    )
    baggage_tags: tuple[str, ...] = _row(
        kinds.baggage_keys,
        '"tenant,user": keys of the trace\'s baggage that are tags too',
        read=kinds.names_text,
        default=(),
    )
    budgets: tuple[Budget, ...] = _row(
        kinds.budgets,
        '"budgets.toml", or [Budget("50 CNY", per="day")]: limits that hold before a call is sent',
        default=(),
    )
    budget_store: Any = _row(
        kinds.budget_store,
        "memory, sqlite:PATH or redis://HOST:PORT/0: where budgets count; one for all processes that share them",
        default="memory",
    )
    budget_lease: float = _row(
        kinds.seconds,
        "seconds for which the hold of a vanished call lives (default 600)",
        read=kinds.seconds_text,
        default=600.0,
    )
    budget_deadline: float = _row(
        kinds.seconds,
        "seconds that the store may take before a call goes on without it (default 0.05)",
        read=kinds.seconds_text,
        default=0.05,
    )
    on_store_error: str = _row(
        kinds.one_of("open", "closed", rule="on_store_error is open or closed"),
        "open or closed: whether calls go on while the budget store is away (default open)",
        default="open",
    )
    budget_seed: str | None = _row(kinds.path, "ledger whose spend a memory or empty budget store starts with")
    alerts: tuple[str, ...] = _row(
        kinds.alerts,
        '"dingtalk://…,mailto://…": addresses of Apprise that budget events are sent to',
        read=kinds.names_text,
        default=(),
    )
    alert_language: str = _row(
        kinds.one_of("en", "zh", rule="alert_language is en or zh"), "en or zh (default en)", default="en"
    )
    on_threshold: Any = _row(
        kinds.function, "function of a BudgetEvent: a threshold or a refusal", from_environment=False
    )
    models: Mapping[str, str] = _map_row('"ep-2024...=doubao-pro-32k": deployment or endpoint id to model')

    @classmethod
    def read(cls, given: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> Settings:
        """Settings from arguments, and from the environment for what no argument says."""
        environment = os.environ if environment is None else environment
        _warn_of_unknown(environment)
        known = [setting.name for setting in SETTINGS]
        unknown = [name for name in given if name not in known]
        if unknown:
            hint = f"{_near(unknown[0], known)}the settings are {', '.join(sorted(known))}"
            raise ConfigurationError(f"{unknown[0]!r} is not a setting; {hint}")
        values: dict[str, Any] = {}
        for setting in SETTINGS:
            value, place = given.get(setting.name), setting.name
            if value is None and setting.from_environment:
                place = setting.variable
                text = environment.get(place, "").strip()
                value = setting.read(text, place) if text else None
            if value is not None:
                values[setting.name] = setting.check(value, place)
        made = cls()
        made.__dict__.update(values)
        return made

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"settings do not change: make another meter with {name}=…")


SETTINGS: Final = tuple(row for row in vars(Settings).values() if isinstance(row, Setting))
"""Every setting, in the order of the documentation."""


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """What is wrong with each TOKENMETER_* variable that no setting reads: a misspelt one changes nothing."""
    known = [setting.variable for setting in SETTINGS]
    return [
        f"{name} is not a variable of tokenmeter; {_near(name, known)}the others are in `tokenmeter.settings`"
        for name in sorted(environment)
        if name.startswith("TOKENMETER_") and name not in known
    ]


def _near(name: str, known: Iterable[str]) -> str:
    import difflib

    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]}? " if near else ""


_warned: Final[BoundedDict[str, None]] = BoundedDict(100)


def _warn_of_unknown(environment: Mapping[str, str]) -> None:
    for problem in unknown_variables(environment):
        if problem not in _warned and _warned.keep(problem, None):
            logger.warning("%s", problem)


_TABLE: Final = "".join(f"{one.name:<17}{one.variable:<32}{one.meaning}\n" for one in SETTINGS)
__doc__ = f"{__doc__ or ''}\n{_TABLE}"
