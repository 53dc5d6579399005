"""Reads usage objects whose text differs from one read before in its numbers alone.

A vendor writes the same fields with every answer. The text of a usage object without its numbers is its frame. For
each frame a `Plan` is learnt from `Fields.pick`, which stays the truth: number by number it says which component is
counted. A later usage in this frame is not parsed: its numbers are read by position, and checked against one another.
Where they do not agree, or the frame says more than plain counts, it is left to `UsageReader.settle`.

The text is known to be JSON. So wherever the frame has a place for a number there is one, and a text with the same
frame and as many numbers has no digit elsewhere, such as in the name of a field.

A plan costs as much as ten answers, so it is made when a frame is seen for the second time.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from tokenmeter._support.bounded import BoundedDict
from tokenmeter.usage import TOKEN_FIELDS, Source, usage_of
from tokenmeter.wire.extracted import EMPTY, Extracted, UsageText
from tokenmeter.wire.usage_values import WITHIN

if TYPE_CHECKING:
    from tokenmeter.wire.answer_facts import Facts
    from tokenmeter.wire.usage_fields import Fields

__all__ = ["UsageFrames"]

_REPORTED: Final = Source.REPORTED
_FRAMES_MOST: Final = 256
_TEXT_MOST: Final = 4096
"""Bytes of a usage object that may be read so: its numbers have fewer digits than Python refuses to read."""
_INPUT: Final = TOKEN_FIELDS.index("input_tokens")
_OUTPUT: Final = TOKEN_FIELDS.index("output_tokens")
_READ: Final = TOKEN_FIELDS.index("cache_read_input_tokens")
_WRITE: Final = TOKEN_FIELDS.index("cache_write_input_tokens")
_DIGITS: Final = b"0123456789"
_SPACES: Final = bytes(code if code in _DIGITS else 32 for code in range(256))
"""Everything but digits to spaces."""
_new: Final = tuple.__new__


class Plan:
    """What the numbers of one frame mean, by their position. The position after the last stands for no number."""

    __slots__ = ("count", "equal", "parts", "tokens", "total", "unknown")

    def __init__(self, fields: Fields, raw: Mapping[str, Any], numbers: Sequence[int]) -> None:
        """Raises ValueError where the numbers in the text are others than plain counts, each a value of a field."""
        whole = fields.pick(dict(raw))
        if whole.odd or not whole.plain or [one for one in _leaves(raw) if type(one) is int] != numbers:
            raise ValueError(raw)
        places: dict[str, list[int]] = {}
        for position in range(len(numbers)):
            for component in fields.pick(_alone(raw, position)).values:
                places.setdefault(component, []).append(position)
        self.unknown = whole.unknown
        nowhere = self.count = len(numbers)
        order = [places[name][0] if name in places else nowhere for name in TOKEN_FIELDS]
        self.tokens: Callable[[Sequence[Any]], tuple[int | None, ...]] = operator.itemgetter(*order)
        self.total = places["total"][0] if "total" in places else nowhere
        self.equal = tuple((same[0], other) for same in places.values() for other in same[1:])
        self.parts = tuple(
            (TOKEN_FIELDS.index(name), TOKEN_FIELDS.index(WITHIN[name])) for name in places if name in WITHIN
        )


class UsageFrames:
    """The frames of one dialect of a wire format, whose totals are inclusive as the vendor sends them."""

    def __init__(self, fields: Fields, api: str) -> None:
        self._fields = fields
        self._api = api
        self._plans: BoundedDict[bytes, Plan | bool | None] = BoundedDict(_FRAMES_MOST)

    def read(self, text: bytes, facts: Facts) -> Extracted | None:
        """The whole answer; None where there is more to its usage than plain counts that agree with one another."""
        plan = self._plans.get(text.translate(None, _DIGITS))
        if not isinstance(plan, Plan):
            return None
        words = text.translate(_SPACES).split()
        if len(words) != plan.count or len(text) > _TEXT_MOST:
            return None
        numbers: list[int | None] = [*map(int, words), None]
        tokens = plan.tokens(numbers)
        fresh, said, total = tokens[_INPUT], tokens[_OUTPUT], numbers[plan.total]
        if not fresh or not said or (total is not None and total != fresh + said):
            return None
        for one, other in plan.equal:
            if numbers[one] != numbers[other]:
                return None
        for part, whole in plan.parts:
            if tokens[part] > tokens[whole]:  # type: ignore[operator]
                return None
        written = tokens[_WRITE]
        if written and written + (tokens[_READ] or 0) > fresh:
            return None
        answer: Extracted = _new(
            Extracted,
            (
                usage_of(tokens), _REPORTED, facts.model, facts.tier, None, plan.unknown, (), None, UsageText(text),
                facts.finish, facts.id, EMPTY, self._api, None,
            ),
        )  # fmt: skip
        return answer

    def learn(self, text: bytes, raw: Mapping[str, Any]) -> None:
        """Note a usage object that was parsed: `raw` is what `text` says."""
        frame, words = text.translate(None, _DIGITS), text.translate(_SPACES).split()
        if frame not in self._plans:
            self._plans.put(frame, False)
        elif self._plans[frame] is False and len(text) <= _TEXT_MOST:
            try:
                self._plans[frame] = Plan(self._fields, raw, [*map(int, words)])
            except ValueError:
                self._plans[frame] = None


def _leaves(raw: Mapping[str, Any]) -> list[object]:
    found: list[object] = []
    for value in raw.values():
        found += value.values() if type(value) is dict else (value,)
    return found


def _alone(raw: Mapping[str, Any], position: int) -> dict[str, Any]:
    """The same usage object with a 1 in place of one of its integers, and no other number."""
    left = itertools.count(-position)  # 0 at the position

    def one(value: object) -> object:
        return value if type(value) is not int else None if next(left) else 1

    return {
        name: {inner: one(number) for inner, number in value.items()} if type(value) is dict else one(value)
        for name, value in raw.items()
    }
