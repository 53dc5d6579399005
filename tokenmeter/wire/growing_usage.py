"""Merges the usage objects of a stream's events: field by field, and no count falls.

A relay may send zeros after the real counts, or a smaller figure. A later count below an earlier one is left out and
flagged with the name of its field; what is not counted (times, rates) takes its last value.
"""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal
from typing import Any, Final

from tokenmeter.wire.json_paths import number

__all__ = ["GrowingUsage"]

_FALLS_MOST: Final = 20
_CHOICES_MOST: Final = 1000
_DEPTH_MOST: Final = 20


class GrowingUsage:
    """The usage of one streamed answer so far: one object, or one for each choice that states its own."""

    __slots__ = ("_by_choice", "_falls")

    def __init__(self) -> None:
        self._by_choice: dict[object, dict[str, Any]] = {}
        self._falls: dict[str, tuple[object, object]] = {}

    def __bool__(self) -> bool:
        return bool(self._by_choice)

    def objects(self, counted: Collection[str]) -> list[dict[str, Any]]:
        """The merged usage objects: one, or one for each choice where none is of the whole answer."""
        whole = self._by_choice.get(None)
        if whole is None or len(self._by_choice) == 1:
            return list(self._by_choice.values())
        silent = GrowingUsage()
        for usage in (*(usage for choice, usage in self._by_choice.items() if choice is not None), whole):
            silent.take(usage, counted)
        return silent.objects(counted)

    def take(self, raw: dict[str, Any], counted: Collection[str], choice: object = None) -> None:
        """Merge one event's usage; `counted` has the paths of the fields that are counts."""
        choice = choice if isinstance(choice, int | str) else None
        known = self._by_choice.get(choice)
        if known is None:
            if len(self._by_choice) < _CHOICES_MOST:
                self._by_choice[choice] = dict(raw)
        else:
            self._by_choice[choice] = self._merged(known, raw, "", counted, _DEPTH_MOST)

    def flags(self) -> tuple[str, ...]:
        """One flag for each field whose count fell."""
        return tuple(f"usage_fell: {path} was {old} and then {new}" for path, (old, new) in self._falls.items())

    def _merged(
        self, old: dict[str, Any], new: dict[str, Any], prefix: str, counted: Collection[str], depth: int
    ) -> dict[str, Any]:
        merged = dict(old)
        for key, value in new.items():
            if value is None:
                continue
            known = merged.get(key)
            if type(known) is int and type(value) is int:
                if value >= known or not self._fell(f"{prefix}{key}", known, value, counted):
                    merged[key] = value
            elif known is None or not depth:
                merged[key] = value
            else:
                merged[key] = self._either(known, value, f"{prefix}{key}", counted, depth)
        return merged

    def _either(self, old: Any, new: Any, path: str, counted: Collection[str], depth: int) -> Any:
        if type(old) is dict:
            return self._merged(old, new, f"{path}.", counted, depth - 1) if type(new) is dict else old
        if type(old) is list:
            return self._list(old, new, path, counted, depth) if type(new) is list else old
        was, now = number(old), number(new)
        if was is not None and now is None:
            return old if path in counted else new
        if was is not None and now is not None and now < was and self._fell(path, was, now, counted):
            return old
        return new

    def _list(self, old: list[Any], new: list[Any], path: str, counted: Collection[str], depth: int) -> list[Any]:
        """Elements are the same where their words are (a modality, a model), whatever their order."""
        merged = list(new)
        unmatched = list(range(len(new)))
        for item in old:
            words = _words(item)
            at = next((at for at in unmatched if _words(new[at]) == words), None)
            if at is None:
                merged.append(item)
            else:
                unmatched.remove(at)
                if type(item) is dict:
                    merged[at] = self._merged(item, new[at], f"{path}[].", counted, depth - 1)
        return merged

    def _fell(self, path: str, old: int | Decimal, new: int | Decimal, counted: Collection[str]) -> bool:
        if path not in counted:
            return False
        if len(self._falls) < _FALLS_MOST:
            self._falls.setdefault(path, (old, new))
        return True


def _words(item: object) -> object:
    """What tells an element of a list from the others: its words, or itself."""
    if type(item) is dict:
        return {key: value for key, value in item.items() if type(value) is str and number(value) is None}
    return item
