"""The price schema: which components a price file can price, and on which conditions a price can depend.

Components are the rows of `tokenmeter/components.py`, conditions the entries of `conditions.toml` beside this file.
Lifetimes of cache writes (`cache_write_5m`, `cache_write_1h` …) are components of their own without being listed.
"""

from __future__ import annotations

import fnmatch
import functools
from collections.abc import Mapping
from typing import Any, Final

from tokenmeter._support.data_files import read_data
from tokenmeter._support.value import Value
from tokenmeter.components import COMPONENTS, Component, component_of
from tokenmeter.errors import ConfigurationError

__all__ = ["YES_NO", "Condition", "PriceSchema", "check_params", "known_params", "load_schema"]

# How clients spell a switch: a boolean, or the word their vendor's request uses for it.
YES_NO: Final[Mapping[object, bool]] = {
    True: True, "true": True, "enabled": True, "on": True, "yes": True,
    False: False, "false": False, "disabled": False, "off": False, "no": False,
}  # fmt: skip


class Condition(Value):
    """A fact about a call that a price may depend on, taken from `params` under its name."""

    name: str
    yes_no: bool
    neutral: frozenset[str]
    source: str | None
    refuse_unlisted: bool
    flag_unlisted: bool
    known: tuple[str, ...]
    spelled: Mapping[str, str]
    means: Mapping[str, str]

    def flags(self, value: str, listed: bool) -> bool:
        """Whether a value of a request is one to flag; `listed` says that a case of its rate mentions it."""
        if listed or value in self.neutral:
            return False
        return self.flag_unlisted or (
            bool(self.known) and not any(fnmatch.fnmatchcase(value, pattern) for pattern in self.known)
        )


class PriceSchema:
    """Components and conditions by name, and the component of every usage field and quantity."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.components = {component.name: component for component in COMPONENTS}
        self.conditions = {
            name: Condition(
                name,
                entry["type"] == "yes-no",
                frozenset(entry.get("neutral", ())),
                entry.get("from"),
                entry["unlisted"] == "unpriced",
                entry["unlisted"] == "flagged",
                tuple(entry.get("known", ())),
                entry.get("spelled", {}),
                entry.get("means", {}),
            )
            for name, entry in data["condition"].items()
        }
        self.of_usage = {component.usage: name for name, component in self.components.items()}
        self.stand_ins = {name: part.stand_in for name, part in self.components.items() if part.stand_in is not None}

    def component(self, name: str) -> Component | None:
        """The component of this name, lifetimes of cache writes included; None if there is no such thing."""
        return component_of(name)

    def whole(self, name: str) -> str:
        """The total a component's usage is part of: `input`, `output`, or itself."""
        component = self.component(name)
        while component is not None and component.inside is not None:
            name = component.inside
            component = self.component(name)
        return name


_NOT_CONDITIONS: Final = frozenset({"cache_ttl", "covered_by", "currency", "plan"})
"""Parameters that choose a list, a lifetime or a plan instead of meeting a condition."""


@functools.cache
def known_params() -> frozenset[str]:
    """Every parameter that a price can depend on."""
    return _NOT_CONDITIONS | load_schema().conditions.keys()


def check_params(params: Mapping[str, Any]) -> None:
    """Raise ConfigurationError for a parameter that no price depends on, with the nearest that there is."""
    known = known_params()
    if params.keys() <= known:
        return
    import difflib

    wrong = next(name for name in params if name not in known)
    near = difflib.get_close_matches(wrong, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(known))}"
    raise ConfigurationError(f"no price depends on {wrong!r}: {hint}")


@functools.cache
def load_schema() -> PriceSchema:
    """The schema of this installation: the table of components, and `conditions.toml`."""
    return PriceSchema(read_data("conditions"))
