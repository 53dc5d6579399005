"""The rates of a compiled price file, one to a line, each read when its model is asked for.

A compiled file is JSON like any other. Written with each rate on a line of its own, it can be divided without being
parsed: a book has hundreds of models, a process calls a few, and its first call waits for what is read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, overload

from tokenmeter._support.data_files import to_json

__all__ = ["RateLines", "by_model", "divided", "written"]

Rate = Mapping[str, Any]
_BEGIN: Final = '{"model":"'


def written(data: Mapping[str, Any]) -> str:
    """A price file as JSON, each rate on a line of its own that begins with the model."""
    rates = ",\n".join(to_json({"model": rate["model"], **rate}) for rate in data.get("rate", ()))
    rest = to_json({key: value for key, value in data.items() if key != "rate"})
    return f'{rest[:-1]},"rate":[\n{rates}\n]}}' if rates else rest


def divided(text: str) -> dict[str, Any]:
    """A compiled price file; its rates are `RateLines` where each has its line. Raises ValueError for no JSON."""
    first, *lines = text.split("\n")
    if len(lines) < 2 or not all(line.startswith(_BEGIN) for line in lines[:-1]):
        data: dict[str, Any] = json.loads(text, parse_float=Decimal)
        return data
    data = json.loads(first + lines[-1], parse_float=Decimal)
    return {**data, "rate": RateLines(lines[:-1])}


def by_model(rates: Iterable[Rate]) -> Mapping[str, Iterable[Rate]]:
    """The rates of each model, in their order."""
    if isinstance(rates, RateLines):
        return rates.by_model()
    found: dict[str, list[Rate]] = {}
    for rate in rates:
        found.setdefault(rate["model"], []).append(rate)
    return found


class RateLines(Sequence[Rate]):
    """Rates as they stand in a file, parsed one by one."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._lines = lines

    def by_model(self) -> Mapping[str, RateLines]:
        """The rates of each model, in the order of the file."""
        found: dict[str, list[str]] = {}
        for line in self._lines:
            name = line[len(_BEGIN) : line.index('"', len(_BEGIN))]
            found.setdefault(name if "\\" not in name else _rate(line)["model"], []).append(line)
        return {model: RateLines(lines) for model, lines in found.items()}

    @overload
    def __getitem__(self, at: int) -> Rate: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Rate]: ...
    def __getitem__(self, at: int | slice) -> Rate | Sequence[Rate]:
        return RateLines(self._lines[at]) if isinstance(at, slice) else _rate(self._lines[at])

    def __iter__(self) -> Iterator[Rate]:
        return map(_rate, self._lines)

    def __len__(self) -> int:
        return len(self._lines)


def _rate(line: str) -> Rate:
    rate: Rate = json.loads(line.removesuffix(","), parse_float=Decimal)
    return rate
