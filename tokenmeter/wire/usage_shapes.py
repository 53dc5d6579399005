"""Reads usage objects that have the fields of one read before: which number means what is known, and only checked.

A vendor sends the same fields with every answer. For each set of fields a `Plan` is learnt from `Fields.pick`, which
stays the truth: field by field it says which component a number counts. A later usage with these fields is read by
position. Where its numbers do not agree with one another, or are no plain counts, it is left to `UsageReader.settle`.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from tokenmeter._support.bounded import BoundedDict
from tokenmeter.usage import TOKEN_FIELDS, Source, usage_of
from tokenmeter.wire.extracted import EMPTY, Extracted
from tokenmeter.wire.usage_values import WITHIN

if TYPE_CHECKING:
    from tokenmeter.wire.usage_fields import Fields
    from tokenmeter.wire.usage_reader import Facts

__all__ = ["UsageShapes"]

_REPORTED: Final = Source.REPORTED
_SHAPES_MOST: Final = 256
_INPUT: Final = TOKEN_FIELDS.index("input_tokens")
_OUTPUT: Final = TOKEN_FIELDS.index("output_tokens")
_READ: Final = TOKEN_FIELDS.index("cache_read_input_tokens")
_WRITE: Final = TOKEN_FIELDS.index("cache_write_input_tokens")
_new: Final = tuple.__new__


class Plan:
    """What the numbers of one shape mean, by their position. The position after the last stands for no number."""

    __slots__ = ("equal", "parts", "tokens", "total", "unknown")

    def __init__(self, fields: Fields, raw: Mapping[str, Any], numbers: Sequence[object]) -> None:
        """Raises ValueError for a usage that says more than token counts."""
        places: dict[str, list[int]] = {}
        for position, number in enumerate(numbers):
            if number is None:
                continue
            found = fields.pick(_alone(raw, position))
            if type(number) is not int or found.odd or not found.plain:
                raise ValueError(number)
            for component in found.values:
                places.setdefault(component, []).append(position)
        whole = fields.pick(_alone(raw, len(numbers)))
        if whole.odd:
            raise ValueError(whole.odd)
        self.unknown = whole.unknown
        nowhere = len(numbers)
        order = [places[name][0] if name in places else nowhere for name in TOKEN_FIELDS]
        self.tokens: Callable[[Sequence[Any]], tuple[int | None, ...]] = operator.itemgetter(*order)
        self.total = places["total"][0] if "total" in places else nowhere
        self.equal = tuple((same[0], other) for same in places.values() for other in same[1:])
        self.parts = tuple(
            (TOKEN_FIELDS.index(name), TOKEN_FIELDS.index(WITHIN[name])) for name in places if name in WITHIN
        )


class UsageShapes:
    """The plans of one dialect of a wire format. `api` is its id; its totals are inclusive as the vendor sends them."""

    def __init__(self, fields: Fields, api: str) -> None:
        self._fields = fields
        self._api = api
        self._plans: BoundedDict[tuple[Any, ...], Plan | None] = BoundedDict(_SHAPES_MOST)

    def read(self, raw: dict[str, Any], facts: Facts) -> Extracted | None:
        """The whole answer; None where there is more to its usage than plain counts that agree with one another."""
        shape: list[Any] = []
        numbers: list[Any] = []
        for name, value in raw.items():
            if type(value) is dict:
                shape.append((name, *value))
                numbers += value.values()
            else:
                shape.append(name)
                numbers.append(value)
        key = (*shape, *map(type, numbers))
        plan = self._plans.get(key)
        if plan is None:
            if key in self._plans:
                return None
            plan = self._plans.put(key, self._learnt(raw, numbers))
            if plan is None:
                return None
        numbers.append(None)
        tokens = plan.tokens(numbers)
        fresh, said, total = tokens[_INPUT], tokens[_OUTPUT], numbers[plan.total]
        if not fresh or not said or fresh < 0 or said < 0 or (total is not None and total != fresh + said):
            return None
        for one, other in plan.equal:
            if numbers[one] != numbers[other]:
                return None
        for part, whole in plan.parts:
            if not 0 <= tokens[part] <= tokens[whole]:  # type: ignore[operator]
                return None
        written = tokens[_WRITE]
        if written and written + (tokens[_READ] or 0) > fresh:
            return None
        answer: Extracted = _new(
            Extracted,
            (
                usage_of(tokens), _REPORTED, facts.model, facts.tier, None, plan.unknown, (), None, raw, facts.finish,
                facts.id, EMPTY, self._api, None,
            ),
        )  # fmt: skip
        return answer

    def _learnt(self, raw: dict[str, Any], numbers: Sequence[object]) -> Plan | None:
        try:
            return Plan(self._fields, raw, numbers)
        except ValueError:
            return None


def _alone(raw: Mapping[str, Any], position: int) -> dict[str, Any]:
    """The same usage object with a 1 at one position, and no number elsewhere."""
    left = itertools.count(-position)  # 0 at the position

    def one() -> int | None:
        return None if next(left) else 1

    return {name: {inner: one() for inner in value} if type(value) is dict else one() for name, value in raw.items()}
