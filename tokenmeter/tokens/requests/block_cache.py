"""Keeps counts of blocks that repeat from call to call (tools, schemas) by digest, never their text."""

from __future__ import annotations

import hashlib
import marshal
from threading import Lock
from typing import Any, Final

from tokenmeter.tokens.requests import render

__all__ = ["digest", "recall", "remember"]

_MOST: Final = 1024
_known: dict[bytes, int] = {}
_lock: Final = Lock()


def recall(key: bytes | None) -> int | None:
    """The count of a block seen before."""
    return None if key is None else _known.get(key)


def digest(*parts: Any) -> bytes | None:
    """A fingerprint of JSON values; None for what is not JSON, which is then counted each time."""
    try:
        data = marshal.dumps(parts, 0)  # several times faster than JSON; version 0 depends on the values alone
    except ValueError:  # a subclass of dict, say
        data = render.as_json(parts).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(data, digest_size=16).digest() if data else None


def remember(key: bytes | None, tokens: int) -> None:
    """Keep the count of a block; the oldest goes when there are too many."""
    if key is None:
        return
    with _lock:
        if len(_known) >= _MOST:
            _known.pop(next(iter(_known)))
        _known[key] = tokens
