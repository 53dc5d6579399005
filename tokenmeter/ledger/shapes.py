"""JSON texts divided into a shape, which many rows have in common, and the numbers and ids that fill it.

A shape is the list of the pieces of text around the holes; a row keeps only what stands in them, as a JSON array.
`{"prompt_tokens":1200,"total_tokens":1290}` is the shape `["{\\"prompt_tokens\\":", ",\\"total_tokens\\":", "}"]`
filled with `[1200,1290]`. Putting them together again gives the text as it was, in SQL alone (`restore_sql`) or
faster in Python (`restored`).
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Final

__all__ = ["CHARGES", "NUMBERS", "divided", "encode", "restore_sql", "restored"]

encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=str).encode
"""Compact JSON, the form of every JSON text of the ledger."""

NUMBERS: Final = re.compile(r"(?<=[:\[,])(?:0|-?[1-9][0-9]{0,14})(?=[,\]}])")
"""Holes for whole numbers, up to 15 digits, which every reader of JSON keeps exactly. Texts must hold no comma."""
CHARGES: Final = re.compile(r'(?<="quantity":)(?:(?:0|[1-9][0-9]{0,14})(?=,)|"[0-9.]+")|(?<="amount":)"-?[0-9.]+"')
"""Holes for the quantities and amounts of charges."""


def divided(text: str, holes: re.Pattern[str]) -> tuple[str, str]:
    """The shape of a JSON text and what stands in its holes, both as JSON arrays."""
    pieces, values, place = [], [], 0
    for hole in holes.finditer(text):
        pieces.append(text[place : hole.start()])
        values.append(hole[0])
        place = hole.end()
    pieces.append(text[place:])
    return _shape(tuple(pieces)), f"[{','.join(values)}]"


@lru_cache(1024)
def _shape(pieces: tuple[str, ...]) -> str:
    return encode(pieces)


def restored(shape: str | None, values: str | None) -> str | None:
    """The text that was divided. None if there was none.

    No hole holds a comma, so what stood in them is read without a parser of JSON.
    """
    if shape is None:
        return None
    pieces = _pieces(shape)
    if values is None or len(pieces) == 1:
        return pieces[0]
    parts = [""] * (2 * len(pieces) - 1)
    parts[::2] = pieces
    parts[1::2] = values[1:-1].split(",")  # as many as there are holes, or a ValueError
    return "".join(parts)


@lru_cache(1024)
def _pieces(shape: str) -> tuple[str, ...]:
    return tuple(json.loads(shape))


def restore_sql(shape: str, values: str) -> str:
    """The text that was divided, as SQL that every SQLite with JSON understands: slow, and needs nothing of ours.

    `shape` is SQL for the id of the shape, `values` for the array.
    """
    filling = f"json_quote(json_extract({values}, '$[' || piece.key || ']'))"
    return (
        f"(SELECT group_concat(part, '') FROM (SELECT piece.value || CASE WHEN piece.key < json_array_length({values}) "
        f"THEN {filling} ELSE '' END AS part FROM texts, json_each(texts.text) AS piece "
        f"WHERE texts.id = {shape} ORDER BY piece.key))"
    )
