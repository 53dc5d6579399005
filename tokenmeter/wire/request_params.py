"""What a request says that its price may depend on, by declared places (`wire/request.toml`).

`enable_thinking` of a Qwen call is a price, not a detail: the answer does not repeat it. Where both say something,
the answer bills. `request_pieces` reads what a call is billed by (images, characters, seconds), for answers that do
not say it. A line of a batch's request file is read as the request inside it, with `batch`.
"""

from __future__ import annotations

import fnmatch
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from tokenmeter._support.data_files import read_data
from tokenmeter._support.empty import EMPTY
from tokenmeter._support.value import Value
from tokenmeter.money import EXACT
from tokenmeter.wire.json_paths import getter, number

__all__ = ["documented_params", "request_facts", "request_line", "request_params", "request_pieces"]

_Read = Callable[[Any], Any]
_Place = tuple[str, tuple[_Read, ...], Mapping[Any, Any]]
_ANY: Final = ("*",)


class Piece(Value):
    """One quantity that a request of some API asks for, and how it is read."""

    api: str
    quantity: str
    models: tuple[str, ...]
    numbers: tuple[_Read, ...]
    lengths: tuple[_Read, ...]
    default: int | None
    finished: frozenset[str]
    times: str | None

    def amount(self, body: Mapping[str, Any]) -> int | Decimal | None:
        """How much the request asks for; None where it states none and the API documents no default."""
        for get in self.numbers:
            value = get(body)
            if value is not None:
                read = number(value)
                return read if read is not None and read > 0 else None
        for get in self.lengths:
            if isinstance(text := get(body), str):
                return len(text)
        return self.default


@functools.cache
def _declared() -> dict[str, Any]:
    return read_data("request")


@functools.cache
def _places() -> tuple[_Place, ...]:
    data = _declared()
    words = data.get("values", {})
    return tuple(
        (name, tuple(getter(path) for path in paths), words.get(name, {})) for name, paths in data["places"].items()
    )


@functools.cache
def _roots() -> frozenset[str]:
    """The top-level fields under which anything is said at all: most requests have none of them."""
    said = (*_declared()["places"].values(), *_declared()["tools"].values())
    return frozenset(path.partition(".")[0] for paths in said for path in paths)


@functools.cache
def _pieces() -> Mapping[str, tuple[Piece, ...]]:
    found: dict[str, tuple[Piece, ...]] = {}
    for row in _declared()["piece"]:
        piece = Piece(
            row["api"],
            row["quantity"],
            tuple(row.get("models", _ANY)),
            tuple(getter(path) for path in row.get("number", ())),
            tuple(getter(path) for path in row.get("length", ())),
            row.get("default"),
            frozenset(row.get("finished", ())),
            row.get("times"),
        )
        found[piece.api] = (*found.get(piece.api, ()), piece)
    return found


@functools.cache
def _defaults() -> Mapping[str | None, tuple[tuple[tuple[str, ...], Mapping[str, Any]], ...]]:
    found: dict[str | None, tuple[tuple[tuple[str, ...], Mapping[str, Any]], ...]] = {}
    for row in _declared()["default"]:
        found[row["api"]] = (*found.get(row["api"], ()), (tuple(row.get("models", _ANY)), row["params"]))
    return found


def request_line(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The request inside a line of a batch's request file; None where the body is no such line."""
    if "custom_id" not in body:
        return None
    for line in _declared()["line"]:
        inner = body.get(line["body"])
        if isinstance(inner, Mapping) and all(name in body for name in line["has"]):
            return inner
    return None


def request_params(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """The parameters stated by a request body; None where it states none. Never raises."""
    if "custom_id" in body and (line := request_line(body)) is not None:
        return {**(request_params(line) or {}), "batch": True}
    if _roots().isdisjoint(body):
        return None
    params: dict[str, Any] | None = None
    for name, getters, words in _places():
        for get in getters:
            value = get(body)
            if value is None:
                continue
            value = words.get(value, value) if isinstance(value, str) else value
            if value != "" and isinstance(value, bool | str | int):
                params = {**(params or {}), name: value}
            break
    return params


@functools.cache
def _tools() -> tuple[tuple[_Read, ...], tuple[_Read, ...]]:
    """Where tools are offered, and where what may hold some at the vendor is named."""
    declared = _declared()["tools"]
    return tuple(map(getter, declared["offered"])), tuple(map(getter, declared["kept"]))


def request_facts(body: Mapping[str, Any]) -> tuple[dict[str, Any] | None, bool | None]:
    """The parameters stated by a request body, and whether it offers tools, None where that cannot be known.

    Never raises. On the path of every request.
    """
    if _roots().isdisjoint(body):
        return _NO_FACTS
    return request_params(body), not _tool_roots().isdisjoint(body) and _offers_tools(body)


@functools.cache
def _tool_roots() -> frozenset[str]:
    return frozenset(path.partition(".")[0] for paths in _declared()["tools"].values() for path in paths)


def _offers_tools(body: Mapping[str, Any]) -> bool | None:
    offered, kept = _tools()
    return True if any(get(body) for get in offered) else None if any(get(body) for get in kept) else False


_NO_FACTS: Final = (None, False)


def documented_params(api: str | None, model: str | None) -> Mapping[str, Any]:
    """The parameters that an API documents for a request of this model that states none."""
    for patterns, params in _defaults().get(api, ()):
        if _fits(model, patterns):
            return params
    return EMPTY


def request_pieces(
    body: Mapping[str, Any],
    *,
    api: str | None,
    model: str | None,
    finish: Sequence[str] = (),
    answered: Mapping[str, int | Decimal] = EMPTY,
) -> dict[str, int | Decimal]:
    """The quantities that a request of this API and model is billed by, where its answer does not say them.

    `finish` is what the answer says of its end, `answered` the quantities that it states.
    """
    return dict(_read_pieces(request_line(body) or body, _pieces_of(api, model), finish, answered))


def _pieces_of(api: str | None, model: str | None) -> Iterator[Piece]:
    """The first row of each quantity that fits the model."""
    read: set[str] = set()
    for piece in _pieces().get(api or "", ()):
        if piece.quantity not in read and _fits(model, piece.models):
            read.add(piece.quantity)
            yield piece


def _read_pieces(
    body: Mapping[str, Any], pieces: Iterable[Piece], finish: Sequence[str], answered: Mapping[str, int | Decimal]
) -> Iterator[tuple[str, int | Decimal]]:
    for piece in pieces:
        if piece.quantity in answered or (piece.finished and piece.finished.isdisjoint(finish)):
            continue
        # An answer that states pieces of its own is billed by those.
        times = answered.get(piece.times) if piece.times is not None else None if answered else 1
        amount = piece.amount(body) if times else None
        if times and amount:
            yield piece.quantity, EXACT.multiply(amount, times) if isinstance(amount, Decimal) else amount * times


def _fits(model: str | None, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(model or "", pattern) for pattern in patterns)
