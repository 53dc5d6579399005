"""Keeps counts of blocks that repeat from call to call (tools, schemas) by digest, never their text."""

from __future__ import annotations

import hashlib
from threading import Lock
from typing import Final

from tokenmeter.tokens.requests import render

__all__ = ["digest", "recall", "remember"]

_MOST: Final = 1024
_known: dict[bytes, int] = {}
_lock: Final = Lock()


def recall(key: bytes | None) -> int | None:
    """The count of a block seen before."""
    return None if key is None else _known.get(key)


def digest(*parts: object) -> bytes | None:
    """A fingerprint of JSON values; None for what is not JSON, which is then counted each time."""
    text = render.as_json(parts)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest() if text else None


def remember(key: bytes | None, tokens: int) -> None:
    """Keep the count of a block; the oldest goes when there are too many."""
    if key is None:
        return
    with _lock:
        if len(_known) >= _MOST:
            _known.pop(next(iter(_known)))
        _known[key] = tokens
