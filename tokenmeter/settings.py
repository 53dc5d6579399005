"""The settings of a meter, one row each: arguments of `configure`, or TOKENMETER_* variables; arguments win.

A new setting is a field of `Settings`; the list below is made from the fields.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tokenmeter._support.arguments import check_items
from tokenmeter._support.bounded import BoundedDict
from tokenmeter._support.empty import EMPTY
from tokenmeter._support.guard import logger
from tokenmeter.errors import ConfigurationError

if TYPE_CHECKING:
    from tokenmeter.budgets.budget import Budget
    from tokenmeter.exchange import ExchangeRates
    from tokenmeter.prices.own_rates import OwnRates

__all__ = ["SETTINGS", "Setting", "Settings", "unknown_variables"]

_YES: Final = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}

# Readers: the text of a variable as a value. They raise ConfigurationError naming the variable.


def _text(text: str, variable: str) -> Any:
    return text


def _switch(text: str, variable: str) -> bool:
    if text.lower() not in _YES:
        raise ConfigurationError(f"{variable}={text!r}: say true or false")
    return _YES[text.lower()]


def _list(text: str, variable: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _word_or_pairs(text: str, variable: str) -> Any:
    return _pairs(text, variable) if "=" in text else text


def _pairs(text: str, variable: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    wrong = [key for key, equals, value in pairs if not equals or not value.strip()]
    if wrong:
        raise ConfigurationError(f"{variable}: {wrong[0]!r} has no '='; write name=value,name=value")
    return {key.strip(): value.strip() for key, _, value in pairs}


def _own_rates_text(text: str, variable: str) -> OwnRates:
    from tokenmeter.prices.own_rates import OwnRates

    return OwnRates.read(text, variable)


# Checks: a value as the meter keeps it. They raise ConfigurationError naming `place`, the argument or variable.


def _path(value: Any, place: str) -> str:
    if not isinstance(value, str | Path):
        raise ConfigurationError(f"{place}={value!r}: give a path")
    return os.fspath(value)


def _file(value: Any, place: str) -> str:
    path = _path(value, place)
    if os.path.isdir(path):
        raise ConfigurationError(
            f"{place}={path!r}: is a folder; name a file in it, such as {path.rstrip('/')}/spend.db"
        )
    return path


def _file_or_url(value: Any, place: str) -> str:
    path = _path(value, place)
    if "://" not in path:
        return _file(path, place)
    scheme, _, _ = path.partition("://")
    if scheme not in ("postgresql", "postgres"):
        raise ConfigurationError(f"{place}: {scheme}:// is no ledger; give a path, or postgresql://HOST/DATABASE")
    return path


def _path_or_store(value: Any, place: str) -> Any:
    if callable(getattr(value, "load", None)):
        return value
    if not isinstance(value, str | Path):
        raise ConfigurationError(f"{place}={value!r}: give a path, or a store with load, add, mark and forget")
    return os.fspath(value)


def _yes_or_no(value: Any, place: str) -> bool:
    if not isinstance(value, bool):
        raise ConfigurationError(f"{place}={value!r}: give True or False")
    return value


def _one_of(*allowed: str, rule: str) -> Callable[[Any, str], str]:
    def check(value: Any, place: str) -> str:
        if value not in allowed:
            raise ConfigurationError(f"{place}={value!r}: {rule}")
        return str(value)

    return check


def _mapping(value: Any, place: str) -> dict[str, str]:
    if not isinstance(value, Mapping) or not all(isinstance(text, str) for pair in value.items() for text in pair):
        raise ConfigurationError(f"{place}={value!r}: give a mapping of text to text")
    return dict(value)


def _cost_from(value: Any, place: str) -> dict[str, str]:
    chosen = {"*": value} if isinstance(value, str) else _mapping(value, place)
    if wrong := [word for word in chosen.values() if word not in ("book", "vendor")]:
        raise ConfigurationError(f"{place}: {wrong[0]!r} is neither book nor vendor")
    return chosen


def _tag_names(value: Any, place: str) -> tuple[str, ...]:
    what = "the names of tags, such as ['team', 'feature']"
    names = check_items(value, place, what)
    if not all(isinstance(one, str) for one in names):
        raise ConfigurationError(f"{place}={value!r}: give {what}")
    return names


def _baggage_keys(value: Any, place: str) -> tuple[str, ...]:
    keys = _tag_names(value, place)
    if len(keys) > 8 or any(len(key) > 64 for key in keys):
        raise ConfigurationError(f"{place}={value!r}: name at most 8 keys of at most 64 characters")
    return keys


def _dialects(value: Any, place: str) -> tuple[str, ...]:
    from tokenmeter.otel.dialects import DIALECTS

    return _named(value, place, "dialects", DIALECTS)


def _histograms(value: Any, place: str) -> tuple[str, ...]:
    from tokenmeter.otel.semconv import HISTOGRAMS

    return _named(value, place, "histograms", HISTOGRAMS)


def _named(value: Any, place: str, what: str, known: Mapping[str, Any]) -> tuple[str, ...]:
    listed = isinstance(value, Iterable) and not isinstance(value, str)
    names = tuple(value) if listed else ()
    if not listed or not all(isinstance(one, str) and one in known for one in names):
        raise ConfigurationError(f"{place}={value!r:.200}: {what} are {', '.join(known)}")
    return names


def _rates(value: Any, place: str) -> ExchangeRates:
    from tokenmeter.exchange import ExchangeRates

    if not isinstance(value, str | Path | ExchangeRates):
        raise ConfigurationError(f"{place}={value!r}: give ExchangeRates, a path, or CNY=0.1400USD@2026-11-01")
    return ExchangeRates.of(value, place)


def _own_rates(value: Any, place: str) -> OwnRates:
    from tokenmeter.prices.own_rates import OwnRates

    return OwnRates.of(value, place)


def _budgets(value: Any, place: str) -> tuple[Budget, ...]:
    from tokenmeter.budgets.budget_file import read_budgets

    return read_budgets(value, place)


def _budget_store(value: Any, place: str) -> Any:
    if isinstance(value, str):
        from tokenmeter.budgets.stores import check_store

        check_store(value, place)
    elif not callable(getattr(value, "reserve", None)):
        raise ConfigurationError(f"{place}={value!r}: give memory, sqlite:PATH, redis://HOST:PORT/0, or a BudgetStore")
    return value


def _alerts(value: Any, place: str) -> tuple[str, ...]:
    what = 'a list of addresses, such as ["dingtalk://TOKEN"]'
    if not all(isinstance(one, str) for one in check_items(value, place, what)):
        raise ConfigurationError(f"{place}: give {what}")
    from tokenmeter.budgets.alerts import check_addresses

    check_addresses(tuple(value), place)
    return tuple(value)


def _number(text: str, variable: str) -> Any:
    try:
        return float(text)
    except ValueError:
        raise ConfigurationError(f"{variable}={text!r}: give a number of seconds") from None


def _seconds(value: Any, place: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e6:
        raise ConfigurationError(f"{place}={value!r}: give a number of seconds above 0")
    return float(value)


def _function(value: Any, place: str) -> Any:
    if not callable(value):
        raise ConfigurationError(f"{place}={value!r}: give a function")
    return value


class Setting:
    """One setting: its argument, its variable, what it means, and how a value is read from text and checked.

    Stands in `Settings` under the name of the argument, and gives the default there.
    """

    def __init__(
        self,
        check: Callable[[Any, str], Any],
        meaning: str,
        *,
        read: Callable[[str, str], Any] = _text,
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
    read: Callable[[str, str], Any] = _text,
    default: Any = None,
    from_environment: bool = True,
) -> Any:
    """A field of `Settings`, of whatever type it is annotated with."""
    return Setting(check, meaning, read=read, default=default, from_environment=from_environment)


def _map_row(
    meaning: str,
    *,
    read: Callable[[str, str], Any] = _pairs,
    check: Callable[[Any, str], Any] = _mapping,
) -> Any:
    return Setting(check, meaning, read=read, default=EMPTY)


class Settings:
    """Checked settings, which do not change. Attributes that were not set have their default.

    Raises ConfigurationError naming the argument or variable and what it may be.
    """

    ledger: str | None = _row(_file_or_url, "file to which every record is appended, or postgresql://HOST/DATABASE")
    ledger_spool: str | None = _row(
        _file, "file in which records wait for the database of ledger (default: in the user's folder for state)"
    )
    ledger_sync: bool = _row(
        _yes_or_no, "a call returns when its record is in the ledger (default off)", read=_switch, default=False
    )
    log: str | None = _row(
        _one_of("json", rule="the format of log lines is json"),
        "json: a line per call through the standard library's logging",
    )
    spans: str = _row(
        _one_of("auto", "own", "enrich", "none", rule="spans is one of auto, own, enrich, none"),
        "auto, own, enrich or none",
        default="auto",
    )
    ask_usage: bool = _row(
        _yes_or_no, "ask for stream usage where the provider allows it (default on)", read=_switch, default=True
    )
    estimate: bool = _row(_yes_or_no, "count what was not reported (default on)", read=_switch, default=True)
    export_estimates: bool = _row(
        _yes_or_no, "counted numbers under gen_ai.usage.* too (default off)", read=_switch, default=False
    )
    hosts: Mapping[str, str] = _map_row('"llm.corp.lan=deepseek,10.0.0.7:8000=alibaba"')
    price_lists: Mapping[str, str] = _map_row('"deepseek=USD": which of a provider\'s own lists bills')
    cost_from: Mapping[str, str] = _map_row(
        "book or vendor, or openrouter=vendor,...: whose cost counts where both are known",
        read=_word_or_pairs,
        check=_cost_from,
    )
    rates: OwnRates | None = _row(
        _own_rates,
        '{"ollama/*": "free", "vllm/qwen3-32b": {"input": "0.5 CNY", "output": "2 CNY"}}, or a TOML file of it: '
        "prices of your own models, for a million tokens",
        read=_own_rates_text,
    )
    # The book itself reads the variable, for the command line too.
    prices: str | None = _row(
        _path, "file or folder of rates that add to or replace the book's", from_environment=False
    )
    calibrate: bool = _row(
        _yes_or_no, "learn from reported usage how far our counts are off (default off)", read=_switch, default=False
    )
    calibration: Any = _row(_path_or_store, "file of what was learnt: used, and added to where calibrate is on")
    dialects: tuple[str, ...] = _row(
        _dialects, '"langfuse,mlflow": names of single backends, beside the standard ones', read=_list, default=()
    )
    metric_tags: tuple[str, ...] | None = _row(
        _tag_names, '"team,feature": the tags that are attributes of metrics (default: all)', read=_list
    )
    histograms: tuple[str, ...] = _row(
        _histograms,
        '"duration,token.usage": what is recorded beside sums (default: duration)',
        read=_list,
        default=(),
    )
    exchange: ExchangeRates | None = _row(
        _rates, '"CNY=0.1400USD@2026-11-01" or a table: your rates, for dollar-only names'
    )
    baggage_tags: tuple[str, ...] = _row(
        _baggage_keys, '"tenant,user": keys of the trace\'s baggage that are tags too', read=_list, default=()
    )
    budgets: tuple[Budget, ...] = _row(
        _budgets, '"budgets.toml", or [Budget("50 CNY", per="day")]: limits that hold before a call is sent', default=()
    )
    budget_store: Any = _row(
        _budget_store,
        "memory, sqlite:PATH or redis://HOST:PORT/0: where budgets count; one for all processes that share them",
        default="memory",
    )
    budget_lease: float = _row(
        _seconds, "seconds for which the hold of a vanished call lives (default 600)", read=_number, default=600.0
    )
    budget_deadline: float = _row(
        _seconds,
        "seconds that the store may take before a call goes on without it (default 0.05)",
        read=_number,
        default=0.05,
    )
    on_store_error: str = _row(
        _one_of("open", "closed", rule="on_store_error is open or closed"),
        "open or closed: whether calls go on while the budget store is away (default open)",
        default="open",
    )
    budget_seed: str | None = _row(_path, "ledger whose spend a memory or empty budget store starts with")
    alerts: tuple[str, ...] = _row(
        _alerts,
        '"dingtalk://…,mailto://…": addresses of Apprise that budget events are sent to',
        read=_list,
        default=(),
    )
    alert_language: str = _row(
        _one_of("en", "zh", rule="alert_language is en or zh"), "en or zh (default en)", default="en"
    )
    on_threshold: Any = _row(_function, "function of a BudgetEvent: a threshold or a refusal", from_environment=False)
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
