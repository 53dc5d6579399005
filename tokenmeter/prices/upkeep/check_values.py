"""Checks that several entries of a price file share: shapes, days, numbers, names of components.

Each yields a line for what is wrong, without the place of the entry, which `check` puts in front.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, tzinfo
from typing import Any, Final

from tokenmeter.prices.components import PriceSchema
from tokenmeter.prices.conditions import number
from tokenmeter.prices.price_file import instant_of
from tokenmeter.prices.time_windows import as_date

__all__ = [
    "hint",
    "shaped",
    "table",
    "unknown_keys",
    "wrong_days",
    "wrong_instant",
    "wrong_number",
    "wrong_stand_ins",
    "wrong_thousands",
]

# What each key holds, wherever it stands.
_SHAPES: Final[Mapping[str, type | tuple[type, ...]]] = {
    **dict.fromkeys(("provider", "currency", "timezone", "zone", "calendar", "holidays", "makeup", "of", "name"), str),
    **dict.fromkeys(
        ("rate", "alias", "form", "plan", "discount", "exception", "case", "match", "k", "hours", "models", "drop"),
        list,
    ),
    **dict.fromkeys(
        ("stand_in", "assume", "windows", "per", "step", "minimum", "params", "when", "seen_by", "sources"), Mapping
    ),
    **dict.fromkeys(("free", "withdrawn", "promotion", "contract", "stack"), bool),
    **dict.fromkeys(("effective", "until", "review_by", "announced", "from", "seen"), (str, date)),
    "model": str,
    "observed": list,
    "days": (str, list),
}
_NAMES: Final = {str: "a string", list: "a list", Mapping: "a table", bool: "true or false", date: "a day"}


def shaped(entry: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """An entry without the keys that hold another kind of thing than they must, and a line for each of these."""
    sound, found = {}, []
    for key, value in entry.items():
        kinds = _SHAPES.get(key)
        if kinds is None or isinstance(value, kinds):
            sound[key] = value
        elif key == "case":
            found.append("case: write [[rate.case]] with two brackets, once for each case")
        else:
            wanted = " or ".join(_NAMES[kind] for kind in (kinds if isinstance(kinds, tuple) else (kinds,)))
            found.append(f"{key}: {value!r} must be {wanted}")
    return sound, found


def table(value: Any) -> Mapping[str, Any]:
    """The value if it is a table, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def unknown_keys(entry: Mapping[str, Any], known: tuple[str, ...]) -> Iterator[str]:
    """A line for each key that such an entry does not have."""
    for key in entry:
        if key not in known:
            yield f'"{key}" is not a key here{hint(key, known)}'


def hint(word: str, known: Iterable[str]) -> str:
    """The nearest known word in brackets, or nothing."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f' (did you mean "{near[0]}"?)' if near else ""


def wrong_days(values: Mapping[str, Any], place: str = "") -> Iterator[str]:
    """A line for each value that is no day."""
    for key, value in values.items():
        try:
            as_date(value)
        except (ValueError, TypeError, AttributeError):
            yield f"{place}{key}: {value!r} is not a day"


def wrong_thousands(k: list[Any]) -> Iterator[str]:
    """A line where the sizes of K are not two numbers."""
    if len(k) != 2 or not all(type(size) is int and size > 0 for size in k):
        yield f"k: {k!r} must be the two sizes K is read as, [1000, 1024]"


def wrong_number(key: str, value: Any) -> Iterator[str]:
    """A line for what is no price: no number, or below zero."""
    try:
        if number(value) < 0:
            yield f"{key}: {value} is negative"
    except ValueError as error:
        yield f"{key}: {error}"


def wrong_instant(key: str, value: Any, zone: tzinfo, found: list[float] | None = None) -> Iterator[str]:
    """A line for what is no day or instant by the clock of `zone`; a right one is added to `found`, in seconds."""
    try:
        if not isinstance(value, str | date | datetime):
            raise TypeError
        moment = instant_of(value, zone)
        if found is not None:
            found.append(moment)
    except (TypeError, ValueError) as error:
        yield f"{key}: {str(error) or f'{value!r} is not a day or an instant'}"


def wrong_stand_ins(entry: Mapping[str, Any], schema: PriceSchema) -> Iterator[str]:
    """A line for each name in `stand_in` and `assume` that is no component or condition."""
    for name, other in table(entry.get("stand_in")).items():
        for component in (name, other):
            if not isinstance(component, str) or schema.component(component) is None:
                yield f'stand_in: "{component}" is not a component{hint(component, schema.components)}'
    for name in table(entry.get("assume")):
        if name not in schema.conditions:
            yield f'assume: "{name}" is not a condition{hint(name, schema.conditions)}'
