"""Brings a vendor's totals to one meaning, and doubts the figures that cannot be true.

Totals are inclusive whatever the vendor's own meaning: what a format leaves out of a total is added in, and the
grand total fills what is missing or was left out. A figure that cannot be true (a negative count, zero tokens beside
a prompt or text) is flagged and left out, so that it is counted from the text. The other figures are kept as
reported; where they contradict one another, a flag names them.
"""

from __future__ import annotations

from typing import Any, Final

from tokenmeter.wire.formats import Api

__all__ = ["Totals"]

Values = dict[str, Any]
_INPUT: Final = "input_tokens"
_OUTPUT: Final = "output_tokens"


class Totals:
    """The rules of one wire format's totals."""

    __slots__ = ("_api", "_believed", "_fixed", "_outside", "_zero_if_absent", "adjusts")

    def __init__(self, api: Api) -> None:
        self._api = api
        self.adjusts = bool(api.outside or api.fixed or api.zero_if_absent)
        self._fixed = api.fixed
        self._outside = tuple(api.outside.items())
        self._zero_if_absent = api.zero_if_absent
        self._believed = api.true_zeros or api.operation == "count_tokens"

    def apply(self, values: Values, flags: list[str]) -> None:
        """Make the totals in `values` inclusive; the grand total is taken out of them."""
        total = values.pop("total", None)
        if not values and total is None:
            return  # what a format fixes is nothing without a figure of the vendor
        if self.adjusts:
            # Perplexity's grand total leaves out what we add in, Gemini's does not: either agrees.
            if total == values.get(_INPUT, 0) + values.get(_OUTPUT, 0) and _OUTPUT in values:
                total = None
            for name, parts in self._outside:
                for part in parts:
                    # Input is never made of its parts alone: a cache read beside an unknown rest says nothing of it.
                    if (extra := values.get(part)) and (name in values or name != _INPUT):
                        values[name] = values.get(name, 0) + extra
            if total is None and self._zero_if_absent and _INPUT in values:
                for name in self._zero_if_absent:
                    values.setdefault(name, 0)
            if self._fixed:
                total = self._before_fixed(values, total)
        if total is not None:
            self._by_total(values, total, flags)

    def _before_fixed(self, values: Values, total: int | None) -> int | None:
        """Set the totals that the format fixes; a reported figure in their place is part of the grand total."""
        rest = total - values.get(_INPUT, 0) - values.get(_OUTPUT, 0) if total is not None and _INPUT in values else 0
        told = any(values.get(name) for name in self._api.fixed)
        if told and rest > 0 and self._left_out(values, rest):
            rest = 0
        values.update(self._api.fixed)
        return None if told and rest == 0 else total

    def _by_total(self, values: Values, total: int, flags: list[str]) -> None:
        """Use the grand total: for what is missing, for what the vendor left out, and as a check."""
        got_in, got_out = values.get(_INPUT), values.get(_OUTPUT)
        if got_in is None or got_out is None:
            missing, there = (_INPUT, got_out) if got_in is None else (_OUTPUT, got_in)
            if there is not None and total >= there:
                values[missing] = total - there
            elif there is not None:
                flags.append(f"total_mismatch: total is {total}, below the one part that is there")
            return
        rest = total - got_in - got_out
        if rest == 0 or (rest > 0 and self._left_out(values, rest)):
            return
        text = f"total_mismatch: total is {total}, input and output are {got_in} and {got_out}"
        if rest > 0:
            # Hidden reasoning is the usual rest; a total that says more than its parts was billed.
            name = _INPUT if got_in == 0 or _OUTPUT in self._api.fixed else _OUTPUT
            values[name] += rest
            text += f"; the rest of {rest} is counted in {name}"
        flags.append(text)

    def _left_out(self, values: Values, rest: int) -> bool:
        """Whether the grand total's rest is a part that the vendor left out of a total: then it is added."""
        for name, parts in self._api.by_total.items():
            amounts = [values.get(part) or 0 for part in parts]
            if rest == sum(amounts) or rest in amounts:
                values[name] += rest
                return True
        hidden = self._api.hidden
        if hidden is not None and _OUTPUT not in self._api.fixed:
            values[_OUTPUT] += rest
            values[hidden] = (values.get(hidden) or 0) + rest
            return True
        return False

    def drop_negatives(self, values: Values, flags: list[str]) -> None:
        """Leave out negative counts, each with a flag."""
        negative = [name for name, value in values.items() if value < 0]
        flags.extend(f"contradiction: {name} is negative ({values.pop(name)}): not believed" for name in negative)

    def drop_zeros(self, values: Values, flags: list[str], *, spoke: bool | None, refused: bool) -> None:
        """Leave out zeros that cannot be true: no prompt, or no output beside text.

        `spoke` says whether the answer has text, None where nobody looked: then a zero output is left out unflagged,
        to be read again with the text. A format without text writes zeros for "not billed in tokens".
        """
        api = self._api
        if self._believed:
            return
        if not api.text:
            for name in (_INPUT, _OUTPUT):
                if values.get(name) == 0 and name not in api.fixed:
                    del values[name]
            return
        if refused and not spoke and not values.get(_INPUT) and not values.get(_OUTPUT):
            return
        if values.get(_OUTPUT) == 0 and _OUTPUT not in api.fixed and spoke is not False:
            del values[_OUTPUT]
            if spoke:
                flags.append("impossible_zero: output_tokens is 0 beside text: not believed")
        if values.get(_INPUT) == 0 and _INPUT not in api.fixed:
            del values[_INPUT]
            flags.append("impossible_zero: input_tokens is 0 though there was a prompt: not believed")
