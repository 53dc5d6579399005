"""`Budget`: a limit on spend, the window it holds for, whose spend it is, and what happens at the limit."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tokenmeter.budgets.limits import BudgetLimit
from tokenmeter.budgets.windows import CALENDAR, ENDLESS, CalendarWindows, EndlessWindow, RollingWindows, Windows
from tokenmeter.errors import ConfigurationError
from tokenmeter.money import Money

__all__ = ["Budget", "Use"]

_NAME: Final = re.compile(r"[\w][\w .:/@+-]{0,63}")
_SPAN: Final = re.compile(r"([0-9]+) ?(minutes?|hours?|days?|weeks?)")
_SHORTEST: Final = timedelta(minutes=1)


@dataclass(frozen=True)
class Use:
    """What `on_exceed` may return: make this call with another model, or with other parameters.

    The change is explicit: it is a flag on the call's record.
    """

    model: str | None = None
    params: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def __init__(self, model: str | None = None, **params: Any) -> None:
        object.__setattr__(self, "model", model)
        object.__setattr__(self, "params", MappingProxyType(params))


@dataclass(frozen=True)
class Budget:
    """A limit on spend.

    `limit`: `"50 CNY"`, `"2000000 tokens"` (input and output), `"500 calls"`, or a `Money`.
    `per`: `"hour"`, `"day"`, `"week"` (from Monday), `"month"` of `timezone`; `"total"`; `"scope"` (each run of a
    scope, for `scope(…, budget=…)`); or a timedelta (`"90 minutes"` in a file), which is a rolling window.
    `where`: the calls it is for, by tags; `provider` and `model` are names too. Default: all.
    `each`: a tag (or `provider`, `model`); every value of it has a counter of its own.
    `on_exceed`: `"raise"` BudgetExceeded, `"warn"`, or a function of the BudgetExceeded that may return `Use(…)`.
    `at`: shares of the limit at which a threshold event is sent, once per window.
    `wait`: seconds for which a call may wait until others settle, if it would fit then.
    `unlimited`: what is held for a request without an output limit: `"p99"` of its model's recent outputs (at least
    1,000 tokens), `"model"`: the most that its model can answer, where that is known, a number of tokens, or `"block"`.
    `unpriced`: what happens to a model without a price: `"allow"`, `"block"`, or a price for a million tokens, such as
    `"10 CNY"`. `unconvertible`: `"block"` or `"ignore"` a call that is billed in another currency.
    `cut_streams`: end a stream whose further output does not fit; else it goes on, as overrun.
    `on_lost`: what a call costs whose process vanished: its `"input"`, its `"bound"`, or `"nothing"`.

    Raises ConfigurationError naming the budget.
    """

    limit: BudgetLimit
    name: str = ""
    per: str | timedelta = "day"
    timezone: str = "UTC"
    where: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    each: str | None = None
    on_exceed: str | Callable[[Any], Any] = "raise"
    at: tuple[Decimal, ...] = (Decimal("0.5"), Decimal("0.8"), Decimal(1))
    wait: float = 0.0
    unlimited: str | int = "p99"
    unpriced: str | BudgetLimit = "allow"
    unconvertible: str = "block"
    cut_streams: bool = False
    on_lost: str = "input"

    def __init__(
        self,
        limit: str | Money | BudgetLimit,
        *,
        name: str = "",
        per: str | timedelta = "day",
        timezone: str = "UTC",
        where: Mapping[str, str] | None = None,
        each: str | None = None,
        on_exceed: str | Callable[[Any], Any] = "raise",
        at: Iterable[float | str | Decimal] = ("0.5", "0.8", "1"),
        wait: float = 0.0,
        unlimited: str | int = "p99",
        unpriced: str | Money = "allow",
        unconvertible: str = "block",
        cut_streams: bool = False,
        on_lost: str = "input",
    ) -> None:
        place = f"budget {name!r}" if name else f"budget of {limit!r}"
        made = limit if isinstance(limit, BudgetLimit) else BudgetLimit.read(limit, place)
        if not isinstance(name, str) or (name and not _NAME.fullmatch(name)):
            raise ConfigurationError(
                f"{place}: a name is up to 64 letters, digits and any of ' .:/@+-', such as 'search'"
            )
        values = {
            "limit": made,
            "name": name,
            "per": _per(per, place),
            "timezone": _zone(timezone, place),
            "where": _where(where, place),
            "each": _each(each, per, place),
            "on_exceed": on_exceed if callable(on_exceed) else _one(on_exceed, "on_exceed", ("raise", "warn"), place),
            "at": _shares(at, place),
            "wait": _seconds(wait, place),
            "unlimited": _unlimited(unlimited, place),
            "unpriced": _unpriced(unpriced, made, place),
            "unconvertible": _one(unconvertible, "unconvertible", ("block", "ignore"), place),
            "cut_streams": _yes_or_no(cut_streams, "cut_streams", place),
            "on_lost": _one(on_lost, "on_lost", ("input", "bound", "nothing"), place),
        }
        for key, value in values.items():
            object.__setattr__(self, key, value)
        if not name:
            object.__setattr__(self, "name", self._default_name())

    def _default_name(self) -> str:
        whose = "".join(f" {key}={value}" for key, value in self.where.items())
        each = f" each {self.each}" if self.each else ""
        per = self.per if isinstance(self.per, str) else str(self.per).replace(",", "")
        return f"{self.limit.show(self.limit.units)} per {per}{whose}{each}"[:64]

    def windows(self) -> Windows:
        """The windows of this budget, one after another."""
        if isinstance(self.per, timedelta):
            return RollingWindows(self.per)
        if self.per in ENDLESS:
            return EndlessWindow(self.per)
        return CalendarWindows(self.per, ZoneInfo(self.timezone))

    def __hash__(self) -> int:
        return hash((self.name, self.limit))

    def __str__(self) -> str:
        return self.name


def _per(per: object, place: str) -> str | timedelta:
    if isinstance(per, str):
        if per in CALENDAR or per in ENDLESS:
            return per
        found = _SPAN.fullmatch(per)
        if found:
            per = timedelta(**{found[2].rstrip("s") + "s": int(found[1])})
    if not isinstance(per, timedelta):
        words = ", ".join((*CALENDAR, *ENDLESS))
        raise ConfigurationError(f'{place}: per={per!r} is none of {words}, nor a timedelta ("90 minutes" in a file)')
    if per < _SHORTEST or per > timedelta(days=400):
        raise ConfigurationError(f"{place}: per={per!r}: a rolling window is from 1 minute to 400 days long")
    return per


def _zone(name: object, place: str) -> str:
    with suppress(ZoneInfoNotFoundError, ValueError, OSError):
        if isinstance(name, str):
            return ZoneInfo(name).key
    raise ConfigurationError(
        f'{place}: timezone={name!r} is no time zone; write one such as "Asia/Shanghai"'
        " (where the system has none: pip install tzdata)"
    )


def _where(where: object, place: str) -> Mapping[str, str]:
    if where is None:
        return MappingProxyType({})
    if not isinstance(where, Mapping) or not all(
        isinstance(word, str) and word for pair in where.items() for word in pair
    ):
        raise ConfigurationError(
            f'{place}: where={where!r}: give a mapping of tags to values, such as {{"team": "search"}}'
        )
    return MappingProxyType(dict(where))


def _each(each: object, per: object, place: str) -> str | None:
    if each is None:
        return None
    if not isinstance(each, str) or not each:
        raise ConfigurationError(f'{place}: each={each!r}: give the name of a tag, such as "user"')
    if per == "scope":
        raise ConfigurationError(f"{place}: each={each!r} with per='scope': every run of a scope has a counter already")
    return each


def _one(value: object, key: str, allowed: tuple[str, ...], place: str) -> str:
    if value not in allowed:
        more = " or a function" if key == "on_exceed" else ""
        raise ConfigurationError(f"{place}: {key}={value!r} is none of {', '.join(allowed)}{more}")
    return str(value)


def _shares(at: Any, place: str) -> tuple[Decimal, ...]:
    with suppress(TypeError, ArithmeticError):
        shares = tuple(sorted({Decimal(str(one)) for one in at}))
        if all(0 < share <= 1 for share in shares):
            return shares
    raise ConfigurationError(f"{place}: at={at!r}: give shares of the limit between 0 and 1, such as [0.5, 0.8, 1.0]")


def _seconds(value: object, place: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 3600:
        raise ConfigurationError(f"{place}: wait={value!r}: give seconds from 0 to 3600")
    return float(value)


def _unlimited(value: Any, place: str) -> str | int:
    if value in ("p99", "model", "block") or (type(value) is int and value > 0):
        return value if isinstance(value, int) else str(value)
    raise ConfigurationError(f"{place}: unlimited={value!r} is none of p99, model, block, nor a number of tokens")


def _unpriced(value: object, limit: BudgetLimit, place: str) -> str | BudgetLimit:
    if value in ("allow", "block"):
        return str(value)
    rate = BudgetLimit.read(value, f"{place}: unpriced")
    if rate.unit != limit.unit or not limit.is_money:
        raise ConfigurationError(f"{place}: unpriced={value!r} is not in the budget's currency, {limit.unit}")
    return rate


def _yes_or_no(value: object, key: str, place: str) -> bool:
    if not isinstance(value, bool):
        raise ConfigurationError(f"{place}: {key}={value!r}: give True or False")
    return value
