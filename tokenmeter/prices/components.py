"""What can be billed and what a price can depend on, read from `components.toml`.

Everything that names a component or a condition asks here, so that a new one is a line of data. Lifetimes of cache
writes (`cache_write_5m`, `cache_write_1h` …) are components of their own without being listed.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from tokenmeter._support.data_files import read_data
from tokenmeter.errors import ConfigurationError

__all__ = ["YES_NO", "Component", "Condition", "Schema", "check_params", "known_params", "load_schema"]

_LIFETIME: Final = re.compile(r"cache_write_[0-9]+[a-z]+")
# How clients spell a switch: a boolean, or the word their vendor's request uses for it.
YES_NO: Final[Mapping[object, bool]] = {
    True: True, "true": True, "enabled": True, "on": True, "yes": True,
    False: False, "false": False, "disabled": False, "off": False, "no": False,
}  # fmt: skip


class Component(NamedTuple):
    """A billed kind of quantity: where usage holds it and how many of it a price is for."""

    name: str
    usage: str
    per: int
    inside: str | None = None
    stand_in: str | None = None


class Condition(NamedTuple):
    """A fact about a call that a price may depend on, taken from `params` under its name."""

    name: str
    yes_no: bool
    neutral: frozenset[str]
    source: str | None
    refuse_unlisted: bool
    spelled: Mapping[str, str]
    means: Mapping[str, str]


class Schema:
    """Components and conditions by name, and the component of every usage field and quantity."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.components = {
            name: Component(name, entry["usage"], entry["per"], entry.get("inside"), entry.get("as"))
            for name, entry in data["component"].items()
        }
        self.conditions = {
            name: Condition(
                name,
                entry["type"] == "yes-no",
                frozenset(entry.get("neutral", ())),
                entry.get("from"),
                entry["unlisted"] == "unpriced",
                entry.get("spelled", {}),
                entry.get("means", {}),
            )
            for name, entry in data["condition"].items()
        }
        self.of_usage = {component.usage: name for name, component in self.components.items()}
        self.stand_ins = {name: part.stand_in for name, part in self.components.items() if part.stand_in is not None}

    def component(self, name: str) -> Component | None:
        """The component of this name, lifetimes of cache writes included; None if there is no such thing."""
        found = self.components.get(name)
        if found is None and _LIFETIME.fullmatch(name):
            return Component(name, f"{name}_input_tokens", self.components["cache_write"].per, "input")
        return found

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
def load_schema() -> Schema:
    """The schema of this installation."""
    return Schema(read_data("components"))
