"""Where a number stands in a vendor's JSON, as data.

A *path* names a place: `usage.prompt_tokens`, `choices.0.usage` (one element of a list), `models[].input_tokens`
(every element), `cacheDetails[ttl=1h].inputTokens` (the elements that say so). Two readers are compiled from paths:

- `getter` follows one path and gives what stands there, or None. It never raises, whatever the JSON holds.
- `Fields` reads a whole usage object in a single pass. The pass that picks the numbers up also sees every field
  nobody declared, so that a new field of a vendor is reported as unknown instead of being dropped.

A field may be declared for a component that has several names (DeepSeek says its cache hits twice): the first
declared wins, and a disagreement is a flag. Elements of one list add up.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final

__all__ = ["collector", "getter", "number", "written"]

Getter = Callable[[Any], Any]
_INTEGER: Final = r"\s*[+-]?[0-9]{1,30}\s*"
_DECIMAL: Final = r"\s*[+-]?[0-9]{1,30}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?\s*"


def getter(path: str) -> Getter:
    """A function giving what stands at `path` in a JSON value, or None; steps are names and list positions."""
    if path == ".":
        return lambda value: value
    steps = path.split(".")
    if len(steps) == 1 and not path.isdigit():
        return lambda value: value.get(path) if type(value) is dict else None

    def get(value: Any) -> Any:
        for step in steps:
            if type(value) is dict:
                value = value.get(step)
            elif type(value) is list and step.isdigit():
                value = value[int(step)] if int(step) < len(value) else None
            else:
                return None
        return value

    return get


def collector(path: str) -> Callable[[Any], Sequence[Any]]:
    """A function giving everything that stands at a path through lists, nulls left out.

    `parts[].text` takes every element, `parts[thought=true].text` those that say so, `parts[!thought].text` those
    that do not have the field, `parts[thought].text` those that have it; `&` joins conditions.
    """
    before, _, rest_of_path = path.partition("[")
    choice, closed, leaf = rest_of_path.partition("]")
    if not closed:
        get = getter(path)
        return lambda value: () if (found := get(value)) is None else (found,)
    get, leaf = getter(before), leaf.removeprefix(".")
    if not choice and leaf and "." not in leaf and "[" not in leaf:  # `choices[].finish_reason`: read for every call

        def leaves(value: Any) -> Sequence[Any]:
            items = get(value)
            if type(items) is not list:
                return ()
            if len(items) == 1 and type(items[0]) is dict:  # nearly always
                return () if (one := items[0].get(leaf)) is None else (one,)
            return [found for item in items if type(item) is dict and (found := item.get(leaf)) is not None]

        return leaves
    rest = collector(leaf) if leaf else lambda value: (value,)
    chosen = _chooser(choice)

    def every(value: Any) -> Sequence[Any]:
        items = get(value)
        if type(items) is not list:
            return ()
        return [found for item in items if item is not None and chosen(item) for found in rest(item)]

    return every


def _chooser(choice: str) -> Callable[[Any], bool]:
    if not choice:
        return lambda item: True
    if "&" in choice:
        tests = [_chooser(part) for part in choice.split("&")]
        return lambda item: all(test(item) for test in tests)
    if choice.startswith("!"):
        absent = getter(choice[1:])
        return lambda item: not absent(item)
    key, equals, wanted = choice.partition("=")
    read = getter(key)
    if not equals:
        return lambda item: read(item) is not None
    return lambda item: written(read(item)) == wanted


def written(value: object) -> object:
    """A value as it is written in JSON, so that a path can say `done=true` and `status=2`."""
    if type(value) is bool:
        return "true" if value else "false"
    return str(value) if type(value) is int else value


def number(value: object) -> int | Decimal | None:
    """Read a number a vendor wrote as a string, a float or a Decimal; None where it is not clearly one.

    A whole number comes back as int whatever its form (`"12"`, `12.0`). Booleans, NaN and words are not numbers.
    """
    if type(value) is int:
        return value
    if type(value) is float:
        value = repr(value)  # the shortest text that reads back the same: what the vendor sent
    if type(value) is str:
        if re.fullmatch(_INTEGER, value):
            return int(value.strip())
        if not re.fullmatch(_DECIMAL, value):
            return None
        try:
            value = Decimal(value.strip())
        except InvalidOperation:
            return None
    if (
        type(value) is Decimal
        and value.is_finite()
        and abs(value.adjusted()) < 40
        and len(value.as_tuple().digits) < 60
    ):
        return int(value) if value == value.to_integral_value() else value
    return None
