"""Texts of a row that most calls of a program repeat, remembered by what they were made of.

The shapes of JSON texts (`shapes.py`) are found without making the text: by the keys of a usage object, the prices of
charges, and how a request ended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from tokenmeter._support.bounded import BoundedDict
from tokenmeter.cost import Cost
from tokenmeter.ledger.free_form import bare, json_text, kept_text
from tokenmeter.ledger.shapes import CHARGES, NUMBERS, divided, encode
from tokenmeter.money import plain
from tokenmeter.record import Attempt

__all__ = ["RepeatedTexts", "Sent"]

Sent = tuple[str | None, int | None, int | None, str | None]
"""The only request of a call: shape, microseconds before the end, nanoseconds it took, id."""

_NUMBER_MOST: Final = 10**15
_NAME_MOST: Final = 40


class RepeatedTexts:
    """Texts that were made before, by what they were made of: most calls of a program repeat them."""

    def __init__(self) -> None:
        self._texts: BoundedDict[Any, str | None] = BoundedDict(1000)
        self._shapes: BoundedDict[Any, str] = BoundedDict(1000)

    def names(self, names: tuple[str, ...] | None, kept: Callable[[tuple[str, ...]], Any] = tuple) -> str | None:
        """The JSON of some names, of those that are `kept`."""
        if not names:
            return None
        key = (names, kept)
        found = self._texts.get(key, self)
        return self._texts.put(key, json_text(kept(names))) if found is self else found  # type: ignore[return-value]

    def params_text(self, value: Mapping[str, Any]) -> str | None:
        """The JSON of a free-form mapping."""
        try:
            key = tuple([(name, type(item), item) for name, item in value.items()])
            found = self._texts.get(key, self)
        except TypeError:  # a value that is a list or a mapping
            return json_text(bare(value))
        return self._texts.put(key, json_text(bare(value))) if found is self else found  # type: ignore[return-value]

    def raw(self, usage: Any) -> tuple[str | None, str | None]:
        """A vendor's usage object, divided into shape and numbers."""
        key: list[Any] = []
        numbers: list[int] = []
        if not usage:
            return None, None
        if _walk(usage, key, numbers):
            names = tuple(key)
            found = f"[{','.join(map(str, numbers))}]"
            if (known := self._shapes.get(names)) is not None:
                return known, found
            text = json_text(bare(usage))
            if text is None:
                return None, None
            shape, values = divided(text, NUMBERS)
            if values == found:
                self._shapes.put(names, shape)
            return shape, values
        text = json_text(bare(usage))
        return (None, None) if text is None else divided(text, NUMBERS)

    def charges(self, cost: Cost) -> tuple[str | None, str | None]:
        """The charges of a cost, divided into shape and what is of this call: quantities and amounts."""
        lines = cost.lines
        if not lines:
            return None, None
        key = tuple([price.shown for price, _, _ in lines])
        shape = self._shapes.get(key)
        if shape is None:
            made = [charge.to_dict() for charge in cost.charges]
            shape, _ = divided(encode(made), CHARGES)
            self._shapes.put(key, shape)
        values = [
            f'{quantity},"{plain(amount)}"' if type(quantity) is int else f'"{plain(quantity)}","{plain(amount)}"'
            for _, quantity, amount in lines
        ]
        return shape, f"[{','.join(values)}]"

    def sent(
        self, attempts: tuple[Attempt, ...], ended_us: int
    ) -> tuple[str | None, int | None, int | None, str | None]:
        """The only request of a call: the shape of its JSON, how long before the end it was sent, for how long."""
        if len(attempts) != 1:
            return None, None, None, None
        status, error, started_ns, duration_ns, request_id, usage, reason = attempts[0]
        key = (status, error, usage, reason)
        shape = self._shapes.get(key) or self._shapes.put(key, _sent_shape(attempts[0]))
        return shape, ended_us - started_ns // 1000, duration_ns, kept_text(request_id)


def _sent_shape(attempt: Attempt) -> str:
    tail = encode({"usage": attempt.usage, "reason": attempt.reason})[1:]
    head = encode({"status": attempt.status, "error": attempt.error})[:-1]
    return kept_text(encode([f'[{head},"started_at":"', '","duration":', ',"request_id":', f",{tail}]"])) or ""


def _walk(value: Any, key: list[Any], numbers: list[int]) -> bool:
    """Note the structure of a JSON value and its whole numbers; False where it holds what has no short form."""
    kind = type(value)
    if kind is int:
        if not -_NUMBER_MOST < value < _NUMBER_MOST:
            return False
        key.append(int)
        numbers.append(value)
    elif kind is dict:
        key.append(dict)
        for name, item in value.items():
            key.append(name)
            if not _walk(item, key, numbers):
                return False
        key.append(None)
    elif value is None or kind is bool or (kind is str and len(value) <= _NAME_MOST):  # longer than a name
        key.append((kind, value))
    else:
        return False
    return True
