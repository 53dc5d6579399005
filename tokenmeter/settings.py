"""What a user can set, from arguments or TOKENMETER_* variables; arguments win.

argument        variable                        meaning
ledger          TOKENMETER_LEDGER               file to which every record is appended
log             TOKENMETER_LOG                  json: a line per call through the standard library's logging
spans           TOKENMETER_SPANS                auto, own, enrich or none
ask_usage       TOKENMETER_ASK_USAGE            ask for stream usage where the provider allows it (default on)
estimate        TOKENMETER_ESTIMATE             count what was not reported (default on)
export_estimates TOKENMETER_EXPORT_ESTIMATES    counted numbers under gen_ai.usage.* too (default off)
hosts           TOKENMETER_HOSTS                "llm.corp.lan=deepseek,10.0.0.7:8000=alibaba"
price_lists     TOKENMETER_PRICE_LISTS          "deepseek=USD": which of a provider's own lists bills
prices          TOKENMETER_PRICES               file or folder of rates that add to or replace the book's
calibrate       TOKENMETER_CALIBRATE            learn from reported usage how far our counts are off (default off)
calibration     TOKENMETER_CALIBRATION          file of what was learnt: used, and added to where calibrate is on
dialects        TOKENMETER_DIALECTS             "langfuse,mlflow": names of single backends, beside the standard ones
metric_tags     TOKENMETER_METRIC_TAGS          "team,feature": the tags that are attributes of metrics (default: all)
histograms      TOKENMETER_HISTOGRAMS           "duration,token.usage": what is recorded beside sums (default: duration)
exchange        TOKENMETER_EXCHANGE             "CNY=0.1400USD@2026-11-01" or a table: your rates, for dollar-only names
models          TOKENMETER_MODELS               "ep-2024...=doubao-pro-32k": deployment or endpoint id to model
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from tokenmeter.errors import ConfigurationError

if TYPE_CHECKING:
    from tokenmeter.exchange import ExchangeRates

__all__ = ["Settings"]

_SPANS: Final = ("auto", "own", "enrich", "none")
_SWITCHES: Final = ("ask_usage", "estimate", "export_estimates", "calibrate")
_LISTS: Final = ("dialects", "metric_tags", "histograms")
_YES: Final = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


def _nothing() -> Mapping[str, str]:
    return MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Checked settings. Raises ConfigurationError naming the argument or variable and what it may be."""

    ledger: str | None = None
    log: str | None = None
    spans: str = "auto"
    ask_usage: bool = True
    estimate: bool = True
    export_estimates: bool = False
    dialects: tuple[str, ...] = ()
    metric_tags: tuple[str, ...] | None = None
    histograms: tuple[str, ...] = ()
    hosts: Mapping[str, str] = field(default_factory=_nothing)
    price_lists: Mapping[str, str] = field(default_factory=_nothing)
    prices: str | None = None
    models: Mapping[str, str] = field(default_factory=_nothing)
    exchange: ExchangeRates | None = None
    calibrate: bool = False
    calibration: Any = None

    @classmethod
    def read(cls, given: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> Settings:
        """Settings from arguments, and from the environment for what no argument says."""
        environment = os.environ if environment is None else environment
        known = {one.name for one in fields(cls)}
        unknown = [name for name in given if name not in known]
        if unknown:
            raise ConfigurationError(f"{unknown[0]!r} is not a setting; the settings are {', '.join(sorted(known))}")
        values: dict[str, Any] = {}
        for name in known:
            if given.get(name) is not None:
                values[name] = _checked(name, given[name], name)
            else:
                variable = f"TOKENMETER_{name.upper()}"
                if name == "prices":  # the book itself reads this one, for the command line too
                    continue
                text = environment.get(variable, "").strip()
                if text:
                    values[name] = _checked(name, _from_text(name, text, variable), variable)
        return cls(**values)


def _from_text(name: str, text: str, variable: str) -> Any:
    if name in _SWITCHES:
        if text.lower() not in _YES:
            raise ConfigurationError(f"{variable}={text!r}: say true or false")
        return _YES[text.lower()]
    if name in _LISTS:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if name in ("hosts", "price_lists", "models"):
        pairs = [part.partition("=") for part in text.split(",") if part.strip()]
        wrong = [key for key, equals, value in pairs if not equals or not value.strip()]
        if wrong:
            raise ConfigurationError(f"{variable}: {wrong[0]!r} has no '='; write name=value,name=value")
        return {key.strip(): value.strip() for key, _, value in pairs}
    return text


def _checked(name: str, value: Any, place: str) -> Any:
    if name == "spans" and value not in _SPANS:
        raise ConfigurationError(f"{place}={value!r}: spans is one of {', '.join(_SPANS)}")
    if name == "log" and value != "json":
        raise ConfigurationError(f"{place}={value!r}: the format of log lines is json")
    if name == "dialects":
        from tokenmeter.otel.dialects import DIALECTS

        unknown = [one for one in value if one not in DIALECTS]
        if unknown or isinstance(value, str):
            raise ConfigurationError(f"{place}={value!r}: dialects are {', '.join(DIALECTS)}")
        return tuple(value)
    if name == "histograms":
        from tokenmeter.otel.semconv import HISTOGRAMS

        if isinstance(value, str) or any(one not in HISTOGRAMS for one in value):
            raise ConfigurationError(f"{place}={value!r}: histograms are {', '.join(HISTOGRAMS)}")
        return tuple(value)
    if name == "metric_tags":
        if isinstance(value, str) or not all(isinstance(one, str) for one in value):
            raise ConfigurationError(f"{place}={value!r}: give the names of tags, such as ['team', 'feature']")
        return tuple(value)
    if name == "exchange":
        from tokenmeter.exchange import ExchangeRates

        if not isinstance(value, str | Path | ExchangeRates):
            raise ConfigurationError(f"{place}={value!r}: give ExchangeRates, a path, or CNY=0.1400USD@2026-11-01")
        return ExchangeRates.of(value, place)
    if name in ("ledger", "prices"):
        if not isinstance(value, str | Path):
            raise ConfigurationError(f"{place}={value!r}: give a path")
        return os.fspath(value)
    if name == "calibration" and not callable(getattr(value, "load", None)):
        if not isinstance(value, str | Path):
            raise ConfigurationError(f"{place}={value!r}: give a path, or a store with load, add, mark and forget")
        return os.fspath(value)
    if name in _SWITCHES and not isinstance(value, bool):
        raise ConfigurationError(f"{place}={value!r}: give True or False")
    if name in ("hosts", "price_lists", "models"):
        if not isinstance(value, Mapping) or not all(isinstance(text, str) for pair in value.items() for text in pair):
            raise ConfigurationError(f"{place}={value!r}: give a mapping of text to text")
        return dict(value)
    return value
