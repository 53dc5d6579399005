"""Texts of others as the ledger may hold them: no sentence and no key, and nothing that SQLite refuses.

What a vendor or a caller put into free-form places (raw usage, params) is kept as numbers, booleans and short
identifiers only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from tokenmeter.ledger.shapes import encode
from tokenmeter.money import plain

__all__ = ["bare", "is_key", "json_text", "kept_text"]

_NAME: Final = re.compile(r"[A-Za-z0-9_.:/+-]{1,40}")
_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.:/+\[\]*-]{0,99}")


def json_text(value: Any) -> str | None:
    """Compact JSON, NULL for what is empty; a lone surrogate, which a text column refuses, is replaced."""
    return kept_text(encode(value)) if value else None


def kept_text(value: object) -> str | None:
    if value is None:
        return None
    text = value if type(value) is str else str(value)
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def bare(value: object, depth: int = 6) -> Any:
    """The numbers, flags and identifiers of a free-form value; everything else is left out."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, Decimal):
        return plain(value) if value.is_finite() else None
    if isinstance(value, float):
        return value if value - value == 0 else None  # NaN and infinities have no JSON form
    if isinstance(value, str):
        return value if _NAME.fullmatch(value) and not value.startswith("sk-") else None
    if depth and isinstance(value, Mapping):
        return {key: bare(item, depth - 1) for key, item in value.items() if is_key(key)}
    if depth and isinstance(value, list | tuple):
        return [bare(item, depth - 1) for item in value[:100]]
    return None


def is_key(key: object) -> bool:
    """Whether a vendor's key is a name: a sentence may stand there as well as in a value."""
    return isinstance(key, str) and _KEY.fullmatch(key) is not None and not key.startswith("sk-")
